/**
 * Runs commands of the command line, one after the other, in one process: the parent sends `{ args }`, and hears what
 * a process of its own would have said. That takes half a second less for each.
 */
import { run } from '../../src/cli/run.js';

process.on('message', ({ args }: { args: string[] }) => {
  const written = { out: '', err: '' };
  const { stdout, stderr } = process;
  const writes = [stdout.write, stderr.write] as const;
  const into = (name: keyof typeof written) => (chunk: string | Uint8Array) => {
    written[name] += String(chunk);
    return true;
  };
  stdout.write = into('out');
  stderr.write = into('err');
  void run(args).then((code) => {
    [stdout.write, stderr.write] = writes;
    process.send!({ code, ...written });
  });
});
process.on('disconnect', () => process.exit());
