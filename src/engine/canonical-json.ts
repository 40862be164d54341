/** Deeper nesting than this is refused: no honest request needs it, and it is a way to exhaust a server. */
export const MAX_DEPTH = 512;

export class TooDeepError extends Error {
  constructor() {
    super(`The value is nested more than ${MAX_DEPTH} levels deep.`);
  }
}

type Frame = {
  readonly items: Iterator<string | { readonly value: unknown }>;
  readonly end: string;
};

/**
 * Text that is equal for two values exactly when they mean the same JSON: member order does not
 * count; `1` and `"1"`, `[]` and `{}`, absent and `null` do. Values that JSON cannot tell apart
 * (bytes, bigints, `NaN`, maps, sets) get forms of their own, which no JSON text can equal.
 *
 * Iterative, because a recursive walk of hostile input overflows the stack.
 */
export function canonicalJson(root: unknown): string {
  let text = '';
  const stack: Frame[] = [];
  let pending: unknown = root;
  let hasPending = true;

  for (;;) {
    if (hasPending) {
      hasPending = false;
      const value = plain(pending);
      const leaf = scalar(value);
      if (leaf !== undefined) {
        text += leaf;
      } else {
        if (stack.length >= MAX_DEPTH) {
          throw new TooDeepError();
        }
        const { start, ...frame } = open(value as object);
        text += start;
        stack.push(frame);
      }
    }
    const frame = stack.at(-1);
    if (frame === undefined) {
      return text;
    }
    const next = frame.items.next();
    if (next.done === true) {
      text += frame.end;
      stack.pop();
    } else if (typeof next.value === 'string') {
      text += next.value;
    } else {
      pending = next.value.value;
      hasPending = true;
    }
  }
}

function open(value: object): Frame & { readonly start: string } {
  if (Array.isArray(value)) {
    return { start: '[', items: elements(value), end: ']' };
  }
  if (value instanceof Map || value instanceof Set) {
    const start = value instanceof Map ? 'map[' : 'set[';
    return { start, items: elements([...value]), end: ']' };
  }
  return { start: '{', items: members(value as Record<string, unknown>), end: '}' };
}

function plain(value: unknown): unknown {
  if (value !== null && typeof value === 'object' && !(value instanceof Uint8Array)) {
    const { toJSON } = value as { toJSON?: unknown };
    return typeof toJSON === 'function' ? (toJSON.call(value) as unknown) : value;
  }
  return value;
}

function scalar(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'number':
      return Number.isFinite(value) ? JSON.stringify(value) : `number(${value})`;
    case 'bigint':
      return `bigint(${value})`;
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) {
        return 'null';
      }
      return value instanceof Uint8Array
        ? `bytes(${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')})`
        : undefined;
    default:
      // functions and symbols carry no data, like `undefined`
      return 'undefined';
  }
}

function* elements(array: readonly unknown[]): Generator<string | { value: unknown }> {
  for (let index = 0; index < array.length; index += 1) {
    if (index > 0) {
      yield ',';
    }
    yield { value: array[index] };
  }
}

function* members(object: Record<string, unknown>): Generator<string | { value: unknown }> {
  let separator = '';
  for (const name of Object.keys(object).sort()) {
    const value = object[name];
    if (value === undefined) {
      continue; // an absent member and an undefined one are the same on the wire
    }
    yield `${separator}${JSON.stringify(name)}:`;
    yield { value };
    separator = ',';
  }
}
