/** The application in a process of its own that dies where it is told to. */
import type { AddressInfo } from 'node:net';
import { setFailpoint } from '../../src/engine/failpoints.js';
import { createApp } from '../src/app.js';
import type { DoomedOptions } from './doomed-shop.js';

const { database, broker, dieAt } = JSON.parse(process.argv[2] as string) as DoomedOptions;

setFailpoint(dieAt, () => process.kill(process.pid, 'SIGKILL'));
const app = await createApp({ database, broker, logger: false });
await app.listen(0, '127.0.0.1');
process.send?.((app.getHttpServer().address() as AddressInfo).port);
process.on('disconnect', () => process.exit());
