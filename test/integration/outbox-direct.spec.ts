import 'reflect-metadata';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { clientProxySink } from 'nestjs-idempotency/outbox';
import { of, type Observable } from 'rxjs';
import { openOutboxStage, soon, type OutboxStage } from '../support/outbox.js';

/** A client of its own, which only remembers. */
class RememberingClient {
  readonly emitted: string[] = [];

  emit(pattern: string): Observable<unknown> {
    this.emitted.push(pattern);
    return of(undefined);
  }

  send(pattern: string): Observable<unknown> {
    return this.emit(pattern);
  }
}

describe('publishing past the outbox', () => {
  let stage: OutboxStage;
  let client: RememberingClient;
  let warnings: unknown[];

  beforeEach(async () => {
    warnings = [];
    jest.spyOn(Logger.prototype, 'warn').mockImplementation((text) => void warnings.push(text));
    stage = await openOutboxStage('sqlite');
    client = new RememberingClient();
  });
  afterEach(async () => {
    await stage.close();
    jest.restoreAllMocks();
  });

  const start = () =>
    stage.start({ sinks: { broker: clientProxySink(client, { idField: 'messageId' }) } });

  it('is said once for each transactional handler', async () => {
    const { service } = await start();
    for (const key of ['k1', 'k2']) {
      await service.execute({ key, mode: 'transactional' }, () => void client.emit('past'));
    }
    await service.execute({ key: 'k3', mode: 'transactional', operation: 'other' }, () => {
      client.send('past');
    });
    expect(client.emitted).toEqual(['past', 'past', 'past']);
    expect(warnings.filter((text) => String(text).includes('once.outbox.emit()'))).toEqual([
      expect.stringContaining('execute called emit()'),
      expect.stringContaining('other called send()'),
    ]);
  });

  it('is refused where the operation is strict', async () => {
    const { service } = await start();
    const strict = service.execute(
      { key: 'k1', mode: 'transactional', strict: true },
      () => void client.emit('past'),
    );
    await expect(strict).rejects.toMatchObject({ code: 'IDEMPOTENCY_TRANSACTION_BROKEN' });
    expect(client.emitted).toEqual([]);
  });

  it('is nobody’s business elsewhere, and not what the relay does', async () => {
    const { service, outbox } = await start();
    client.emit('outside');
    await service.execute({ key: 'k1' }, () => void client.emit('lease'));
    await service.execute({ key: 'k2', mode: 'transactional', strict: true }, () =>
      outbox.emit('relayed', {}),
    );
    await soon(() => expect(client.emitted).toEqual(['outside', 'lease', 'relayed']));
    expect(warnings.filter((text) => String(text).includes('once.outbox.emit()'))).toEqual([]);
  });
});
