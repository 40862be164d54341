import type { ServerResponse } from 'node:http';

const METHODS = ['writeHead', 'write', 'end', 'flushHeaders'] as const;

export type HeldMethod = (typeof METHODS)[number];
type Method = (...args: unknown[]) => unknown;

/** Whoever stands between a response and those who write to it. */
export interface Holder {
  /** Whether a call ends here, or goes on to what lies below. */
  holds(name: HeldMethod): boolean;
  /** Whether questions are answered here. */
  readonly isHolding: boolean;
  readonly looksSent: boolean;
  readonly ended: boolean;
  /** What becomes of a call while it is held. */
  call(name: HeldMethod, args: unknown[]): unknown;
  /** What the response did before it was held: Node's own methods, or a middleware's around them. */
  readonly below: Readonly<Record<HeldMethod, Method>>;
}

const HOLDER = Symbol('nestjs-idempotency:holder');
type Held = ServerResponse & { [HOLDER]: Holder };

/*
 * The functions are shared by all responses and stay where they were put: closures for each response,
 * and taking them off again, would cost more than everything else that a request does here.
 */
const heldMethods = Object.fromEntries(
  METHODS.map((name) => [
    name,
    function (this: Held, ...args: unknown[]): unknown {
      const holder = this[HOLDER];
      return holder.holds(name)
        ? holder.call(name, args)
        : Reflect.apply(holder.below[name], this, args);
    },
  ]),
) as Record<HeldMethod, Method>;

const heldGetters: PropertyDescriptorMap = {
  headersSent: {
    configurable: true,
    get(this: Held): unknown {
      const holder = this[HOLDER];
      return holder.isHolding ? holder.looksSent : inherited(this, 'headersSent');
    },
  },
  writableEnded: {
    configurable: true,
    get(this: Held): unknown {
      const holder = this[HOLDER];
      return holder.isHolding ? holder.ended : inherited(this, 'writableEnded');
    },
  },
};

export function isHeld(response: ServerResponse): boolean {
  return HOLDER in response;
}

/** The methods of the response as they are now. */
export function methodsOf(response: ServerResponse): Holder['below'] {
  const { writeHead, write, end, flushHeaders } = response as unknown as Record<HeldMethod, Method>;
  return { writeHead, write, end, flushHeaders };
}

/** From now on what is written to the response, and asked of its progress, goes to `holder`. */
export function holdMethods(response: ServerResponse, holder: Holder): void {
  Object.assign(response, heldMethods, { [HOLDER]: holder });
  Object.defineProperties(response, heldGetters);
}

function inherited(response: Held, name: string): unknown {
  return Reflect.get(Object.getPrototypeOf(response) as object, name, response);
}
