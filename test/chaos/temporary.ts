import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TemporaryFolder {
  readonly path: string;
  remove(): Promise<void>;
}

const DELETE = { recursive: true, force: true, maxRetries: 5 } as const;

/** A folder that goes with us, also when somebody interrupts us. */
export async function temporaryFolder(name: string): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), `idempotency-chaos-${name}-`));
  const removeNow = (): void => rmSync(path, DELETE);
  process.on('exit', removeNow);
  return {
    path,
    async remove() {
      await rm(path, DELETE);
      process.off('exit', removeNow);
    },
  };
}
