#!/usr/bin/env node
import 'reflect-metadata';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { CodedError, messageOf } from '../../ground/errors/coded-error.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { ReceiptRefused, verifyReceipt } from '../../proof/receipts/receipt.ts';
import { openWorkerList, requireStanding } from '../../core/registry/worker-list.ts';
import { REDIS_ROLES, aclRules } from '../../ground/redis/acl.ts';
import { ApiClient } from './api-client.ts';
import { examine } from './doctor.ts';
import { addCalibrateCommand } from './calibrate-command.ts';
import { addCanaryCommand } from './canary-command.ts';
import { addKeysCommands } from './keys-commands.ts';
import { addLogCommands } from './log-commands.ts';
import { addWorkersCommands } from './workers-commands.ts';
import { addTenantsCommands } from './tenants-commands.ts';
import { addWitnessCommand } from './witness-command.ts';
import { Output, jsonOption, reportError } from './output.ts';
import { DataFolder, SHARD } from './set-up.ts';
import { up } from './up.ts';

const program = new Command('countersign')
  .description('Inference jobs that are done only when a separate attestor has confirmed them.')
  .version('0.1.0')
  .option('--data <folder>', 'data folder (COUNTERSIGN_DATA)', process.env['COUNTERSIGN_DATA'] ?? '.countersign')
  .showHelpAfterError()
  .configureOutput({ writeErr: (text) => process.stderr.write(text) });

const data = () => new DataFolder(String(program.opts()['data']));

/** The API to talk to: by options, else the one that `up` started from the data folder. */
function client(options: { url?: string; keyFile?: string }): ApiClient {
  const url =
    options.url ??
    process.env['COUNTERSIGN_URL'] ??
    (existsSync(data().address()) ? readFileSync(data().address(), 'utf8').trim() : 'http://127.0.0.1:8181');
  return new ApiClient(
    url,
    readSecretFile(options.keyFile ?? data().devKey())
      .reveal()
      .trim(),
  );
}

/** Commands that talk to the API. */
function remote(name: string, description: string, parent: Command = program): Command {
  return parent
    .command(name)
    .description(description)
    .option('--url <url>', 'address of the API')
    .option('--key-file <file>', 'file with the API key')
    .addOption(jsonOption());
}

function number(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value)) throw new InvalidArgumentError('must be a number.');
  return value;
}

program
  .command('up')
  .description(
    'start Redis, api, workers, attestor and courier here, run one job, verify its receipt, and stay until Ctrl-C',
  )
  .option('--once', 'stop after the verified job')
  .option('--workers <n>', 'worker processes', number, 2)
  .option(
    '--port <port>',
    'port of the API (COUNTERSIGN_PORT)',
    number,
    process.env['COUNTERSIGN_PORT'] === undefined ? undefined : Number(process.env['COUNTERSIGN_PORT']),
  )
  .addOption(jsonOption())
  .action(async (options: { once?: boolean; workers: number; port?: number; json?: boolean }) => {
    await up(
      data(),
      { once: options.once === true, workers: Math.max(1, Math.floor(options.workers)), port: options.port },
      new Output(options.json === true),
    );
    // Everything is stopped; idle connections of the HTTP client would hold the process for seconds more.
    process.exit();
  });

for (const role of ['api', 'worker', 'attestor', 'courier'] as const) {
  program
    .command(role)
    .description(`run one ${role}, configured by COUNTERSIGN_ variables (see docs/configuration.md)`)
    .action(async () => {
      // Each role is a program of its own; this process becomes it.
      await import(new URL(`../${role}/main.js`, import.meta.url).href);
    });
}

remote('submit', 'submit a job; prints its id, or with --wait its answer')
  .argument('[prompt]', 'prompt of a completion')
  .option('--model <name>', 'model', 'kjv-1m')
  .option('--body <file>', 'a whole request body as JSON, instead of a prompt; - for standard input')
  .option('--max-tokens <n>', 'most tokens of the answer', number)
  .option('--temperature <t>', 'temperature', number)
  .option('--seed <n>', 'seed', number)
  .option('--recompute <share>', 'share of answers computed again, 0 to 1', number)
  .option('--tokens <share>', 'share of answers whose tokens are replayed, 0 to 1', number)
  .option('--tee', 'only on a machine that has proven itself by hardware evidence')
  .option('--idempotency-key <key>', 'the same key and body answer with the same job')
  .option('--wait <seconds>', 'wait for the end', number)
  .action(
    async (
      prompt: string | undefined,
      options: Asked & { url?: string; keyFile?: string; json?: boolean; idempotencyKey?: string; wait?: number },
    ) => {
      const out = new Output(options.json === true);
      const api = client(options);
      const job = await api.submit(requestBody(prompt, options), {
        idempotencyKey: options.idempotencyKey,
        waitS: options.wait,
      });
      if (job.state !== 'done') {
        out.show(job, [
          `${job.id}  ${job.state}${job.reason === null ? '' : `  ${job.reason.code}: ${job.reason.detail}`}`,
        ]);
        if (options.wait !== undefined) process.exitCode = 5;
        return;
      }
      const output = JSON.parse((await api.bytes(`/v1/jobs/${job.id}/output`)).toString('utf8')) as unknown;
      out.show({ ...job, output }, [`${job.id}  done`, JSON.stringify(output)]);
    },
  );

