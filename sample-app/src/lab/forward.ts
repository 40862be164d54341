import { request as ask } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';

export type Deliver = (answer: IncomingMessage, response: ServerResponse) => void;

/** Sends the request on to another instance. When that one dies, so does the connection to the client. */
export function forward(
  request: IncomingMessage,
  response: ServerResponse,
  port: number,
  deliver: Deliver = handOver,
): void {
  const { method, url: path } = request;
  const headers = { ...request.headers, connection: 'close' };
  const upstream = ask(
    { host: '127.0.0.1', port, method, path, headers, agent: false },
    (answer) => {
      answer.on('error', () => request.socket.destroy());
      deliver(answer, response);
    },
  );
  upstream.on('error', () => request.socket.destroy());
  request.pipe(upstream);
}

const handOver: Deliver = (answer, response) => {
  response.writeHead(answer.statusCode ?? 502, answer.headers);
  answer.pipe(response);
};

/** The work is done and answered, and the line breaks just then. */
export const lose: Deliver = (answer, response) => {
  answer.resume().on('end', () => response.socket?.destroy());
};
