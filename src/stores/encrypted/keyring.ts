import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';

/** Keys of 32 bytes by their names. What is written is sealed with the current one; all of them open. */
export interface EncryptionKeys {
  readonly current: string;
  readonly keys: ReadonlyMap<string, Uint8Array>;
}

/** `N E 1`, the length of the key's name, the name, a nonce, a tag, and the sealed bytes. */
const HEAD = Buffer.from([0x4e, 0x45, 1]);
const NAME_AT = HEAD.length + 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ALGORITHM = 'aes-256-gcm';

/** Encrypts bytes for one record, so that they open for no other. */
export class Keyring {
  constructor(private readonly given: EncryptionKeys) {}

  seal(id: string, plain: Uint8Array): Uint8Array {
    const { current } = this.given;
    const name = Buffer.from(current);
    const key = this.keyOf('record', id, current) as Buffer; // the current one is there
    // the same bytes once more look the same: the store tells a completion that is sent again by that
    const nonce = createHmac('sha256', this.keyOf('nonce', id, current) as Buffer)
      .update(plain)
      .digest()
      .subarray(0, NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, key, nonce);
    const sealed = [cipher.update(plain), cipher.final()];
    return Buffer.concat([
      HEAD,
      Buffer.from([name.length]),
      name,
      nonce,
      cipher.getAuthTag(),
      ...sealed,
    ]);
  }

  /**
   * What was sealed for the record. Bytes that are not sealed, from before there was a key, are answered as they
   * are, and so are those that cannot be opened, which nobody can read then.
   */
  open(id: string, stored: Uint8Array): Uint8Array {
    const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
    if (!bytes.subarray(0, HEAD.length).equals(HEAD)) {
      return stored;
    }
    const nonceAt = NAME_AT + (bytes[HEAD.length] as number);
    const tagAt = nonceAt + NONCE_BYTES;
    const bodyAt = tagAt + TAG_BYTES;
    const key = this.keyOf('record', id, bytes.toString('utf8', NAME_AT, nonceAt));
    if (key === undefined || bytes.length < bodyAt) {
      return stored;
    }
    try {
      const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(nonceAt, tagAt), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAuthTag(bytes.subarray(tagAt, bodyAt));
      const body = [decipher.update(bytes.subarray(bodyAt)), decipher.final()];
      return new Uint8Array(Buffer.concat(body));
    } catch {
      return stored;
    }
  }

  /** One for each record and use: the bytes belong to it, and nonces never come near the limit of one key. */
  private keyOf(use: 'record' | 'nonce', id: string, name: string): Buffer | undefined {
    const key = this.given.keys.get(name);
    return key && createHmac('sha256', key).update(`idempotency ${use} ${id}`).digest();
  }
}
