import { existsSync, writeFileSync } from 'node:fs';
import { Option } from 'commander';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readSecretFile } from '../../ground/keys/key-file.ts';
import { declareMetrics } from '../../ground/metrics/process-metrics.ts';
import { CHECKS, type Check } from '../../surfaces/proxy/confirmed-job.ts';
import { ProxyCounts } from '../../surfaces/proxy/proxy-counts.ts';
import { serveProxy } from '../../surfaces/proxy/proxy-server.ts';
import { Upstream } from '../../surfaces/proxy/upstream.ts';
import { STREAM_MODES, VerifyingProxy, type StreamMode } from '../../surfaces/proxy/verifying-proxy.ts';
import { apiUrl, numberOf } from './arguments.ts';
import type { CallerContext } from './caller-context.ts';
import { fetchKeyring, trustedKeyring } from './trusted-keyring.ts';

interface ProxyOptions {
  readonly upstream: string;
  readonly keyring: string;
  readonly trustOnFirstUse?: boolean;
  readonly logPolicy?: string;
  readonly require: readonly Check[];
  readonly stream: StreamMode;
  readonly keyFile?: string;
  readonly host: string;
  readonly port: number;
  readonly timeout: number;
  readonly maxRequests: number;
  readonly clockSkew: number;
}

/** Beyond this, freshness would mean nothing. */
const MAX_CLOCK_SKEW_S = 3_600;

const HELP = `
Point any OpenAI client at http://127.0.0.1:8183/v1. It gets chat completions, completions, embeddings,
responses and the list of models of the service. An answer is passed on only where its receipt verifies against
the keyring, is about the very request, and says the very answer; any other is refused with 502
unverified_answer and a reason.
Example: countersign proxy --upstream https://api.example --keyring operator.json --require recompute`;

/** `countersign proxy`: an address on this machine that gives any OpenAI client verified answers only. */
export function addProxyCommand(cli: CallerContext): void {
  const checks = Object.keys(CHECKS);
  cli.program
    .command('proxy')
    .description('stand before a service on this machine, for any OpenAI client, and pass on verified answers only')
    .requiredOption('--upstream <url>', 'address of the service')
    .requiredOption('--keyring <file>', 'keys to trust, as the service serves them under /.well-known/countersign.json')
    .option('--trust-on-first-use', 'where there is no such file, take the keyring of the service, and write it there')
    .option('--log-policy <file>', 'log and witnesses to trust (C2SP tlog-policy), instead of those of the keyring')
    .addOption(
      new Option('--require <checks...>', 'what each answer must have been confirmed by, and is asked for')
        .choices(checks)
        .default(['binding']),
    )
    .addOption(
      new Option('--stream <mode>', 'streams are held until they are confirmed, or passed at once and marked')
        .choices(STREAM_MODES)
        .default('hold'),
    )
    .option('--key-file <file>', 'file with the API key for every request, instead of those that callers send')
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0 for any free one', numberOf, 8183)
    .option('--timeout <seconds>', 'the longest exchange', numberOf, 3600)
    .option('--max-requests <n>', 'requests that are answered at once', numberOf, 256)
    .option('--clock-skew <seconds>', 'how far the clocks of this machine and the service may be apart', numberOf, 60)
    .addHelpText('after', HELP)
    .action((options: ProxyOptions) => proxy(cli, options));
}

async function proxy(cli: CallerContext, options: ProxyOptions): Promise<void> {
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const url = apiUrl(options.upstream);
  if (!existsSync(options.keyring) && options.trustOnFirstUse === true) {
    const { text, from } = await fetchKeyring(url);
    writeFileSync(options.keyring, text, { flag: 'wx' });
    say(
      `trusted on first use: the keyring that ${from} served just now is in ${options.keyring}; compare it with another way`,
    );
  }
  const { keyring, sentence } = await trustedKeyring(cli.data, {
    keyring: options.keyring,
    ...(options.logPolicy === undefined ? {} : { logPolicy: options.logPolicy }),
  });
  const key = options.keyFile === undefined ? undefined : readSecretFile(options.keyFile);
  declareMetrics('proxy', cli.program.version() ?? '');
  const counts = new ProxyCounts(say);
  const upstream = new Upstream(url);
  const { require: required, stream } = options;
  const { host, port, timeout, maxRequests, clockSkew } = options;
  if (clockSkew < 0 || clockSkew > MAX_CLOCK_SKEW_S)
    throw new CodedError('request_invalid', `--clock-skew is 0 to ${MAX_CLOCK_SKEW_S} seconds.`, {
      hint: 'within this time an older job may answer a new request; set the clock instead',
    });
  const address = { host, port, timeoutMs: timeout * 1_000, maxRequests };
  const clockGraceMs = clockSkew * 1_000;
  const verifying = new VerifyingProxy({ upstream, keyring, required, stream, key, counts, clockGraceMs });
  const { url: own, server } = await serveProxy(verifying, address);
  if (key !== undefined && !/^(localhost|127\.|::1$)/.test(host))
    say(`whoever reaches ${own} can use the API key in ${options.keyFile ?? ''}`);
  process.stdout.write(`proxy ${own}/v1 for ${url}, required: ${required.join(', ')}, streams: ${stream}\n`);
  process.stdout.write(`trust ${sentence}\n`);
  await stopped();
  server.close();
  server.closeAllConnections();
  upstream.close();
  say(counts.line);
}

function stopped(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}
