/** Nest's metadata keys and parameter types for how a handler answers; stable since Nest 6. */
const ROUTE_ARGS = '__routeArguments__';
const PASSTHROUGH = '__responsePassthrough__';
const SSE = '__sse__';
const RESPONSE_OR_NEXT = /^[12]:/;

/** Whether the handler writes the response itself (`@Res()` or `@Next()` without `passthrough`). */
export function answersByItself(controller: object, name: string | symbol): boolean {
  const args = (Reflect.getMetadata(ROUTE_ARGS, controller, name) ?? {}) as object;
  return (
    Object.keys(args).some((key) => RESPONSE_OR_NEXT.test(key)) &&
    Reflect.getMetadata(PASSTHROUGH, controller, name) !== true
  );
}

/** Whether the handler answers with server-sent events (`@Sse()`). */
export function isEventStream(handler: object): boolean {
  return Reflect.hasMetadata(SSE, handler);
}