interface Asked {
  readonly model: string;
  readonly body?: string;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly seed?: number;
  readonly recompute?: number;
  readonly tokens?: number;
  readonly tee?: true;
}

function requestBody(prompt: string | undefined, options: Asked): unknown {
  if (options.body !== undefined) return JSON.parse(readFileSync(options.body === '-' ? 0 : options.body, 'utf8'));
  if (prompt === undefined) throw new CodedError('request_invalid', 'Give a prompt, or a body with --body.');
  const params = { max_tokens: options.maxTokens, temperature: options.temperature, seed: options.seed };
  return {
    model: options.model,
    task: 'completion',
    input: { prompt },
    params,
    attestation: { recompute: options.recompute, tokens: options.tokens, tee: options.tee },
  };
}

remote('watch', 'follow a job: its states, and provisional output as it is written')
  .argument('<id>', 'job id')
  .action(async (id: string, options: { url?: string; keyFile?: string; json?: boolean }) => {
    for await (const event of client(options).events(id)) {
      if (options.json === true) process.stdout.write(`${JSON.stringify({ event: event.type, ...event.data })}\n`);
      else if (event.type === 'state')
        process.stdout.write(
          `${String(event.data['at'])}  ${String(event.data['state'])}  ${typeof event.data['detail'] === 'string' ? event.data['detail'] : ''}\n`,
        );
      else process.stdout.write(`  provisional  ${JSON.stringify(event.data['text'])}\n`);
    }
  });

remote('get', 'show a job, its output, or save its receipt')
  .argument('<id>', 'job id')
  .option('--output', 'print the confirmed output')
  .option('--receipt <file>', 'save the receipt')
  .action(
    async (
      id: string,
      options: { url?: string; keyFile?: string; json?: boolean; output?: boolean; receipt?: string },
    ) => {
      const out = new Output(options.json === true);
      const api = client(options);
      if (options.receipt !== undefined) {
        writeFileSync(options.receipt, await api.bytes(`/v1/jobs/${encodeURIComponent(id)}/receipt`));
        out.show({ receipt: options.receipt }, [options.receipt]);
      } else if (options.output === true) {
        process.stdout.write(`${(await api.bytes(`/v1/jobs/${encodeURIComponent(id)}/output`)).toString('utf8')}\n`);
      } else {
        const job = await api.job(id);
        const attempts = job.attempts.map(
          (attempt) =>
            `  attempt ${attempt.epoch}  ${attempt.worker}  ${attempt.closed === null ? (attempt.committed_at === null ? 'running' : 'committed') : `${attempt.closed.why} ${attempt.closed.detail}`}`,
        );
        out.show(job, [
          `${job.id}  ${job.state}  ${job.model}  ${job.created_at}`,
          ...attempts,
          ...(job.reason === null ? [] : [`  ${job.reason.code}: ${job.reason.detail}`]),
        ]);
      }
    },
  );

remote('list', 'list jobs, newest first')
  .option('--state <state>', 'only jobs in this state')
  .option('--model <name>', 'only jobs of this model')
  .option('--limit <n>', 'jobs on a page', number, 20)
  .option('--cursor <cursor>', 'go on where a page ended')
  .action(
    async (options: {
      url?: string;
      keyFile?: string;
      json?: boolean;
      state?: string;
      model?: string;
      limit: number;
      cursor?: string;
    }) => {
      const query = new URLSearchParams({ limit: String(options.limit) });
      for (const name of ['state', 'model', 'cursor'] as const)
        if (options[name] !== undefined) query.set(name, options[name]);
      const page = (await client(options).json(`/v1/jobs?${query.toString()}`)) as {
        jobs: { id: string; state: string; model: string; created_at: string }[];
        next_cursor: string | null;
      };
      const lines = page.jobs.map((job) => `${job.id}  ${job.state.padEnd(9)}  ${job.model}  ${job.created_at}`);
      new Output(options.json === true).show(page, [
        ...lines,
        ...(page.next_cursor === null ? [] : [`more: --cursor ${page.next_cursor}`]),
      ]);
    },
  );

