/**
 * What a client of an idempotent HTTP route may expect, as black-box checks of an application with two processes, after
 * `docs/http.md`. Each answers whether it holds; an exception is a no.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { KINDS } from '../app/points.controller.mjs';
import { CheckClient, ORDER } from './client.mjs';

const DIFFERENT = { ...ORDER, quantity: 3 };

export const POINTS = [
  {
    says: 'a request without a key is refused, and nothing runs',
    holds: async (http) => (await http.post()).status === 400 && (await http.ran()) === 0,
  },
  {
    says: 'a key is the same quoted and bare, whatever parameters follow',
    async holds(http) {
      const key = randomUUID();
      const answers = [key, `"${key}"`, `"${key}";v=1`].map((form) => () => http.post(form));
      return sameOnce(http, await inTurn(answers));
    },
  },
  {
    says: 'a broken quote is refused',
    holds: async (http) => (await http.post('"abc')).status === 400 && (await http.ran()) === 0,
  },
  {
    says: 'two keys are refused, even equal ones',
    async holds(http) {
      const key = randomUUID();
      return (await http.post([key, key])).status === 400 && (await http.ran()) === 0;
    },
  },
  {
    says: 'an empty key is refused',
    async holds(http) {
      const answers = [await http.post('""'), await http.post('" "')];
      return answers.every(({ status }) => status === 400) && (await http.ran()) === 0;
    },
  },
  {
    says: 'a key has 255 characters at most',
    async holds(http) {
      const key = randomUUID().padEnd(255, 'k');
      const { status } = await http.post(key);
      return status === 201 && (await http.post(`${key}k`)).status === 400;
    },
  },
  {
    says: 'keys that differ in case are different, and each is answered again',
    async holds(http) {
      const [lower, upper] = [`k-${randomUUID()}`, `K-${randomUUID()}`];
      const keys = [lower, lower.toUpperCase(), upper, upper.toLowerCase()];
      const first = await inTurn(keys.map((key) => () => http.post(key)));
      const second = await inTurn(keys.map((key) => () => http.post(key)));
      const equal = first.every(({ body }, index) => body === second[index].body);
      return equal && (await http.ran()) === 4;
    },
  },
  {
    says: 'a replay has the same status, body and headers, and says that it is one',
    async holds(http) {
      const [first, second] = await twice(http);
      const kept = ['content-type', 'location', 'etag'];
      return (
        (await sameOnce(http, [first, second])) &&
        kept.every((name) => first.headers[name] === second.headers[name]) &&
        first.headers['idempotent-replayed'] === undefined &&
        second.headers['idempotent-replayed'] === 'true'
      );
    },
  },
  {
    says: 'cookies and rate limits are not replayed',
    async holds(http) {
      const [first, second] = await twice(http);
      const left = ['set-cookie', 'ratelimit-remaining'];
      return (
        (await sameOnce(http, [first, second])) &&
        left.every((name) => second.headers[name] === undefined)
      );
    },
  },
  {
    says: 'what an interceptor of the application adds is replayed as well',
    holds: async (http) => sameOnce(http, await twice(http, { headers: { 'x-stamp': '1' } })),
  },
  ...Object.keys(KINDS).map((kind) => ({
    says: `any answer is replayed: ${kind}`,
    async holds(http) {
      const [first, second] = await twice(http, { path: kind });
      const kept = ['content-type', 'location'];
      return (
        first.status < 400 &&
        (await sameOnce(http, [first, second])) &&
        kept.every((name) => first.headers[name] === second.headers[name])
      );
    },
  })),
  {
    says: 'a retry that is sent at once finds the answer',
    async holds(http) {
      for (let round = 1; round <= 20; round += 1) {
        const [first, second] = await twice(http);
        if (first.status !== 201 || first.body !== second.body || (await http.ran()) !== round) {
          return false;
        }
      }
      return true;
    },
  },
  {
    says: 'GET is left alone on a class that is protected',
    async holds(http) {
      const [first, second] = await twice(http, { method: 'GET' });
      const isAlone = first.body !== second.body && (await http.ran()) === 2;
      await twice(http);
      return isAlone && (await http.ran()) === 3;
    },
  },
  {
    says: 'a client that hangs up finds the answer when it comes back',
    async holds(http) {
      const key = randomUUID();
      const body = { ...ORDER, waitMs: 150 };
      await http.post(key, { body, hangUpMs: 50 });
      const answer = await http.retry(key, { body });
      return answer.status === 201 && (await http.ran()) === 1;
    },
  },
  {
    says: 'the key with another body is refused (422)',
    holds: (http) => isRefused(http, { body: DIFFERENT }),
  },
  {
    says: 'the key with another path or query is refused (422)',
    holds: async (http) =>
      (await isRefused(http, { path: 'checked' })) &&
      (await isRefused(http, { path: 'orders?express=1' }, 2)),
  },
  {
    says: 'another body is refused (422) while the first request runs',
    async holds(http) {
      const key = randomUUID();
      const first = http.post(key, { body: { ...ORDER, waitMs: 200 } });
      await started(http);
      const { status } = await http.post(key, { body: DIFFERENT });
      return status === 422 && (await first).status === 201 && (await http.ran()) === 1;
    },
  },
  {
    says: 'the order of members and white space do not count',
    async holds(http) {
      const key = randomUUID();
      const first = await http.post(key, { raw: '{"item":"tea","quantity":2}' });
      const second = await http.post(key, { raw: '{ "quantity": 2, "item": "tea" }' });
      return sameOnce(http, [first, second]);
    },
  },
  {
    says: 'after a refusal the first request is still answered again',
    async holds(http) {
      const key = randomUUID();
      const first = await http.post(key);
      const { status } = await http.post(key, { body: DIFFERENT });
      return status >= 400 && sameOnce(http, [first, await http.post(key)]);
    },
  },
  {
    says: 'a duplicate in flight is told to come back (409, Retry-After), and gets the answer then',
    async holds(http) {
      const key = randomUUID();
      const body = { ...ORDER, waitMs: 200 };
      const first = http.post(key, { body });
      await started(http);
      const { status, headers } = await http.post(key, { body });
      const isTold = status === 409 && /^[1-9]\d*$/.test(headers['retry-after']);
      return isTold && sameOnce(http, [await first, await http.post(key, { body })]);
    },
  },
  {
    says: 'fifty at once over two processes have one effect',
    async holds(http) {
      const key = randomUUID();
      const body = { ...ORDER, waitMs: 20 };
      const send = (_, index) => http.retry(key, { body, to: index % 2 });
      const answers = await Promise.all(Array.from({ length: 50 }, send));
      return sameOnce(http, answers);
    },
  },
  {
    says: 'refusals are application/problem+json with a code',
    async holds(http) {
      const key = randomUUID();
      await http.post(key);
      const refusals = [await http.post(key, { body: DIFFERENT }), await http.post('""')];
      return refusals.every(({ status, headers, body }) => {
        const isProblem = headers['content-type']?.startsWith('application/problem+json');
        return isProblem && JSON.parse(body).status === status && JSON.parse(body).code;
      });
    },
  },
  {
    says: 'a request that a guard rejected may come again',
    async holds(http) {
      const key = randomUUID();
      const rejected = await http.post(key, { headers: { 'x-refuse': '1' } });
      const answer = await http.post(key);
      return rejected.status === 403 && answer.status === 201 && (await http.ran()) === 1;
    },
  },
  {
    says: 'a request that failed validation may come again, corrected',
    async holds(http) {
      const key = randomUUID();
      const options = { path: 'checked' };
      const rejected = await http.post(key, { ...options, body: { quantity: 'two' } });
      const answer = await http.post(key, options);
      return rejected.status === 400 && answer.status === 201 && (await http.ran()) === 1;
    },
  },
  {
    says: 'a request that failed (503) may come again, and runs',
    async holds(http) {
      const [first, second, third] = await twice(http, { path: 'flaky' }, 3);
      const isSecond = first.status === 503 && second.status === 201;
      return isSecond && second.body === third.body && (await http.ran()) === 2;
    },
  },
  {
    says: "a stranger's credentials do not get the stored answer",
    async holds(http) {
      const key = randomUUID();
      const as = (token) => ({ headers: { authorization: `Bearer ${token}` } });
      const first = await http.post(key, as('alice'));
      const stranger = await http.post(key, as('bob'));
      const again = await http.post(key, as('alice'));
      return first.body !== stranger.body && first.body === again.body;
    },
  },
  {
    says: 'known callers have keys of their own',
    async holds(http) {
      const key = randomUUID();
      const as = (user) => ({ headers: { 'x-user': user } });
      const alice = await http.post(key, as('alice'));
      const bob = await http.post(key, as('bob'));
      const again = await http.post(key, as('alice'));
      const isOwn = bob.status === 201 && bob.body !== alice.body;
      return isOwn && alice.body === again.body && (await http.ran()) === 2;
    },
  },
  {
    says: 'a key that carries its time, and is years old, is refused',
    async holds(http) {
      const { status } = await http.post(`01700000-0000-7000-8000-${randomUUID().slice(24)}`);
      return status === 409 && (await http.ran()) === 0;
    },
  },
];

/** The points that the application does not pass. @param {object[]} apps its two processes */
export async function missedPoints(apps) {
  const missed = [];
  for (const { says, holds } of POINTS) {
    const isHeld = await holds(new CheckClient(apps)).catch(() => false);
    if (!isHeld) {
      missed.push(says);
    }
  }
  return missed;
}

async function twice(http, options, times = 2) {
  const key = randomUUID();
  return inTurn(Array.from({ length: times }, () => () => http.post(key, options)));
}

async function inTurn(sends) {
  const answers = [];
  for (const send of sends) {
    answers.push(await send());
  }
  return answers;
}

async function sameOnce(http, answers) {
  const kinds = new Set(answers.map(({ status, body }) => `${status} ${body}`));
  return kinds.size === 1 && answers[0].status < 400 && (await http.ran()) === 1;
}

async function isRefused(http, other, ran = 1) {
  const key = randomUUID();
  const first = await http.post(key);
  const { status } = await http.post(key, other);
  return first.status === 201 && status === 422 && (await http.ran()) === ran;
}

async function started(http) {
  const end = performance.now() + 2_000;
  while ((await http.ran()) === 0) {
    if (performance.now() > end) {
      throw new Error('The handler did not begin.');
    }
    await sleep(5);
  }
}
