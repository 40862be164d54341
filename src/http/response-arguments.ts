/** What Node's `writeHead`, `write` and `end` take, in their many forms. */
export type Callback = (error?: Error | null) => void;

type HeaderValue = string | string[] | number;
type Headers =
  Record<string, HeaderValue> | readonly (string | readonly string[])[] | undefined | null;

export interface BodyArguments {
  readonly chunk: unknown;
  readonly encoding: BufferEncoding | undefined;
  readonly callback: Callback | undefined;
}

/** Arguments of `write` and `end`. */
export function bodyArguments(args: readonly unknown[]): BodyArguments {
  const callback = args.find((arg) => typeof arg === 'function') as Callback | undefined;
  const [chunk, encoding] = args.filter((arg) => typeof arg !== 'function');
  return {
    chunk,
    encoding: typeof encoding === 'string' ? (encoding as BufferEncoding) : undefined,
    callback,
  };
}

export interface HeadArguments {
  readonly status: number;
  readonly message: string | undefined;
  readonly headers: Iterable<readonly [string, HeaderValue]>;
}

/** Arguments of `writeHead`. */
export function headArguments(args: readonly unknown[]): HeadArguments {
  const [status, second, third] = args as [number, unknown, unknown];
  const isMessage = typeof second === 'string';
  const headers = (isMessage ? third : (second ?? third)) as Headers;
  return { status, message: isMessage ? second : undefined, headers: headerPairs(headers) };
}

/** Node takes an object, a flat array of names and values, or an array of pairs; names may come twice. */
function headerPairs(headers: Headers): Map<string, HeaderValue> {
  const pairs = new Map<string, HeaderValue>();
  const add = (name: string, value: HeaderValue | undefined): void => {
    if (value !== undefined) {
      const before = pairs.get(name);
      pairs.set(name, before === undefined ? value : [before, value].flat().map(String));
    }
  };
  if (!Array.isArray(headers)) {
    Object.entries(headers ?? {}).forEach(([name, value]) => add(name, value as HeaderValue));
  } else if (Array.isArray(headers[0])) {
    (headers as [string, HeaderValue][]).forEach(([name, value]) => add(name, value));
  } else {
    for (let index = 0; index + 1 < headers.length; index += 2) {
      add(headers[index] as string, headers[index + 1] as HeaderValue);
    }
  }
  return pairs;
}
