/** One more instance of the shop, for the lab: tells its parent the port it listens on. */
import type { AddressInfo } from 'node:net';
import { createApp } from '../app.js';
import { FakePaymentProvider } from '../payments/provider/fake-payment-provider.js';
import type { InstanceOptions } from './instances.js';

const { database, broker, doomed } = JSON.parse(process.argv[2] as string) as InstanceOptions;

const app = await createApp({ database, broker });
if (doomed) {
  const provider = app.get(FakePaymentProvider, { strict: false });
  const charge = provider.charge.bind(provider);
  provider.charge = async (request) => {
    const charged = await charge(request);
    process.kill(process.pid, 'SIGKILL');
    return charged;
  };
}
await app.listen(0, '127.0.0.1');
process.send?.((app.getHttpServer().address() as AddressInfo).port);
process.on('disconnect', () => process.exit());
