import {
  Get,
  Headers,
  HttpCode,
  Inject,
  NotFoundException,
  Param,
  Post,
  Query,
  Req,
  Res,
} from '@nestjs/common';
import type { RecordState } from '../engine/store.js';
import { Inspected } from './inspected.js';
import { DashboardMessages, isMessageAction } from './messages.js';
import { DashboardRecords, isRecordAction } from './records.js';
import { Responder } from './responder.js';
import { readVerdict } from './verdict-body.js';

const RECORD_ID = /^[0-9a-f]{32}$/;
const POSITION = /^[1-9]\d{0,15}$/;

/**
 * What the page asks for. Keys and scopes that people look for come in headers: URLs are written into logs. Only what
 * became of an operation comes in a body, which the application may read in its own way.
 */
export class DashboardApiController {
  constructor(
    @Inject(Inspected) private readonly app: Inspected,
    @Inject(DashboardRecords) private readonly records: DashboardRecords,
    @Inject(DashboardMessages) private readonly messages: DashboardMessages,
    @Inject(Responder) private readonly responder: Responder,
  ) {}

  @Get('overview')
  overview(@Res() response: unknown): Promise<void> {
    return this.responder.json(response, () => this.records.overview());
  }

  @Get('activity')
  activity(@Query('minutes') minutes: unknown, @Res() response: unknown): Promise<void> {
    return this.responder.json(response, async () => this.app.activity.series(Number(minutes)));
  }

  @Get('records')
  list(
    @Query('state') state: unknown,
    @Query('after') after: unknown,
    @Headers() headers: Readonly<Record<string, string | undefined>>,
    @Res() response: unknown,
  ): Promise<void> {
    const key = named(headers, 'key');
    const scope = named(headers, 'scope');
    const operation = named(headers, 'operation');
    const whose = scope === undefined ? {} : { scope };
    return this.responder.json(response, () =>
      key === undefined
        ? this.records.list({
            ...whose,
            ...(isText(state) && { state: state as RecordState }),
            ...(isText(after) && { after }),
          })
        : this.records.find({ key, ...whose, ...(operation !== undefined && { operation }) }),
    );
  }

  @Get('records/:id')
  show(@Param('id') id: string, @Res() response: unknown): Promise<void> {
    return this.responder.json(response, async () =>
      RECORD_ID.test(id) ? this.records.show(id) : null,
    );
  }

  @Post('records/:id/:action')
  @HttpCode(200)
  actOnRecord(
    @Param('id') id: string,
    @Param('action') action: string,
    @Query('fence') fence: unknown,
    @Req() request: unknown,
    @Res() response: unknown,
  ): Promise<void> {
    if (!RECORD_ID.test(id) || !isRecordAction(action)) {
      throw new NotFoundException();
    }
    return this.responder.json(response, async () => ({
      done: await this.records.act(action, id, String(fence), () => readVerdict(request)),
    }));
  }

  @Get('outbox')
  outbox(@Res() response: unknown): Promise<void> {
    return this.responder.json(response, () => this.messages.list());
  }

  @Post('outbox/:position/:action')
  @HttpCode(200)
  actOnMessage(
    @Param('position') position: string,
    @Param('action') action: string,
    @Res() response: unknown,
  ): Promise<void> {
    if (!POSITION.test(position) || !isMessageAction(action)) {
      throw new NotFoundException();
    }
    return this.responder.json(response, async () => ({
      done: await this.messages.act(action, position),
    }));
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** Percent-encoded, since headers hold no other characters than Latin ones. */
function named(
  headers: Readonly<Record<string, string | undefined>>,
  name: string,
): string | undefined {
  const value = headers[`x-idempotency-${name}`];
  if (value === undefined || value === '') {
    return undefined;
  }
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
