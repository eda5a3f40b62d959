/** The server as a process of its own, so that it can be killed like one. For tests and benchmarks. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

export interface ServerProcess {
  url: string;
  port: number;
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit status. */
  terminate(): Promise<number | null>;
}

/** Starts `server/src/main.ts` with these options and waits until it says where it listens. */
export async function startServerProcess(args: string[], nodeArgs: string[] = []): Promise<ServerProcess> {
  const node = join(root, 'node_modules/.bin/node');
  const child: ChildProcess = spawn(node, [...nodeArgs, join(import.meta.dirname, 'main.ts'), ...args], { cwd: root });
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const url = await new Promise<string>((found, failed) => {
    let output = '';
    const read = (chunk: Buffer) => {
      output += chunk;
      const match = /Open (\S+) to mine.* watch\.(?: It listens at (\S+) here\.)?\n/.exec(output);
      if (match) found(match[2] ?? match[1]!);
    };
    child.stdout!.on('data', read);
    child.stderr!.on('data', read);
    void exited.then(() => failed(new Error(`The server ended early:\n${output}`)));
  });
  return {
    url,
    port: Number(new URL(url).port),
    terminate: async () => {
      child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
