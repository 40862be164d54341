import type { INestApplicationContext } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { classMethods } from '../class-methods.js';
import { IdempotencyInterceptor } from '../http/idempotency.interceptor.js';
import type { RouteSettings } from '../http/route-settings.js';
import type { OpenApiOperation } from './operations.js';

/** Metadata keys of `@ApiExtension()` on a method and `@ApiHeader()` on a class. */
const EXTENSIONS = 'swagger/apiExtension';
const HEADERS = 'swagger/apiHeaders';

const HANDLER_MARK = 'x-nestjs-idempotency-handler';
const CONTROLLER_MARK = 'x-nestjs-idempotency-controller-';

type Handler = (...args: never[]) => unknown;
type Controller = new (...args: never[]) => unknown;

export interface MarkedRoutes {
  /** Runs `create` while the routes are marked. */
  during<T>(create: () => T): T;
  /** The settings of the route that the operation was made of, which loses its marks. */
  take(operation: OpenApiOperation): RouteSettings | undefined;
}

/**
 * Neither path nor name says for certain which operation of a document was made of which route. So each route leaves
 * a mark in the document, for which it is decorated for as long as the document is made.
 */
export function markedRoutes(app: INestApplicationContext): MarkedRoutes {
  const routes = [...decoratedRoutes(app)];
  const handlers = [...new Set(routes.map(({ handler }) => handler))];
  const controllers = [...new Set(routes.map(({ controller }) => controller))];
  return {
    during(create) {
      // all are read before one is written: classes inherit from each other
      const changes = [
        ...handlers.map((handler, index) =>
          change(handler, EXTENSIONS, (old) => ({ ...old, [HANDLER_MARK]: index })),
        ),
        ...controllers.map((controller, index) =>
          change(controller, HEADERS, (old) => [
            ...((old ?? []) as object[]),
            { name: CONTROLLER_MARK + index, in: 'header' },
          ]),
        ),
      ];
      changes.forEach(({ make }) => make());
      try {
        return create();
      } finally {
        changes.forEach(({ undo }) => undo());
      }
    },

    take(operation) {
      const extended = operation as OpenApiOperation & { [HANDLER_MARK]?: number };
      const handler = handlers[extended[HANDLER_MARK] ?? -1];
      delete extended[HANDLER_MARK];
      const marks = operation.parameters?.map((parameter) => markOf(parameter)) ?? [];
      operation.parameters = operation.parameters?.filter((_, n) => marks[n] === undefined);
      const controller = controllers[marks.find((mark) => mark !== undefined) ?? -1];
      return routes.find((route) => route.handler === handler && route.controller === controller)
        ?.settings;
    },
  };
}

interface DecoratedRoute {
  readonly controller: Controller;
  readonly handler: Handler;
  readonly settings: RouteSettings;
}

function* decoratedRoutes(app: INestApplicationContext): Generator<DecoratedRoute> {
  for (const { controllers, injectables } of app.get(ModulesContainer).values()) {
    // the very one that requests of this module's controllers pass
    const interceptor = injectables.get(IdempotencyInterceptor)?.instance as
      IdempotencyInterceptor | undefined;
    for (const { metatype } of interceptor === undefined ? [] : controllers.values()) {
      const controller = metatype as Controller;
      for (const { value } of classMethods(controller.prototype as object)) {
        const settings = interceptor!.routes.of(controller, value as Handler);
        if (settings !== undefined) {
          yield { controller, handler: value as Handler, settings };
        }
      }
    }
  }
}

function change(target: object, key: string, next: (old: object | undefined) => object) {
  const own = Reflect.getOwnMetadata(key, target) as object | undefined;
  const value = next(Reflect.getMetadata(key, target) as object | undefined);
  return {
    make: () => Reflect.defineMetadata(key, value, target),
    undo: () =>
      own === undefined
        ? Reflect.deleteMetadata(key, target)
        : Reflect.defineMetadata(key, own, target),
  };
}

function markOf(parameter: object): number | undefined {
  const { name } = parameter as { readonly name?: string };
  return name?.startsWith(CONTROLLER_MARK) === true
    ? Number(name.slice(CONTROLLER_MARK.length))
    : undefined;
}
