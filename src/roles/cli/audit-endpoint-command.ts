import { readFileSync, writeFileSync } from 'node:fs';
import { Option } from 'commander';
import { Calibration } from '../../core/attestation/calibration.ts';
import { sha256Hex } from '../../ground/blobs/sha256.ts';
import { Secret } from '../../ground/config/secret.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { ensureSigningKey, readSecretFile } from '../../ground/keys/key-file.ts';
import { signReport, verifyReport, type AuditReport } from '../../surfaces/endpoint-audit/audit-report.ts';
import { auditEndpoint, type AuditedServers } from '../../surfaces/endpoint-audit/endpoint-audit.ts';
import { ModelEndpoint } from '../../surfaces/endpoint-audit/model-endpoint.ts';
import { AUDIT_TASKS, PROMPTS, type AuditTask } from '../../surfaces/endpoint-audit/questions.ts';
import { apiUrl, numberOf, readBytes, readDocument } from './arguments.ts';
import type { CallerContext } from './caller-context.ts';
import { Output, jsonOption } from './output.ts';
import { ProgressBar } from './progress-bar.ts';

interface AuditOptions {
  readonly model: string;
  readonly reference: string;
  readonly referenceModel?: string;
  readonly honest?: string;
  readonly calibration?: string;
  readonly task: AuditTask;
  readonly prompts?: string;
  readonly answers: number;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly timeout: number;
  readonly endpointKeyFile?: string;
  readonly referenceKeyFile?: string;
  readonly key: string;
  readonly out: string;
  readonly evidence: string;
  readonly json?: boolean;
}

const HELP = `
The reference is a server of the model that you trust: its own, or one that you started. It must tell /tokenize,
/detokenize and prompt_logprobs, as vLLM does. The endpoint must tell the tokens of its answers: return_token_ids,
or logprobs in a chat. API keys are in files (--endpoint-key-file, --reference-key-file) or in the environment
(COUNTERSIGN_ENDPOINT_KEY, COUNTERSIGN_REFERENCE_KEY), and go to that server alone.
Exit codes: 0 the answers are this model's, within the noise of honest servers; 7 they are not; 2 a server does not
tell what is needed; 6 a server does not answer.
Example: countersign audit-endpoint https://vendor.example/v1 --model llama-3.1-8b --reference http://127.0.0.1:8000`;

const BOUNDS = { answers: [2, 1_000], maxTokens: [8, 1_024], temperature: [0.1, 1], timeout: [1, 3_600] } as const;
const MAX_PROMPTS = 1_000;
const MAX_PROMPT = 16_384;

/** `countersign audit-endpoint` and `verify-audit`: which model does somebody's endpoint really serve? */
export function addAuditEndpointCommands(cli: CallerContext): void {
  cli.program
    .command('audit-endpoint')
    .description('check by a reference server which model an OpenAI-compatible endpoint served; exit code 7 if another')
    .argument('<url>', 'address of the endpoint, with or without /v1')
    .requiredOption('--model <name>', 'model that the endpoint is asked for')
    .requiredOption('--reference <url>', 'server of that model that you trust')
    .option('--reference-model <name>', 'its name there, if another')
    .option('--honest <url>', 'a second server that you trust, on other machines: the noise between it and the first')
    .option('--calibration <file>', 'noise that was measured before, by countersign calibrate')
    .addOption(new Option('--task <task>', 'how the endpoint is asked').choices(AUDIT_TASKS).default('chat'))
    .option('--prompts <file>', 'prompts of your own, one per line, which nobody can foresee')
    .option('--answers <n>', 'answers to ask for, half of them at temperature 0', numberOf, 48)
    .option('--max-tokens <n>', 'maximum number of tokens in an answer', numberOf, 128)
    .option('--temperature <t>', 'of the answers that are drawn', numberOf, 1)
    .option('--timeout <seconds>', 'the longest exchange', numberOf, 120)
    .option('--endpoint-key-file <file>', 'file with the API key of the endpoint')
    .option('--reference-key-file <file>', 'file with the API key of the reference, and of the second server')
    .option('--key <file>', 'key that signs the report; it is made where there is none', 'endpoint-audit.key')
    .option('--out <file>', 'signed report to write', 'endpoint-audit.json')
    .option('--evidence <file>', 'prompts, answers and tokens to write', 'endpoint-audit.jsonl')
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action(audit);
  cli.program
    .command('verify-audit')
    .description('check such a report offline: its signature, and that its verdict follows from its measurements')
    .argument('<report>', 'signed report')
    .option('--signer <key>', 'public key of the auditor, as base64; without it anybody may have signed')
    .option('--evidence <file>', 'the prompts, answers and tokens, compared too')
    .addOption(jsonOption())
    .action(verifyAudit);
}

async function audit(url: string, options: AuditOptions): Promise<void> {
  refuseUnfit(options);
  const { task, temperature, answers, maxTokens } = options;
  const servers = serversOf(apiUrl(url), options);
  const key = ensureSigningKey(options.key);
  const plan = { task, temperature, answers, maxTokens, prompts: promptsOf(options.prompts) };
  const bar = new ProgressBar('answers', (servers.noise !== undefined && 'file' in servers.noise ? 1 : 2) * answers);
  let before = 0;
  const { report, evidence } = await auditEndpoint(servers, plan, cancelled(), (step, done, of) => {
    if (step === 'noise') before = of;
    bar.at(step === 'noise' ? done : step === 'answers' ? before + done : before + answers);
  }).finally(() => bar.end());
  const { model, reference, referenceModel = model } = options;
  const signed = signReport(key, {
    ...report,
    endpoint: { url: apiUrl(url), model },
    reference: { url: apiUrl(reference), model: referenceModel },
    evidence: sha256Hex(evidence),
  });
  writeFileSync(options.evidence, evidence);
  writeFileSync(options.out, signed);
  show(verifyReport(signed, { evidence }), options, [`report    ${options.out}`, `evidence  ${options.evidence}`]);
}

