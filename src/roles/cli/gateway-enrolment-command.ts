import { setTimeout as sleep } from 'node:timers/promises';
import { Option, type Command } from 'commander';
import { requestEnrolment } from '../../core/registry/enrolment.ts';
import { askOpenly, isTransient } from '../../core/remote/gateway-client.ts';
import { doorOf } from '../../core/remote/gateway-door.ts';
import { Challenge, EnrolmentState, ROUTES } from '../../core/remote/wire.ts';
import { trustedBase } from '../../ground/config/fields.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { askToJoin, readJoinToken } from '../../core/registry/invitation.ts';
import { ensureSigningKey, readSecretFile } from '../../ground/keys/key-file.ts';
import { workerIdOf, type SigningKey } from '../../ground/keys/signing-key.ts';
import { labelOf } from './arguments.ts';
import { Output, jsonOption } from './output.ts';

const ASK_AGAIN_MS = 5_000;

interface EnrolOptions {
  readonly gateway: string;
  readonly operator: string;
  readonly key: string;
  readonly gatewayCert?: string;
  readonly gatewayKey?: string;
  readonly gatewayCa?: string;
  readonly label: readonly string[];
  readonly gpu?: string;
  readonly joinToken?: string;
  readonly wait: boolean;
  readonly json?: boolean;
}

/** `countersign worker enrol`: asks the operator of a pool, through its gateway, to be let in. */
export function addEnrolAtGateway(worker: Command): void {
  worker
    .command('enrol')
    .description('ask the operator of a pool to enrol this worker, and wait for the answer')
    .option('--gateway <url>', 'a gateway of the pool; it must be given')
    .requiredOption('--operator <name>', 'who runs this worker')
    .option(
      '--key <file>',
      "the worker's key, which is made where there is none; by default COUNTERSIGN_WORKER_KEY_FILE or worker.key",
      process.env['COUNTERSIGN_WORKER_KEY_FILE'] ?? 'worker.key',
    )
    .addOption(fileOption('--gateway-cert <file>', 'certificate for a gateway that asks for one', 'CERT'))
    .addOption(fileOption('--gateway-key <file>', 'the key of that certificate', 'KEY'))
    .addOption(fileOption('--gateway-ca <file>', 'the only authorities that the gateway may be of', 'CA'))
    .option('--label <name=value...>', 'facts for people', [])
    .option('--gpu <text>', 'GPU, in words')
    .option('--join-token <file>', 'file with the token of an invitation, which decides instead of a person')
    .option('--no-wait', 'ask once, and say where it stands')
    .addOption(jsonOption())
    .action(async (own: Omit<EnrolOptions, 'gateway'>, command: Command) => {
      // The command above this one has an option of the same name, and takes what is given to either.
      const { gateway = '' } = command.optsWithGlobals<{ gateway?: string }>();
      const options = { ...own, gateway };
      const out = new Output(options.json === true);
      const state = await enrolled(options, (asked) =>
        out.show(asked, [`${asked.worker}  asked; the operator of the pool decides`]),
      );
      if (state.state === 'refused')
        throw new CodedError('enrolment_refused', `The operator refused ${state.worker}: ${state.why ?? ''}`);
      if (state.state === 'enrolled') out.show(state, [`${state.worker}  is enrolled`]);
    });
}

const fileOption = (flags: string, what: string, name: 'CERT' | 'KEY' | 'CA') =>
  new Option(flags, what).env(`COUNTERSIGN_GATEWAY_${name}_FILE`);

/** Asks until the operator has decided, or once. `pending` is told the first time that it stands so. */
async function enrolled(options: EnrolOptions, pending: (state: EnrolmentState) => void): Promise<EnrolmentState> {
  const base = trustedBase.safeParse(options.gateway);
  if (!base.success)
    throw new CodedError('request_invalid', '--gateway names the gateway, by an address that begins with https://.');
  const key = ensureSigningKey(options.key);
  let isTold = false;
  for (;;) {
    const state = await asked(base.data, key, options).catch((error: unknown) => {
      // A gateway that is away while we wait may come back; one that never answered was misspelt.
      if (isTold && isTransient(error)) return undefined;
      throw error;
    });
    if (state !== undefined && state.state !== 'pending') return state;
    if (state !== undefined && !isTold) pending(state);
    isTold = true;
    if (!options.wait && state !== undefined) return state;
    await sleep(ASK_AGAIN_MS);
  }
}

async function asked(base: string, key: SigningKey, options: EnrolOptions): Promise<EnrolmentState> {
  const { gatewayCert: certFile, gatewayKey: keyFile, gatewayCa: caFile } = options;
  const send = doorOf({ url: base, certFile, keyFile, caFile });
  const { challenge } = await askOpenly(Challenge, base + ROUTES.challenges, {}, send);
  const labels = Object.fromEntries(options.label.map(labelOf));
  const token = options.joinToken === undefined ? undefined : readJoinToken(readSecretFile(options.joinToken).reveal());
  const join = token === undefined ? {} : { join: askToJoin(token, workerIdOf(key.public)) };
  const about = { challenge, operator: options.operator, labels, gpu: options.gpu ?? null, evidence: null, ...join };
  return askOpenly(EnrolmentState, base + ROUTES.enrolments, requestEnrolment(key, about), send);
}
