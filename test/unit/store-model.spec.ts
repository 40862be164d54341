import { memoryStore } from '../../src/testing/index.js';
import { checkStore } from '../support/model/check-store.js';

it('memoryStore behaves like the model in every history', async () => {
  const create = async () => {
    let now = 1_700_000_000_000;
    return {
      store: memoryStore({ now: () => now }),
      advance: async (ms: number) => {
        now += ms;
      },
    };
  };
  await checkStore(create, { numRuns: 1_500 });
}, 60_000);
