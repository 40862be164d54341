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

/** What is asked of the response's progress, for responses of one kind. On a prototype: accessors of its own slow all else in an object down. */
function heldPrototype(kind: object): object {
  return Object.create(kind, {
    headersSent: {
      get(this: Held): unknown {
        const holder = this[HOLDER];
        return holder.isHolding ? holder.looksSent : Reflect.get(kind, 'headersSent', this);
      },
    },
    writableEnded: {
      get(this: Held): unknown {
        const holder = this[HOLDER];
        return holder.isHolding ? holder.ended : Reflect.get(kind, 'writableEnded', this);
      },
    },
  }) as object;
}

const heldPrototypes = new WeakMap<object, object>();

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
  const held = response as Held;
  held[HOLDER] = holder;
  // its own, so that they stay when somebody gives the response another prototype, as Express does to nested applications
  Object.assign(response, heldMethods);
  const kind = Object.getPrototypeOf(response) as object;
  let prototype = heldPrototypes.get(kind);
  if (prototype === undefined) {
    prototype = heldPrototype(kind);
    heldPrototypes.set(kind, prototype);
  }
  Object.setPrototypeOf(response, prototype);
}
