import { Call, isSafe, type IdempotencyOptions } from './call.js';
import { IdempotencyClientError, misused } from './errors.js';
import { problemOf } from './problem.js';
import type { Answer } from './verdict.js';

/** What is used of an axios instance, such as `HttpService.axiosRef` of `@nestjs/axios`. */
export interface AxiosLike {
  create(): AxiosLike;
  request(config: object): Promise<unknown>;
  getUri(config?: object): string;
  defaults: { headers: unknown };
  readonly interceptors: {
    readonly request: { use(before: <C extends AxiosConfig>(config: C) => Promise<C>): unknown };
  };
}

/** What is used of the configuration of a request. */
export interface AxiosConfig {
  method?: string | undefined;
  readonly headers: {
    get(name: string): unknown;
    set(name: string, value: string): unknown;
  };
  data?: unknown;
  timeout?: number | undefined;
  adapter?: unknown;
  readonly signal?: unknown;
  readonly cancelToken?: unknown;
}

interface AxiosResponse {
  readonly status: number;
  readonly headers: { get(name: string): unknown };
  readonly data: unknown;
  readonly request?: unknown;
  config: AxiosConfig;
}

interface AxiosFailure {
  readonly code?: string;
  readonly request?: unknown;
  readonly response?: AxiosResponse;
  config?: AxiosConfig;
}

const installed = new WeakSet<object>();
/** The adapters of here, and those that they stand in for. */
const originals = new WeakMap<object, unknown>();

/**
 * Makes an axios instance do what `idempotentFetch()` does: its requests, other than GET, HEAD and OPTIONS, have a key
 * and are retried with it. All of its servers should know keys; use an instance of its own for them. Interceptors run
 * once for a request, whatever its tries, and errors are those of axios.
 *
 * @param options for all requests. `idempotency` in the configuration of a request wins over them, and `false` there
 *   leaves the request alone.
 * @returns the same instance
 * @throws IdempotencyClientError `IDEMPOTENCY_CLIENT_MISUSED` for an instance that does so already, or is none
 */
export function idempotentAxios<A extends AxiosLike>(
  axios: A,
  options: IdempotencyOptions = {},
): A {
  // an HttpService has no interceptors
  if (!(axios as Partial<AxiosLike> | undefined)?.interceptors || installed.has(axios)) {
    throw misused('idempotentAxios() takes an axios instance. Call it once.');
  }
  installed.add(axios);
  const bare = axios.create();
  // what the instance adds to a request has been added by then
  bare.defaults.headers = { common: {} };
  axios.interceptors.request.use(async (config) => {
    const { idempotency: own } = config as { idempotency?: IdempotencyOptions | false };
    const method = config.method ?? 'get';
    if (isSafe(method) || own === false) {
      return config;
    }
    refuseStream(config.data);
    const call = await Call.begin({ ...options, ...own }, method, config.headers);
    const before = config.adapter;
    // a request that an interceptor sends once more comes with the adapter of here
    const adapter = originals.get(Object(before)) ?? before;
    const stand = (ready: AxiosConfig): Promise<AxiosResponse> => send(bare, adapter, call, ready);
    originals.set(stand, adapter);
    config.adapter = stand;
    return config;
  });
  return axios;
}

/** `config` is ready to go out: its body is what is sent. */
async function send(
  bare: AxiosLike,
  adapter: unknown,
  call: Call,
  config: AxiosConfig,
): Promise<AxiosResponse> {
  for (;;) {
    // axios takes 0 for no time-out
    const timeout = Math.ceil(call.timeForTry(config.timeout)) || 1;
    let response: AxiosResponse | undefined;
    let failure: AxiosFailure | undefined;
    try {
      response = (await bare.request({
        ...config,
        adapter,
        timeout,
        transformRequest: asItIs,
        transformResponse: asItIs,
      })) as AxiosResponse;
    } catch (error) {
      failure = error as AxiosFailure;
      response = failure.response;
      if (response === undefined && !isUnanswered(failure)) {
        throw error;
      }
    }
    const wait = await call.next(response && (await answerOf(response, bare.getUri(config))));
    if (wait === undefined) {
      for (const told of [response, failure]) {
        if (told !== undefined) told.config = config;
      }
      if (failure !== undefined) throw failure;
      return response as AxiosResponse;
    }
    refuseStream(config.data, failure);
    (Object(response?.data) as { destroy?(): void }).destroy?.();
    // axios itself throws when it was cancelled meanwhile
    await sleep(wait, config);
  }
}

function asItIs(data: unknown): unknown {
  return data;
}

/** Not cancelled, and not given up by axios itself: too large, or redirected too often. */
function isUnanswered({ request, code }: AxiosFailure): boolean {
  return Boolean(request) && !/^ERR_(CANCELED|FR_)/.test(String(code));
}

async function answerOf(
  { status, headers, data, request }: AxiosResponse,
  asked: string,
): Promise<Answer> {
  const header = (name: string): string | undefined => {
    const value = headers.get(name);
    return typeof value === 'string' ? value : undefined;
  };
  const problem = await problemOf(status, header('content-type'), async () =>
    data instanceof ArrayBuffer || ArrayBuffer.isView(data) ? new TextDecoder().decode(data) : data,
  );
  return { status, header, redirected: wasRedirected(request, asked), problem };
}

function wasRedirected(request: unknown, asked: string): boolean {
  const { res, responseURL } = Object(request) as {
    res?: { responseUrl?: string };
    responseURL?: string;
  };
  const from = res?.responseUrl ?? responseURL;
  return Boolean(from) && new URL(asked, from).href !== new URL(from as string).href;
}

function refuseStream(data: unknown, cause?: unknown): void {
  const { pipe, getReader } = Object(data) as Record<string, unknown>;
  if (pipe !== undefined || getReader !== undefined) {
    throw new IdempotencyClientError(
      'IDEMPOTENCY_BODY_NOT_REPEATABLE',
      'The body is a stream, and a retry has to send the same bytes again. Give text, bytes or an object.',
      { cause },
    );
  }
}

interface CancelToken {
  subscribe(listener: () => void): void;
  unsubscribe(listener: () => void): void;
}

async function sleep(ms: number, config: AxiosConfig): Promise<void> {
  const signal = config.signal as AbortSignal | undefined;
  const token = config.cancelToken as CancelToken | undefined;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      token?.unsubscribe(end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener('abort', end);
    token?.subscribe(end);
    if (signal?.aborted) end();
  });
}
