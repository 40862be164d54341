import type { INestMicroservice, ModuleMetadata } from '@nestjs/common';
import { ServerKafka } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import type { EachMessagePayload, IHeaders } from 'kafkajs';
import { IdempotencyModule, type IdempotencyStore } from 'nestjs-idempotency';

/** A reply as the server hands it to its producer. */
export interface Reply {
  readonly topic: string;
  readonly messages: readonly {
    readonly value: unknown;
    readonly headers: Readonly<Record<string, unknown>>;
  }[];
}

/** Nest's server, except that nothing is connected: what a broker would deliver is handed to it. */
export class OfflineKafka extends ServerKafka {
  readonly replies: Reply[] = [];

  override async listen(callback: (error?: unknown) => void): Promise<void> {
    const producer = {
      send: async (reply: Reply) => {
        this.replies.push(reply);
      },
    };
    Object.assign(this, { producer });
    callback();
  }

  override async close(): Promise<void> {}
}

export interface KafkaDelivery {
  readonly topic: string;
  readonly value: object;
  readonly headers?: IHeaders;
  readonly offset?: string;
  readonly partition?: number;
  readonly heartbeat?: () => Promise<void>;
}

export class KafkaPlace {
  readonly server = new OfflineKafka({});
  private constructor(private app: INestMicroservice | undefined) {}

  static async start(
    store: IdempotencyStore,
    controllers: NonNullable<ModuleMetadata['controllers']>,
  ): Promise<KafkaPlace> {
    const place = new KafkaPlace(undefined);
    const module = await Test.createTestingModule({
      imports: [IdempotencyModule.forRoot({ store })],
      controllers,
    }).compile();
    place.app = module.createNestMicroservice({ strategy: place.server, logger: false });
    await place.app.listen();
    return place;
  }

  /** As KafkaJS calls `eachMessage`: it commits when this resolves, and comes again when it rejects. */
  deliver({
    topic,
    value,
    headers,
    offset = '0',
    partition = 0,
    heartbeat = async () => undefined,
  }: KafkaDelivery): Promise<unknown> {
    const message = {
      key: null,
      value: Buffer.from(JSON.stringify(value)),
      timestamp: '0',
      attributes: 0,
      offset,
      headers: headers ?? {},
    };
    const payload: EachMessagePayload = {
      topic,
      partition,
      message,
      heartbeat,
      pause: () => () => undefined,
    };
    return this.server.handleMessage(payload);
  }

  async close(): Promise<void> {
    await this.app?.close();
  }
}
