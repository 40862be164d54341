import { setMaxListeners } from 'node:events';
import {
  Inject,
  Injectable,
  type CallHandler,
  type ExecutionContext,
  type OnModuleDestroy,
} from '@nestjs/common';
import { lastValueFrom } from 'rxjs';
import { doubling } from '../attempts-policy.js';
import { calls, enclosing, newCall, type Call } from '../call-context.js';
import { IdempotencyEngine } from '../engine/engine.js';
import { IdempotencyError } from '../engine/errors.js';
import { judgeFailure, statusOf } from '../engine/failure-policy.js';
import type { Operation } from '../engine/operation.js';
import type { RouteSettings } from '../http/route-settings.js';
import { misconfigured } from '../options-check.js';
import { RefusalReport } from '../refusal-report.js';
import { runForValue } from '../value-run.js';
import type { IncomingMessage } from './incoming-message.js';
import { withHeartbeats } from './kafka-heartbeat.js';
import { KafkaSettlement } from './kafka-settlement.js';
import { isEventHandler } from './handler-kind.js';
import { MessageHandlers } from './message-handlers.js';
import { MessageOperations } from './message-operations.js';
import { PlainSettlement } from './plain-settlement.js';
import { RabbitDelivery } from './rabbitmq/delivery.js';
import { RollCall } from './rabbitmq/roll-call.js';
import { GolevelupSettlement } from './rabbitmq/golevelup-settlement.js';
import { RabbitSettlement } from './rabbitmq/rabbit-settlement.js';
import { readMessage, type TransportContext } from './read-message.js';
import { refusalOf } from './refusal.js';
import type { Ended, MessageEnd, Settlement } from './settlement.js';
import { toldError } from './told-errors.js';

/** The handler returned, having said that the message is not done: nothing of it counts. */
class Rejected extends Error {
  constructor(readonly value: unknown) {
    super('The handler rejected the message.');
  }
}

/** Messages of every transport, from their id to what the transport is told. */
@Injectable()
export class MessageHandling implements OnModuleDestroy {
  private readonly closing = new AbortController();

  constructor(
    @Inject(IdempotencyEngine) private readonly engine: IdempotencyEngine,
    @Inject(MessageOperations) private readonly operations: MessageOperations,
    @Inject(MessageHandlers) private readonly handlers: MessageHandlers,
    @Inject(RefusalReport) private readonly refusals: RefusalReport,
  ) {
    setMaxListeners(0, this.closing.signal);
  }

  onModuleDestroy(): void {
    this.closing.abort();
  }

  /**
   * Nobody's subscription is listened to: a sibling that throws, or a timeout outside, unsubscribes, and the outcome
   * counts all the same. Always answers a value, if only `undefined`: an empty stream starves the other handlers of
   * an event, stalls a partition and leaves callers hanging.
   */
  async handle(
    context: ExecutionContext,
    next: CallHandler,
    settings: RouteSettings,
  ): Promise<unknown> {
    const message = readMessage(context);
    const rollCall = message.transport === 'rabbitmq' ? this.rollCall(context) : undefined;
    rollCall?.answer();
    try {
      const settlement = this.settlement(message, context, settings);
      const heartbeat = transportContext(context)?.getHeartbeat?.();
      const ended = await withHeartbeats(heartbeat, () =>
        this.process(message, context, next, settings, settlement),
      );
      if (ended === 'joined') {
        return await lastValueFrom(next.handle(), { defaultValue: undefined });
      }
      return await settlement.settle(ended);
    } catch (error) {
      await rollCall?.everybodyIsThere();
      throw await toldError(error, message.transport, context);
    }
  }

