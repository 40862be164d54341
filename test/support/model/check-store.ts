import fc from 'fast-check';
import type { IdempotencyStore } from '../../../src/engine/store.js';
import { commands } from './commands.js';
import type { RealStore } from './steps.js';
import { StoreModel } from './store-model.js';

/**
 * Runs random histories against the store and the model side by side. Fails with the shortest
 * failing history and the seed that repeats it.
 *
 * @param create Answers a store without records for every history.
 */
export async function checkStore(
  create: () => Promise<RealStore>,
  parameters: fc.Parameters<unknown>,
): Promise<void> {
  let lastFence = 0n;
  let lastStore: IdempotencyStore | undefined;
  const history = fc.commands(commands, { maxCommands: 40, size: 'max' });
  const property = fc.asyncProperty(history, async (steps) => {
    const real = await create();
    // Fences go on rising from one history to the next where the store does.
    if (real.store !== lastStore) lastFence = 0n;
    lastStore = real.store;
    const model = new StoreModel(await real.store.ping(), lastFence);
    try {
      await fc.asyncModelRun(() => ({ model, real }), steps);
    } finally {
      lastFence = model.lastFence;
    }
  });
  await fc.assert(property, parameters);
}