remote('cancel', 'ask for a job to be stopped')
  .argument('<id>', 'job id')
  .action(async (id: string, options: { url?: string; keyFile?: string; json?: boolean }) => {
    const answer = (await client(options).json(`/v1/jobs/${encodeURIComponent(id)}/cancel`, 'POST')) as {
      outcome: string;
      job: { state: string };
    };
    new Output(options.json === true).show(answer, [`${answer.outcome}  (${answer.job.state})`]);
  });

interface VerifyOptions {
  readonly workers?: string;
  readonly keyring?: string;
  readonly logPolicy?: string;
  readonly output?: string;
  readonly input?: string;
  readonly json?: boolean;
}

program
  .command('verify')
  .description('verify a receipt offline: no service of ours is asked')
  .argument('<receipt>', 'receipt file')
  .option('--keyring <file>', 'keys to trust, as served under /.well-known/countersign.json')
  .option('--log-policy <file>', 'log and witnesses to trust (C2SP tlog-policy), instead of those of the keyring')
  .option('--workers <file>', 'newest list of workers: what a stolen or ended key has signed is refused')
  .option('--output <file>', 'the output you hold, compared too')
  .option('--input <file>', 'the input you sent as JSON, compared too')
  .addOption(jsonOption())
  .action((receipt: string, options: VerifyOptions) => {
    const out = new Output(options.json === true);
    const keyring = readKeyring(options.keyring ?? data().keyring());
    const trust =
      options.logPolicy === undefined ? keyring : keyring.withLogPolicy(read(options.logPolicy).toString('utf8'));
    const documents = {
      ...(options.output === undefined ? {} : { output: read(options.output) }),
      ...(options.input === undefined ? {} : { input: read(options.input) }),
    };
    try {
      const verified = verifyReceipt(read(receipt), trust, documents);
      if (options.workers !== undefined)
        requireStanding(openWorkerList(read(options.workers).toString('utf8'), trust.of('registry')).list, verified);
      const { ticket, evidence, verdict, inputSha256, outputSha256, checks } = verified;
      out.show({ verified: true, ticket, evidence, verdict, inputSha256, outputSha256, checks }, [
        `verified  ${ticket.job}  ${ticket.model.name}`,
        ...checks.map((check) => `  checked  ${check}`),
        ...verdict.notChecked.map((gap) => `  not      ${gap}`),
      ]);
    } catch (error) {
      if (!(error instanceof ReceiptRefused)) throw error;
      out.result({ verified: false, reason: error.reason, detail: error.message });
      throw new CodedError('receipt_refused', `${error.reason}: ${error.message}`);
    }
  });

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new CodedError('request_invalid', `${path} cannot be read: ${messageOf(cause)}.`, { cause });
  }
}

addKeysCommands(program, data, redisUrl);
addLogCommands(program, data);
addCalibrateCommand(program, data, number);
addCanaryCommand(remote, data, client, redisUrl, number);
addWorkersCommands(program, data, redisUrl);
addWitnessCommand(program);
addTenantsCommands(program, remote, data, client, redisUrl, number);

/** The Redis that a command talks to: the one given, or the private one of the data folder. */
function redisUrl(given: string | undefined): string {
  return given ?? process.env['COUNTERSIGN_REDIS_URL'] ?? `unix://${data().at('redis', 'redis.sock')}`;
}

program
  .command('acl')
  .description('print the Redis users of the roles, for an administrator (passwords are yours to add)')
  .option('--pools <list>', 'pools of the workers, parted by commas', 'default')
  .addOption(jsonOption())
  .action((options: { pools: string; json?: boolean }) => {
    const users = REDIS_ROLES.map((role) => ({
      user: role,
      rules: aclRules(role, new RedisKeys(SHARD).prefix, options.pools.split(',')),
    }));
    new Output(options.json === true).show(
      { users },
      users.map(
        ({ user, rules }) =>
          `ACL SETUSER ${user} ${rules.map((rule) => (rule.includes(' ') ? `"${rule}"` : rule)).join(' ')} >PASSWORD`,
      ),
    );
  });

program
  .command('doctor')
  .description('say what is wrong with this set-up')
  .option('--redis-url <url>', 'Redis address')
  .addOption(jsonOption())
  .action(async (options: { redisUrl?: string; json?: boolean }) => {
    const findings = await examine(data(), redisUrl(options.redisUrl));
    new Output(options.json === true).show(
      { ok: findings.every((finding) => finding.ok), findings },
      findings.map(
        ({ what, ok, found, advice }) =>
          `${ok ? 'ok  ' : 'BAD '} ${what}: ${found}${ok || advice === undefined ? '' : `\n     ${advice}`}`,
      ),
    );
    if (findings.some((finding) => !finding.ok)) process.exitCode = 1;
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportError(error);
}
