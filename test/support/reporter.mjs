/**
 * Ends a run with what a person (or a script) wants to know: which databases were not tested, and
 * the line `N passed, N failed`. A run without tests fails.
 */
const databases = {
  PostgreSQL: { url: 'TEST_POSTGRES_URL', address: '127.0.0.1:5432' },
  MariaDB: { url: 'TEST_MARIADB_URL', address: '127.0.0.1:3306' },
  'Redis and BullMQ': { url: 'TEST_REDIS_URL', address: '127.0.0.1:6379' },
  RabbitMQ: { url: 'TEST_RABBITMQ_URL', address: '127.0.0.1:5672' },
  NATS: { url: 'TEST_NATS_URL', address: '127.0.0.1:4222' },
  MQTT: { url: 'TEST_MQTT_URL', address: '127.0.0.1:1883' },
};

export default class ClosingReporter {
  #empty = false;

  onRunComplete(_contexts, results) {
    // A file that cannot even be loaded has no tests to count, but it did fail.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    this.#empty = results.numPassedTests + failed === 0;

    const lines = Object.entries(databases)
      // Global setup leaves the variable empty for a missing server; unset means it was not needed.
      .filter(([, { url }]) => process.env[url] === '')
      .map(
        ([name, { url, address }]) =>
          `NOT RUN: ${name} (no server at ${address}; start one or set ${url})`,
      );
    if (process.env.TEST_PGBOUNCER === '') {
      lines.push('NOT RUN: PostgreSQL behind PgBouncer (install the package pgbouncer)');
    }
    if (process.env.TEST_REDIS_SERVER === '') {
      lines.push('NOT RUN: the Redis store (install the package redis-server)');
    }
    if (process.env.TEST_CHROMIUM === '') {
      lines.push(
        'NOT RUN: the client, the dashboard and the Retry lab in a browser (install the package chromium, or set TEST_CHROMIUM)',
      );
    }
    if (process.env.TEST_TERMINAL === '') {
      lines.push(
        'NOT RUN: the command line on a terminal (install script(1) of util-linux, package bsdutils)',
      );
    }
    if (this.#empty) lines.push('No test ran, which counts as a failure.');
    lines.push(
      `${results.numPassedTests} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`,
    );
    // At exit, because Jest prints its summary and the coverage table after every other reporter.
    process.once('exit', () => process.stdout.write(`\n${lines.join('\n')}\n`));
  }

  getLastError() {
    return this.#empty ? new Error('No test ran.') : undefined;
  }
}
