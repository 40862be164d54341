import { Inject, Injectable, Logger } from '@nestjs/common';
import type { ParkedMessage } from '../outbox/message.js';
import { DASHBOARD_OPTIONS } from './dashboard.constants.js';
import type { DashboardOptions } from './dashboard.options.js';
import { Inspected } from './inspected.js';
import { maskedMessage } from './masked.js';

const PAGE = 50;

export type MessageAction = 'redrive' | 'discard';

export function isMessageAction(name: string): name is MessageAction {
  return name === 'redrive' || name === 'discard';
}

/** Shows messages of the outbox, and carries out what operators decide about parked ones. */
@Injectable()
export class DashboardMessages {
  private readonly logger = new Logger('IdempotencyDashboard');

  constructor(
    @Inject(Inspected) private readonly app: Inspected,
    @Inject(DASHBOARD_OPTIONS) private readonly options: DashboardOptions,
  ) {}

  /** The oldest ones. */
  async list() {
    const { outbox } = this.app;
    const parked = (await outbox?.listParked({ limit: PAGE })) ?? [];
    const pending = (await outbox?.pending(PAGE)) ?? [];
    return { parked: this.shown(parked), pending: this.shown(pending), most: PAGE };
  }

  /** True when it counted. */
  async act(action: MessageAction, position: string): Promise<boolean> {
    const { outbox } = this.app;
    const before = String(BigInt(position) - 1n);
    const [message] = (await outbox?.listParked({ limit: 1, after: before })) ?? [];
    if (message?.position !== position || !(await outbox?.[action](message.id))) {
      return false;
    }
    this.logger.log(`Message ${message.id} of the outbox: '${action}' by hand.`);
    return true;
  }

  private shown(messages: readonly ParkedMessage[]): readonly ParkedMessage[] {
    return this.options.reveal === true ? messages : messages.map(maskedMessage);
  }
}
