import { broker } from '../messaging/broker.js';
import { startFulfilment } from './fulfilment.js';

const { BROKER_URL = '', DATABASE_URL, FULFILMENT_DATABASE_FILE } = process.env;

await startFulfilment({
  broker: broker(BROKER_URL),
  database: { url: DATABASE_URL, file: FULFILMENT_DATABASE_FILE },
});
console.log('The fulfilment service waits for orders.');
