/**
 * Counts round trips at the sockets that the process opens to its stores, whatever driver does so: a round trip is the
 * first byte of an answer after something was sent. Import it before any driver. Exact for one request at a time.
 */
import { createRequire } from 'node:module';
import { Socket } from 'node:net';

let roundTrips = 0;

const connect = Socket.prototype.connect;
Socket.prototype.connect = function (...target) {
  watch(this);
  return connect.apply(this, target);
};

function watch(socket) {
  let isAsked = false;
  for (const name of ['_write', '_writev']) {
    const write = socket[name];
    socket[name] = function (...chunk) {
      isAsked = true;
      return write.apply(this, chunk);
    };
  }
  const { push } = socket;
  socket.push = function (...chunk) {
    if (isAsked) {
      isAsked = false;
      roundTrips += 1;
    }
    return push.apply(this, chunk);
  };
}

/** SQLite is in the process: each statement that is run counts as one. */
export function countSqliteStatements() {
  const Database = createRequire(import.meta.url)('better-sqlite3');
  const database = new Database(':memory:');
  const statement = Object.getPrototypeOf(database.prepare('SELECT 1'));
  database.close();
  for (const name of ['run', 'get', 'all']) {
    const original = statement[name];
    statement[name] = function (...values) {
      roundTrips += 1;
      return original.apply(this, values);
    };
  }
}

/** How many since the last time it was asked. */
export function takeRoundTrips() {
  const count = roundTrips;
  roundTrips = 0;
  return count;
}
