import { spawn } from 'node:child_process';
import { stripVTControlCharacters } from 'node:util';
import { eventually } from './http.js';

/** What the run has found; the reporter tells of what it has not. */
export function hasTerminal(): boolean {
  return process.env.TEST_TERMINAL !== '';
}

/** A program on a terminal of its own, as a person has it. */
export interface OnTerminal {
  /** Resolves when the terminal shows `text`. */
  shows(text: string): Promise<void>;
  /** Presses keys: `'y\r'`, or `'\x03'` for Ctrl-C. */
  press(keys: string): void;
  /** The exit code, and all that was shown. */
  readonly ended: Promise<{ readonly code: number | null; readonly shown: string }>;
}

export function onTerminal(command: readonly string[], cwd: string): OnTerminal {
  const line = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const script = spawn('script', ['-qefc', line, '/dev/null'], { cwd });
  let shown = '';
  script.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
  script.stdin.on('error', () => undefined);
  const ended = new Promise<{ code: number | null; shown: string }>((resolve, reject) => {
    script.on('error', reject);
    script.on('close', (code) => resolve({ code, shown: stripVTControlCharacters(shown) }));
  });
  return {
    shows: (text) =>
      eventually(
        () => {
          if (script.exitCode !== null) throw new Error(`It ended and showed: ${shown}`);
          return shown.includes(text);
        },
        `'${text}' on the terminal`,
        STARTS_WITHIN_MS,
      ),
    press: (keys) => void script.stdin.write(keys),
    ended,
  };
}

/** A process that starts on a busy machine. */
const STARTS_WITHIN_MS = 60_000;
