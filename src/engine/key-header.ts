/** A key, or the reason why the header is none: the end of a sentence that begins "The header …". */
export type ParsedKey = { readonly key: string } | { readonly problem: string };

export interface KeyRules {
  /** Takes only the quoted form, a structured-field String (RFC 8941, section 3.3.3). */
  readonly strict: boolean;
  readonly maxLength: number;
  readonly pattern?: RegExp | undefined;
}

/**
 * Reads the value of an `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header, section
 * 2.1). `"abc"` and, unless `strict`, `abc` are the same key. One pass over the text, whatever it is.
 */
export function parseKey(value: string, rules: KeyRules): ParsedKey {
  const text = trim(value);
  if (text === '') {
    return { problem: 'is empty. Send a new random value, for example a UUID' };
  }
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code < 0x20 || code > 0x7e) {
      return { problem: 'holds a character that is not printable ASCII' };
    }
  }
  const parsed = text.startsWith('"') ? parseQuoted(text) : parseBare(text, rules.strict);
  return 'key' in parsed ? check(parsed.key, rules) : parsed;
}

/** The structured-field form of a key: `parseKey(serializeKey(key))` gives the key back. */
export function serializeKey(key: string): string {
  return `"${key.replace(/["\\]/g, '\\$&')}"`;
}

function check(key: string, { maxLength, pattern }: KeyRules): ParsedKey {
  if (key.trim() === '') {
    return { problem: 'is blank. Send a new random value, for example a UUID' };
  }
  if (key.length > maxLength) {
    return { problem: `is longer than ${maxLength} characters` };
  }
  if (pattern !== undefined && !pattern.test(key)) {
    return { problem: 'does not have the form that this route asks for' };
  }
  return { key };
}

function parseQuoted(text: string): ParsedKey {
  let key = '';
  let index = 1;
  for (; index < text.length; index += 1) {
    const char = text[index] as string;
    if (char === '"') {
      const rest = endOfParameters(text, index + 1);
      return rest === undefined ? { key } : { problem: rest };
    }
    if (char === '\\') {
      index += 1;
      const escaped = text[index];
      if (escaped !== '"' && escaped !== '\\') {
        return { problem: 'has a broken escape: only \\" and \\\\ are allowed inside the quotes' };
      }
      key += escaped;
    } else {
      key += char;
    }
  }
  return { problem: 'has no closing quote' };
}

/** Skips `;name=value` parameters, which are ignored; answers what is wrong with them, if anything. */
function endOfParameters(text: string, start: number): string | undefined {
  let quoted = false;
  for (let index = start; index < text.length; index += 1) {
    const char = text[index];
    if (quoted) {
      if (char === '\\') {
        index += 1;
      } else if (char === '"') {
        quoted = false;
      }
    } else if (char === '"') {
      quoted = true;
    } else if (char === ',') {
      return 'holds more than one value';
    }
  }
  if (quoted) {
    return 'has no closing quote';
  }
  const rest = text.slice(start).trimStart();
  return rest === '' || rest.startsWith(';') ? undefined : 'has text after the closing quote';
}

function parseBare(text: string, strict: boolean): ParsedKey {
  if (strict) {
    return { problem: 'is not a quoted string. Put the key in double quotes' };
  }
  if (text.includes(',')) {
    return { problem: 'holds more than one value, or a comma outside quotes' };
  }
  if (text.includes('"')) {
    return { problem: 'has a quote inside an unquoted key' };
  }
  return { key: text };
}

/** Optional white space of HTTP: blanks and tabs. */
function trim(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charCodeAt(start))) {
    start += 1;
  }
  while (end > start && isBlank(value.charCodeAt(end - 1))) {
    end -= 1;
  }
  return value.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
