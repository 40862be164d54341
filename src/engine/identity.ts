import { createHash, randomBytes, type Hash } from 'node:crypto';

/** What names an operation. Two operations are the same one exactly when all four are equal. */
export interface Identity {
  /** Keeps applications and environments apart that share one store. */
  readonly namespace: string;
  /** The principal or tenant on whose behalf the key was sent. */
  readonly scope: string;
  /** The entry point: `http`, `execute`, a consumer's name, … */
  readonly operation: string;
  readonly key: string;
}

/**
 * Adds text to a digest so that no two lists of parts are alike: length first, then UTF-16 code
 * units (UTF-8 would turn every lone surrogate into the same replacement character).
 */
export function addPart(hash: Hash, text: string): void {
  hash.update(`${text.length}:`);
  hash.update(text, 'utf16le');
}

/** The record's primary key: the first 16 bytes of a digest, as 32 hex digits. */
export function recordId({ namespace, scope, operation, key }: Identity): string {
  const hash = createHash('sha256').update('nestjs-idempotency/record/1');
  for (const part of [namespace, scope, operation, key]) {
    addPart(hash, part);
  }
  return hash.digest('hex').slice(0, 32);
}

/** A new owner token: 128 random bits as 32 hex digits. */
export function newOwner(): string {
  return randomBytes(16).toString('hex');
}

/** A key for the next system: the same for every attempt of the same record, and tells nothing of it. */
export function derivedKey(id: string, name: string): string {
  const hash = createHash('sha256').update('nestjs-idempotency/derived/1');
  addPart(hash, id);
  addPart(hash, name);
  return hash.digest('hex').slice(0, 32);
}
