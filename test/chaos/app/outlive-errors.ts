import type { EventEmitter } from 'node:events';
import type { DataSourceOptions } from 'typeorm';

/**
 * Between the moment when `pg` hands a connection out and the one when TypeORM listens to it, an error of the
 * connection has no listener and ends the process.
 */
export function outlivingErrors(options: DataSourceOptions): DataSourceOptions {
  return options.type === 'postgres'
    ? {
        ...options,
        extra: { onConnect: (client: EventEmitter) => client.on('error', () => undefined) },
      }
    : options;
}
