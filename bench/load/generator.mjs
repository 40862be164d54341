/** The load generator, in a process of its own. Every answer is measured to its last byte. */
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { answer } from '../lib/ipc.mjs';
import { HttpClient } from './http-client.mjs';
import { Tally } from './tally.mjs';

/**
 * Each of `clients` sends its next request when it has its answer, for `ms` milliseconds or until
 * `requests` were sent. Without `keys` every request has a new key; with them they are taken in turn.
 */
async function closedLoop({ port, clients, ms = Infinity, requests = Infinity, keys, order }) {
  const http = new HttpClient(port, clients, order);
  const tally = new Tally();
  const end = performance.now() + ms;
  let sent = 0;
  const client = async () => {
    while (sent < requests && performance.now() < end) {
      const key = keys ? keys[sent % keys.length] : randomUUID();
      sent += 1;
      tally.add(await http.post(key));
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return tally.finish(http);
}

/**
 * Groups of clients, each of which sends the same new key at once; whoever was refused sends it once more when all
 * of the group have their answer, as a retrying client would. Then the next key.
 */
async function duplicates({ port, clients, groupOf = clients, ms, order }) {
  const http = new HttpClient(port, clients, order);
  const tally = new Tally();
  const end = performance.now() + ms;
  let keys = 0;
  let keysWithDifferingBodies = 0;
  const group = async () => {
    while (performance.now() < end) {
      const key = randomUUID();
      const send = async () => tally.add(await http.post(key));
      const first = await Promise.all(Array.from({ length: groupOf }, send));
      const refused = first.filter(({ status }) => status === 409);
      const second = await Promise.all(refused.map(send));
      const bodies = [...first, ...second].filter(({ status }) => status < 300);
      keys += 1;
      keysWithDifferingBodies += new Set(bodies.map(({ body }) => body)).size > 1 ? 1 : 0;
    }
  };
  await Promise.all(Array.from({ length: clients / groupOf }, group));
  return { ...tally.finish(http), keys, keysWithDifferingBodies };
}

const RECENT = 200;

/**
 * As traffic is with clients that retry: of ten requests six are new, three repeat one that was answered, and one is a new
 * key whose request is sent twice at once.
 */
async function mixed({ port, clients, ms = Infinity, requests = Infinity, order }) {
  const http = new HttpClient(port, clients, order);
  const tally = new Tally();
  const end = performance.now() + ms;
  const answered = [];
  let answers = 0;
  let keys = 0;
  let sent = 0;
  const post = async (key) => {
    tally.add(await http.post(key));
    answered[answers % RECENT] = key;
    answers += 1;
  };
  const fresh = () => {
    keys += 1;
    return randomUUID();
  };
  const client = async () => {
    while (sent < requests && performance.now() < end) {
      const turn = sent % 10;
      sent += turn === 9 ? 2 : 1;
      if (turn === 9) {
        const key = fresh();
        await Promise.all([post(key), post(key)]);
      } else if (turn >= 6 && answered.length > 0) {
        await post(answered.at(sent % answered.length));
      } else {
        await post(fresh());
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { ...tally.finish(http), keys };
}

const MOST_TRIES = 30;

/**
 * `clients` who share `keys` and arrive evenly within `arriveMs`; whoever is refused (409) comes back when it
 * was told to, until it has another answer.
 */
async function crowd({ port, clients, keys, arriveMs }) {
  const http = new HttpClient(port, clients);
  const tally = new Tally();
  const bodies = new Map(keys.map((key) => [key, new Set()]));
  const client = async (_, index) => {
    const key = keys[index % keys.length];
    await setTimeout((index * arriveMs) / clients);
    for (let tries = 1; tries <= MOST_TRIES; tries += 1) {
      const { status, headers, body } = tally.add(await http.post(key));
      if (status !== 409) {
        bodies.get(key).add(`${status} ${body}`);
        return;
      }
      await setTimeout(1000 * Number(headers['retry-after']));
    }
    throw new Error(`A client was refused ${MOST_TRIES} times.`);
  };
  await Promise.all(Array.from({ length: clients }, client));
  const keysWithDifferingBodies = [...bodies.values()].filter(({ size }) => size !== 1).length;
  return { ...tally.finish(http), keysWithDifferingBodies };
}

let pacedIsOver = false;

/**
 * `rate` requests a second with new keys, or that read `reads`, whether or not the answers keep up, until
 * `stopPaced`. Measured from when the request was due, so that a stall counts for all that it delays.
 */
async function paced({ port, rate, path, reads }) {
  pacedIsOver = false;
  const http = new HttpClient(port, 256);
  const tally = new Tally();
  const startedAt = performance.now();
  const open = new Set();
  for (let sent = 0; !pacedIsOver; sent += 1) {
    const due = startedAt + (sent * 1000) / rate;
    const early = due - performance.now();
    if (early > 0) {
      await setTimeout(early);
    }
    const sending = reads ? http.get(reads, due) : http.post(randomUUID(), due, path);
    const request = sending.then((result) => {
      tally.add(result);
      open.delete(request);
    });
    open.add(request);
  }
  await Promise.all(open);
  return tally.finish(http);
}

/** One request, for whoever wants to look at the answer. */
async function one({ port, key }) {
  const http = new HttpClient(port, 1);
  const result = await http.post(key);
  http.close();
  return result;
}

answer({ closedLoop, duplicates, mixed, crowd, paced, one, stopPaced: () => (pacedIsOver = true) });
process.send('ready');
