import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Answers the name of a queue, line by line, with its messages and how many of them a consumer has; until we are gone. */
const SERVER = `
Us = self(),
spawn(fun() ->
  {ok, Listening} = gen_tcp:listen(0, [binary, {packet, line}, {active, false}, {ip, {127, 0, 0, 1}}]),
  {ok, Port} = inet:port(Listening),
  Us ! {port, Port},
  {ok, Socket} = gen_tcp:accept(Listening, 30000),
  Counts = fun(Name) ->
    {ok, Queue} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, Name)),
    [{_, All}, {_, Held}] = rabbit_amqqueue:info(Queue, [messages, messages_unacknowledged]),
    io_lib:format("~b ~b~n", [All, Held])
  end,
  Answer = fun(Again) ->
    {ok, Line} = gen_tcp:recv(Socket, 0),
    ok = gen_tcp:send(Socket, try Counts(string:trim(Line)) catch _:_ -> "gone\\n" end),
    Again(Again)
  end,
  Answer(Answer)
end),
receive {port, Port} -> Port end.`;

export interface MessageCounts {
  /** Of those that wait and those that somebody has. */
  readonly all: number;
  /** Of those that a consumer has and did not settle. */
  readonly unacked: number;
}

type Ask = (queue: string) => Promise<MessageCounts>;

let asking: Promise<Ask> | undefined;

/** AMQP tells of those that wait only, and a `rabbitmqctl` for each question takes most of a second. */
export async function countMessages(queue: string): Promise<MessageCounts> {
  asking ??= open();
  return (await asking)(queue);
}

async function open(): Promise<Ask> {
  const { stdout } = await run('rabbitmqctl', ['-q', 'eval', SERVER]);
  const socket = connect(Number(stdout), '127.0.0.1').unref();
  await once(socket, 'connect');
  const lines = createInterface({ input: socket });
  return async (queue) => {
    const answer = once(lines, 'line');
    socket.write(`${queue}\n`);
    const [all, unacked] = String((await answer)[0])
      .split(' ')
      .map(Number);
    return { all: all as number, unacked: unacked as number };
  };
}
