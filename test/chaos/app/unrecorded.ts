import { AsyncLocalStorage } from 'node:async_hooks';
import type { ServerResponse } from 'node:http';
import {
  Injectable,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { Observable } from 'rxjs';

/** Set on an answer whose outcome the store could not take yet. */
export const UNRECORDED_HEADER = 'x-chaos-unrecorded';

const requests = new AsyncLocalStorage<{ unrecorded: boolean }>();

/** For the hook `onRecordingFailed`: the request that is being answered goes out unrecorded. */
export function noteUnrecorded(): void {
  const request = requests.getStore();
  if (request !== undefined) {
    request.unrecorded = true;
  }
}

/**
 * Marks the answers that the library gave although their outcome is not recorded yet. Not a middleware: Fastify
 * reads the body after those, and forgets who it was that it read it for.
 */
@Injectable()
export class MarkUnrecorded implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = { unrecorded: false };
    const given = context.switchToHttp().getResponse<ServerResponse & { raw?: ServerResponse }>();
    const response = given.raw ?? given;
    const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
    response.writeHead = (...args: unknown[]) => {
      if (request.unrecorded) {
        response.setHeader(UNRECORDED_HEADER, 'true');
      }
      return writeHead(...args);
    };
    return new Observable((subscriber) =>
      requests.run(request, () => next.handle().subscribe(subscriber)),
    );
  }
}
