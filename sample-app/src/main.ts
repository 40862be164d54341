import { createApp } from './app.js';
import { thingsToTry } from './things-to-try.js';

const { DATABASE_URL, DATABASE_FILE, PORT } = process.env;

const app = await createApp({ database: { url: DATABASE_URL, file: DATABASE_FILE } });
await app.listen(Number(PORT || 3000));
console.log(thingsToTry(await app.getUrl()));
