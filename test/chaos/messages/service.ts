/** One of the two services of the sample in a process of its own; the first argument says which and where. */
import type { AddressInfo } from 'node:net';
import { setFailpoint } from '../../../src/engine/failpoints.js';
import { createApp } from '../../../sample-app/src/app.js';
import { startFulfilment } from '../../../sample-app/src/fulfilment/fulfilment.js';
import { broker } from '../../../sample-app/src/messaging/broker.js';
import type { ServiceOptions } from './services.js';

const { kind, databaseUrl, brokerUrl, queue, dies } = JSON.parse(
  process.argv[2] as string,
) as ServiceOptions;

// between the effect and what tells of it: the answer, or the acknowledgement
setFailpoint('commit:after', () => {
  if (Math.random() < dies) {
    process.kill(process.pid, 'SIGKILL');
  }
});
const common = { broker: broker(brokerUrl, queue), database: { url: databaseUrl } };
process.on('disconnect', () => process.exit());
if (kind === 'orders') {
  const app = await createApp({ ...common, logger: false });
  await app.listen(0, '127.0.0.1');
  process.send?.((app.getHttpServer().address() as AddressInfo).port);
} else {
  await startFulfilment({ ...common, logger: false });
  process.send?.(0);
}
