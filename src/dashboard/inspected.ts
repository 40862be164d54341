import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { IdempotencyEngine } from '../engine/engine.js';
import { emitterFor, type Emit } from '../engine/events.js';
import { IDEMPOTENCY_SETTINGS } from '../idempotency.constants.js';
import { IdempotencyService } from '../idempotency.service.js';
import type { ModuleSettings } from '../idempotency.settings.js';
import { misconfigured } from '../options-check.js';
import { Outbox } from '../outbox/outbox.js';
import { Activity } from './activity.js';

/** The application that the page is about: there once it is initialised. */
@Injectable()
export class Inspected implements OnModuleInit {
  readonly activity = new Activity();
  engine!: IdempotencyEngine;
  service!: IdempotencyService;
  settings!: ModuleSettings;
  /** Only where there is an OutboxModule. */
  outbox: Outbox | undefined;
  private readonly listener: Emit = emitterFor(this.activity.hooks);

  constructor(@Inject(ModuleRef) private readonly moduleRef: ModuleRef) {}

  /** @throws IdempotencyError `IDEMPOTENCY_MISCONFIGURED` without an IdempotencyModule. */
  onModuleInit(): void {
    try {
      this.engine = this.moduleRef.get(IdempotencyEngine, { strict: false });
      this.service = this.moduleRef.get(IdempotencyService, { strict: false });
      this.settings = this.moduleRef.get(IDEMPOTENCY_SETTINGS, { strict: false });
    } catch {
      throw misconfigured(
        'IdempotencyDashboardModule',
        'there is no IdempotencyModule. Import IdempotencyModule.forRoot() in the root module.',
      );
    }
    this.outbox = this.findOutbox();
    // a set: hybrid applications initialise twice
    this.settings.listeners.add(this.listener);
  }

  private findOutbox(): Outbox | undefined {
    try {
      return this.moduleRef.get(Outbox, { strict: false });
    } catch {
      return undefined;
    }
  }
}
