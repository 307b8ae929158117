import { writeFileSync } from 'node:fs';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { ApiClient } from './api-client.ts';
import { Child } from './children.ts';
import { DEMO, developmentKey, runFirstJob, whenApiReady, type FirstJob } from './first-job.ts';
import { lockInstallation, REREAD } from './installation-lock.ts';
import { loginLink } from './login-link-command.ts';
import { installationRedis } from './installation-redis.ts';
import type { Output } from './output.ts';
import { tellNews } from './running-news.ts';
import { NEEDED_FIRST, roleProcesses } from './role-processes.ts';
import { type DataFolder } from './data-folder.ts';
import { prepare, openPools } from './set-up.ts';

export interface UpOptions {
  /** Stop after the first job. */
  readonly once: boolean;
  readonly workers: number;
  readonly port: number | undefined;
}

const DEFAULT_PORT = 8181;

/**
 * Starts everything on this machine, runs one real job, verifies its receipt offline, and stays until a
 * signal ends it. Stops everything that was started, whichever step fails. Throws CodedErrors that say what
 * to do.
 */
export async function up(data: DataFolder, options: UpOptions, out: Output): Promise<FirstJob> {
  const stops: (() => unknown)[] = [];
  const stopAll = async () => {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop();
  };
  const interrupted = interruption();
  try {
    const result = await Promise.race([startAndProve(data, options, out, stops), interrupted.promise]);
    if (result === 'interrupted') throw new CodedError('start_failed', 'Interrupted before the first job was done.');
    out.result(result);
    if (!options.once) {
      out.say('running until Ctrl-C');
      const news = new AbortController();
      const telling = tellNews(result.api, out, news.signal);
      await interrupted.promise;
      news.abort();
      await telling;
      out.say('stopping: workers finish what they run');
    }
    return result;
  } finally {
    await stopAll();
    interrupted.release();
  }
}

async function startAndProve(
  data: DataFolder,
  options: UpOptions,
  out: Output,
  stops: (() => unknown)[],
): Promise<FirstJob> {
  prepare(data, options.workers);
  stops.push(lockInstallation(data));
  const access = await installationRedis(data, out, stops);

  const port = options.port ?? (options.once ? 0 : DEFAULT_PORT);
  const children = roleProcesses(data, openPools(data), { workers: options.workers, port }, access).map(
    (spec) => new Child(spec, (name, detail) => out.say(`${name} ${detail}`)),
  );
  stops.push(() => Promise.all(children.map((child) => child.stop())));
  // A worker's engines are as they were loaded.
  const reread = () => children.filter(({ spec }) => spec.role !== 'worker').forEach((child) => child.reread());
  process.on(REREAD, reread);
  stops.push(() => process.off(REREAD, reread));
  // What the first job needs starts first; the other workers load their models while it runs.
  const [facts] = await Promise.all(children.slice(0, NEEDED_FIRST).map((child) => child.start()));
  const others = Promise.all(children.slice(NEEDED_FIRST).map((child) => child.start()));
  // A failure is reported where `others` is awaited below; until then it must not count as unhandled.
  others.catch(() => undefined);
  const url = String(facts?.['url']);
  writeFileSync(data.address(), `${url}\n`, { mode: 0o644 });
  out.say(`starting   api, ${options.workers} workers, attestor and courier, each a process of its own`);

  const client = new ApiClient(url, await developmentKey(data, access));
  await whenApiReady(client);
  const result = await runFirstJob(data, client, out);
  if (!options.once) await others;
  sayHowToGoOn(data, url, out);
  if (!options.once) out.say(`open       ${(await loginLink(client, false)).url}   (signs in once, within 15 minutes)`);
  return result;
}

function sayHowToGoOn(data: DataFolder, url: string, out: Output): void {
  out.say(`api        ${url}   (documentation: ${url}/docs)`);
  out.say(`key        ${data.devKey()}`);
  const curl = [
    `curl -s ${url}/v1/jobs -H "Authorization: Bearer $(cat ${data.devKey()})"`,
    `-H 'Content-Type: application/json' -H 'Prefer: wait=30' -d '${JSON.stringify(DEMO)}'`,
  ];
  out.say(`try        ${curl.join(' ')}`);
}

/** Resolves at the first SIGINT or SIGTERM. Later ones are ignored while everything is stopped. */
function interruption(): { promise: Promise<'interrupted'>; release: () => void } {
  let resolve: (value: 'interrupted') => void = () => undefined;
  const promise = new Promise<'interrupted'>((done) => {
    resolve = done;
  });
  const stop = () => resolve('interrupted');
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    promise,
    release: () => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}