  private async process(
    message: IncomingMessage,
    context: ExecutionContext,
    next: CallHandler,
    settings: RouteSettings,
    settlement: Settlement,
  ): Promise<Ended | 'joined'> {
    let operation: Operation | undefined;
    let attempt = 1;
    const work = async (): Promise<unknown> => {
      const value: unknown = await lastValueFrom(next.handle(), { defaultValue: undefined });
      if (settlement.isRejected(operation?.id, value)) {
        throw new Rejected(value);
      }
      return value;
    };
    const ended = (end: MessageEnd): Ended => ({
      end,
      operation: operation?.id,
      retryMs:
        end.type === 'failed' || end.type === 'rejected' ? this.delayAfter(attempt, settings) : 0,
      onExhausted: settings.policy.attempts?.onExhausted ?? 'dead-letter',
    });
    try {
      // brokers deliver before a hybrid application has called its hooks
      await this.engine.start();
      operation = await this.operations.operation(message, context, settings);
      if (operation === undefined) {
        const unprotected = calls.run(newCall(), work).then(
          (value): MessageEnd => ({ type: 'done', value, isReplay: false }),
          // whatever it is, it is the handler's own
          (error: unknown) => failed(error, { isReplay: false, isParked: false }),
        );
        return ended(await unprotected);
      }
      if (enclosing(operation.id) !== undefined) {
        return 'joined';
      }
      const end = await runForValue(this.engine, {
        operation,
        where: settings.name,
        maxResultBytes: settings.maxResultBytes,
        judge: (error, call) => judge(error, call, settings),
        work: (once) => {
          ({ attempt } = once);
          return work();
        },
      });
      if ('value' in end) {
        return ended({ type: 'done', ...end });
      }
      return ended(failed(end.error, end));
    } catch (error) {
      if (!(error instanceof IdempotencyError)) {
        return ended(failed(error, { isReplay: false, isParked: false }));
      }
      this.report(error, message, settings, operation !== undefined);
      return ended({ type: 'refused', error });
    }
  }

  /** A function of the application that fails must not keep the message from being settled. */
  private delayAfter(attempt: number, { name, policy: { attempts } }: RouteSettings): number {
    try {
      return (attempts?.delayMs ?? doubling)(attempt);
    } catch (error) {
      if (error instanceof IdempotencyError) {
        this.refusals.log(error, name);
      }
      return doubling(attempt);
    }
  }

  private report(
    error: IdempotencyError,
    { isRequest }: IncomingMessage,
    { name }: RouteSettings,
    byEngine: boolean,
  ): void {
    this.refusals.report(error, name, byEngine);
    const refusal = refusalOf(error.code);
    const isLogged = ['IDEMPOTENCY_MISCONFIGURED', 'IDEMPOTENCY_RECORD_UNREADABLE'];
    if (
      !isRequest &&
      (refusal === 'never' || refusal === 'wrong') &&
      !isLogged.includes(error.code)
    ) {
      this.refusals.log(error, name);
    }
  }

  private settlement(
    message: IncomingMessage,
    context: ExecutionContext,
    settings: RouteSettings,
  ): Settlement {
    switch (message.transport) {
      case 'rabbitmq':
        return this.rabbit(message, context, settings);
      case 'golevelup':
        return new GolevelupSettlement(message, this.closing.signal);
      case 'kafka':
        return new KafkaSettlement(message);
      default:
        return new PlainSettlement(message);
    }
  }

  private rabbit(
    message: IncomingMessage,
    context: ExecutionContext,
    { name, noAck }: RouteSettings,
  ): Settlement {
    if (noAck === undefined) {
      const error = misconfigured(
        `@Idempotent() on ${name}`,
        'it gets messages from RabbitMQ, and whether they are to be acknowledged cannot be seen here. Write ' +
          'noAck: false (or true), as in the options of the transport: here, or once in IdempotencyModule.forRoot().',
      );
      this.refusals.report(error, name, false);
      throw error;
    }
    if (noAck) {
      return new PlainSettlement(message);
    }
    const rabbit = context.switchToRpc().getContext<Required<TransportContext>>();
    const delivery = RabbitDelivery.of(rabbit as never);
    return new RabbitSettlement(message, delivery, this.together(context), this.closing.signal);
  }

  private rollCall(context: ExecutionContext): RollCall {
    const rabbit = context.switchToRpc().getContext<Required<TransportContext>>();
    return RollCall.of(rabbit.getMessage() as object, this.together(context));
  }

  /** How many decorated handlers the delivery of RabbitMQ reaches. A request may reach event handlers, all of them. */
  private together(context: ExecutionContext): number {
    const rabbit = context.switchToRpc().getContext<Required<TransportContext>>();
    return isEventHandler(context.getHandler())
      ? Math.max(1, this.handlers.ofEvent(String(rabbit.getPattern())))
      : 1;
  }
}

function transportContext(context: ExecutionContext): TransportContext | undefined {
  return context.getType<string>() === 'rpc' ? context.switchToRpc().getContext() : undefined;
}

function failed(
  error: unknown,
  { isReplay, isParked }: { readonly isReplay: boolean; readonly isParked: boolean },
): MessageEnd {
  return error instanceof Rejected
    ? { type: 'rejected', value: error.value, isParked }
    : { type: 'failed', error, isReplay, isParked };
}

/** What the handler took back, and what pipes rejected before it began, has not happened. */
function judge(error: unknown, call: Call, settings: RouteSettings) {
  return error instanceof Rejected || !call.handlerStarted
    ? 'release'
    : judgeFailure(settings.errors, error, { status: statusOf(error) });
}
