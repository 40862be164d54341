export const BARE = 'bare route';
export const FLOOR = 'two plain statements, pg';
const CLIENTS = [1, 16, 64];
export const BODIES = [1_000, 100_000];
export const GROUP = 16;

/** What is sent, and by how many clients at least. */
export const WORKLOADS = {
  'new keys': { job: 'closedLoop', only: 201 },
  replays: { job: 'closedLoop', only: 201, keys: 'used' },
  mixed: { job: 'mixed' },
  '16-way duplicates': { job: 'duplicates', atLeast: GROUP, waitMs: 5 },
  'one hot key': { job: 'closedLoop', atLeast: GROUP, keys: 'one' },
};

/** What is measured with bodies of one size. */
export function cells(bytes) {
  return Object.entries(WORKLOADS).flatMap(([workload, { atLeast = 1, waitMs, ...rest }]) =>
    CLIENTS.filter((clients) => clients >= atLeast).map((clients) => ({
      ...rest,
      workload,
      clients,
      bytes,
      order: { bytes, waitMs },
      name: cellName(workload, bytes, clients),
    })),
  );
}

export const cellName = (workload, bytes, clients) => `${workload}, ${bytes / 1000} KB, ${clients}`;
