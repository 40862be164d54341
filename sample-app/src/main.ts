import { createApp } from './app.js';
import { broker } from './messaging/broker.js';
import { startServices } from './services.js';
import { thingsToTry } from './things-to-try.js';

const { BROKER_URL, DATABASE_URL, DATABASE_FILE, FULFILMENT_DATABASE_FILE, PORT } = process.env;
const database = { url: DATABASE_URL, file: DATABASE_FILE };

// with a broker, the fulfilment service is a process of its own: npm run fulfilment
const app = BROKER_URL
  ? await createApp({ broker: broker(BROKER_URL), database })
  : (
      await startServices({
        orders: database,
        fulfilment: { url: DATABASE_URL, file: FULFILMENT_DATABASE_FILE },
      })
    ).orders;
const port = Number(PORT || 3000);
try {
  await app.listen(port);
} catch (error) {
  if ((error as { code?: unknown }).code !== 'EADDRINUSE') throw error;
  console.error(`Port ${port} is taken. Name another one: PORT=${port + 1} npm start`);
  process.exit(1);
}
console.log(thingsToTry(await app.getUrl()));
