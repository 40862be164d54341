import { fork } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { Injectable } from '@nestjs/common';
import type { DatabaseConfig } from '../database/database.options.js';
import type { Broker } from '../messaging/broker.js';

export interface InstanceOptions {
  readonly database: DatabaseConfig;
  readonly broker: Broker;
  /** Kills itself as soon as the provider has charged, before that is noted anywhere. */
  readonly doomed: boolean;
}

/** Why an instance is there. */
export const ROLES = { second: 'second', doomed: 'doomed' } as const;
export type Role = keyof typeof ROLES;

/** Further instances of the shop: processes of their own, on the same database. They end with this one. */
@Injectable()
export class Instances {
  private readonly ports = new Map<Role, Promise<number>>();

  constructor(
    private readonly database: DatabaseConfig,
    private readonly broker: Broker,
  ) {}

  /** The port of the instance, which is started when it does not run. */
  async start(role: Role): Promise<number> {
    const port = this.ports.get(role) ?? this.fork(role);
    this.ports.set(role, port);
    return port;
  }

  /** Nothing when it does not run. */
  port(role: Role): Promise<number> | undefined {
    return this.ports.get(role);
  }

  private async fork(role: Role): Promise<number> {
    const options: InstanceOptions = {
      database: this.database,
      broker: this.broker,
      doomed: role === 'doomed',
    };
    const entry = new URL(`./instance${extname(import.meta.filename)}`, import.meta.url);
    const child = fork(entry, [JSON.stringify(options)]);
    const ended = once(child, 'exit').then(() => void this.ports.delete(role));
    const port = await Promise.race([
      once(child, 'message').then(([message]) => message as number),
      ended,
    ]);
    // it ends with this process, and does not keep it from ending
    child.unref();
    child.channel?.unref();
    if (port === undefined) {
      throw new Error('The instance ended before it listened.');
    }
    return port;
  }
}
