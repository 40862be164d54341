import { IDEMPOTENCY_CODES, IdempotencyError } from '../../src/engine/errors.js';
import { emitterFor } from '../../src/engine/events.js';
import { clearFailpoints, failpoint, setFailpoint } from '../../src/engine/failpoints.js';

describe('emitterFor', () => {
  it('calls the hook of that name at once, as a method of its object', () => {
    const hooks = {
      seen: [] as unknown[],
      onReplayed(event: unknown) {
        this.seen.push(event);
      },
    };
    const emit = emitterFor(hooks);
    emit('onReplayed', { handler: 'h', record: 'r' });
    emit('onExpired', { deleted: 3 });
    expect(hooks.seen).toEqual([{ handler: 'h', record: 'r' }]);
  });

  it('drops what hooks throw, now or later', async () => {
    const rejections: unknown[] = [];
    const note = (reason: unknown): void => void rejections.push(reason);
    process.on('unhandledRejection', note);
    let calls = 0;
    const emit = emitterFor({
      onReplayed: () => {
        calls += 1;
        throw new Error('sync');
      },
      onExpired: async () => {
        calls += 1;
        throw new Error('async');
      },
    });
    expect(() => emit('onReplayed', { handler: 'h' })).not.toThrow();
    expect(() => emit('onExpired', { deleted: 1 })).not.toThrow();
    await new Promise(setImmediate);
    process.off('unhandledRejection', note);
    expect(calls).toBe(2);
    expect(rejections).toEqual([]);
  });
});

describe('failpoints', () => {
  afterEach(clearFailpoints);

  it('do nothing unless they are set, and again once they are cleared', async () => {
    let hits = 0;
    expect(failpoint('claim:before')).toBeUndefined();
    setFailpoint('claim:before', () => void (hits += 1));
    setFailpoint('respond', async () => void (hits += 10));
    expect(failpoint('claim:after')).toBeUndefined();
    await failpoint('claim:before');
    await failpoint('respond');
    expect(hits).toBe(11);
    clearFailpoints();
    expect(failpoint('claim:before')).toBeUndefined();
  });

  it('throw what their action throws', () => {
    setFailpoint('complete:before', () => {
      throw new Error('crash');
    });
    expect(() => failpoint('complete:before')).toThrow('crash');
  });
});

describe('IdempotencyError', () => {
  it.each(IDEMPOTENCY_CODES)('carries %s', (code) => {
    const error = new IdempotencyError(code, 'Say what to do.');
    expect(error).toMatchObject({ name: 'IdempotencyError', code, message: 'Say what to do.' });
    expect(error).toBeInstanceOf(Error);
    expect(Object.hasOwn(error, 'cause')).toBe(false);
  });

  it('carries a cause and a time to come back, where there are any', () => {
    const cause = new Error('beneath');
    const code = 'IDEMPOTENCY_STORE_UNAVAILABLE';
    const error = new IdempotencyError(code, 'Try again.', { cause, retryAfterSeconds: 2 });
    expect(error).toMatchObject({ cause, retryAfterSeconds: 2 });
  });
});
