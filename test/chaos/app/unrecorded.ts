import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';

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

/** Marks the answers that the library gave although their outcome is not recorded yet. */
export function markUnrecorded(
  _request: IncomingMessage,
  response: ServerResponse,
  next: () => void,
): void {
  const request = { unrecorded: false };
  const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
  response.writeHead = (...args: unknown[]) => {
    if (request.unrecorded) {
      response.setHeader(UNRECORDED_HEADER, 'true');
    }
    return writeHead(...args);
  };
  requests.run(request, next);
}
