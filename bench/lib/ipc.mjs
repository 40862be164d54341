import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** In a child: answers the parent's questions by name. */
export function answer(answers) {
  process.on('message', async ({ id, name, input }) => {
    try {
      process.send({ id, output: await answers[name](input) });
    } catch (error) {
      process.send({ id, error: error.stack });
    }
  });
  process.on('disconnect', () => process.exit());
}

const children = new Set();

/** Starts a child and waits until it is ready. Ask it with `ask(name, input)`; end it with `stop()`. */
export async function start(script, args = [], execArgv = []) {
  const child = fork(fileURLToPath(new URL(`../${script}`, import.meta.url)), args, {
    serialization: 'advanced',
    env: { ...process.env, NODE_ENV: 'production' },
    execArgv: ['--disable-warning=ExperimentalWarning', ...execArgv],
  });
  children.add(child);
  const waiting = new Map();
  let end;
  const exited = new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      children.delete(child);
      end = new Error(`${script} ${args.join(' ')} ended (${signal ?? code}).`);
      for (const { reject } of waiting.values()) {
        reject(end);
      }
      resolve();
    });
  });
  const ready = new Promise((resolve, reject) => waiting.set('ready', { resolve, reject }));
  child.on('message', (message) => {
    const id = message === 'ready' ? 'ready' : message.id;
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (message.error) {
      reject(new Error(message.error));
    } else {
      resolve(message.output);
    }
  });
  await ready;

  let lastId = 0;
  return {
    ask(name, input) {
      if (end !== undefined) {
        return Promise.reject(end);
      }
      const id = ++lastId;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        child.send({ id, name, input });
      });
    },
    async stop() {
      child.disconnect();
      await exited;
    },
  };
}

/** For when something failed: nothing is left running. */
export function stopAll() {
  for (const child of children) {
    child.kill();
  }
}