function verifyAudit(path: string, options: { signer?: string; evidence?: string; json?: boolean }): void {
  const { signer, evidence } = options;
  const report = verifyReport(readBytes(path), {
    ...(signer === undefined ? {} : { signer }),
    ...(evidence === undefined ? {} : { evidence: readBytes(evidence) }),
  });
  show(report, options, [
    signer === undefined
      ? `signed by ${report.auditor.key}; whose key that is, you have to know`
      : `signed by the key that was named`,
  ]);
}

/** Prints what was found. Throws CodedError `endpoint_differs` where that is another model. */
function show(report: AuditReport, { json }: { readonly json?: boolean }, more: readonly string[]): void {
  const out = new Output(json === true);
  const { endpoint, verdict, noise, formats, auditor, startedAt } = report;
  const line = (name: string, { answers, tokens, sum, limit }: AuditReport['verdict']['greedy']) =>
    `${name}  ${answers} answers, ${tokens} tokens, margin ${sum.toFixed(2)} of at most ${limit.toFixed(2)}`;
  const unread = report.answers.filter(({ read }) => 'unread' in read).length;
  out.show({ verdict, endpoint, startedAt, noise: noise.from, formats, unread, auditor }, [
    `${endpoint.url}  ${endpoint.model}  ${startedAt}`,
    line('greedy  ', verdict.greedy),
    line('drawn   ', verdict.sampled),
    `beyond    ${verdict.beyond.length} answers by themselves, ${unread} unread`,
    `noise     ${NOISE[noise.from]}`,
    ...(formats?.endpoint.map(({ format, result }) => {
      const known = formats.reference.find((other) => other.format === format)?.result;
      return `format    ${format}: ${result} (reference: ${known ?? 'not asked'})`;
    }) ?? []),
    ...more,
    `verdict   ${verdict.isConsistent ? 'consistent with the model of the reference' : 'not the model of the reference'}`,
  ]);
  if (!verdict.isConsistent)
    throw new CodedError(
      'endpoint_differs',
      `What ${endpoint.url} answered as ${endpoint.model} is not of that model.`,
      {
        hint: 'another model, quantisation, template or sampler; docs/endpoint-audit.md says what each shows',
      },
    );
}

const NOISE: Readonly<Record<AuditReport['noise']['from'], string>> = {
  reference: 'of the reference itself, with room for unlike machines',
  honest: 'of a second honest server',
  file: 'as it was measured before',
};

function serversOf(url: string, options: AuditOptions): AuditedServers {
  const { model, referenceModel = model, timeout, honest, calibration } = options;
  const referenceKey = keyOf(options.referenceKeyFile, process.env['COUNTERSIGN_REFERENCE_KEY']);
  const known = (at: string) => new ModelEndpoint(apiUrl(at), referenceModel, referenceKey, timeout * 1_000);
  const origins = [url, options.reference, ...(honest === undefined ? [] : [honest])].map(originOf);
  if (new Set(origins).size < origins.length)
    throw new CodedError('request_invalid', 'The endpoint would be judged by itself.', {
      hint: '--reference and --honest are other servers than the endpoint, and than each other',
    });
  return {
    endpoint: new ModelEndpoint(
      url,
      model,
      keyOf(options.endpointKeyFile, process.env['COUNTERSIGN_ENDPOINT_KEY']),
      timeout * 1_000,
    ),
    reference: known(options.reference),
    noise:
      honest !== undefined
        ? { honest: known(honest) }
        : calibration !== undefined
          ? { file: calibrationOf(calibration) }
          : undefined,
  };
}

const originOf = (url: string) => new URL(apiUrl(url)).origin;

function calibrationOf(path: string) {
  const { greedy, sampled } = readDocument(Calibration, path);
  if (greedy.measure !== 'margin' || sampled.measure !== 'surprise')
    throw new CodedError('request_invalid', `${path} was measured with a sampler that is known.`, {
      hint: 'name one of a model of the engine openai with replay, or measure anew with --honest',
    });
  return { greedy, sampled };
}

/** A key is never an argument: other users of the machine can read those. */
function keyOf(file: string | undefined, value: string | undefined): Secret | undefined {
  if (file !== undefined) return readSecretFile(file);
  return value === undefined || value === '' ? undefined : new Secret(value);
}

function promptsOf(file: string | undefined): readonly string[] {
  if (file === undefined) return PROMPTS;
  const prompts = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '');
  if (prompts.length === 0 || prompts.length > MAX_PROMPTS || prompts.some(({ length }) => length > MAX_PROMPT))
    throw new CodedError('request_invalid', `${file} does not have 1 to ${MAX_PROMPTS} prompts, one per line.`, {
      hint: `a prompt has at most ${MAX_PROMPT} characters`,
    });
  return prompts;
}

function refuseUnfit(options: AuditOptions): void {
  for (const name of ['answers', 'maxTokens', 'temperature', 'timeout'] as const) {
    const [least, most] = BOUNDS[name];
    const value = options[name];
    const isWhole = name === 'temperature' || Number.isInteger(value);
    if (value >= least && value <= most && isWhole) continue;
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new CodedError('request_invalid', `--${flag} is ${least} to ${most}.`);
  }
  if (options.honest !== undefined && options.calibration !== undefined)
    throw new CodedError('request_invalid', 'The noise comes from --honest or from --calibration, and not from both.');
}

/** Ends the audit's requests when somebody stops it. */
function cancelled(): AbortSignal {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  return stop.signal;
}
