/** What Node loads before an application that was started with `crashAt()`. */
import { setFailpoint } from '../engine/failpoints.js';
import { CRASH_AT } from './crash-at.js';
import { failpointsOf } from './crash-points.js';

if (process.env.NODE_ENV === 'production') {
  throw new Error(
    `${CRASH_AT} is set, and this process would die of it. It is for tests: with NODE_ENV=production, remove it and ` +
      'what crashAt() has put into NODE_OPTIONS.',
  );
}

const [point = '', pass] = (process.env[CRASH_AT] ?? '').split(' ');
let passed = 0;

for (const name of failpointsOf(point)) {
  setFailpoint(name, () => {
    passed += 1;
    if (passed < Number(pass)) {
      return undefined;
    }
    process.kill(process.pid, 'SIGKILL');
    return new Promise(() => undefined); // not one more instruction of it, wherever the signal is slow
  });
}
