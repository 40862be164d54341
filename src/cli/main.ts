#!/usr/bin/env node

// Who reads no further (`| head`) is no failure.
process.stdout.on('error', () => process.exit());

let code: number;
try {
  const { run } = await import('./run.js');
  code = await run(process.argv.slice(2));
} catch (error) {
  const { code: kind = 'unknown' } = error as { code?: string };
  process.stderr.write(
    `The command could not start (${kind}). Install typeorm 1 and the driver of the database beside it.\n`,
  );
  code = 1;
}
// The file of the DataSource may have begun things that would keep the process; what was written goes out first.
process.stdout.write('', () => process.exit(code));
