import { createReadStream, existsSync } from 'node:fs';
import type { Command } from 'commander';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { bundleDifference, type Difference } from '../../proof/memory/bundle-difference.ts';
import { signerOf } from '../../proof/memory/bundle-manifest.ts';
import { readBundle } from '../../proof/memory/bundle-reader.ts';
import { BundleRefused } from '../../proof/memory/bundle-tally.ts';
import type { BundleManifest } from '../../proof/memory/bundle-format.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import { ReceiptRefused, verifyReceipt } from '../../proof/receipts/receipt.ts';
import { naming } from './memory-bundle-file.ts';
import { MemoryOutput } from './memory-output.ts';
import { jsonOption } from './output.ts';
import type { Program } from './program.ts';
import { trustedKeyring } from './trusted-keyring.ts';

interface VerifyOptions {
  readonly keyring?: string;
  readonly url?: string;
  readonly json?: boolean;
}

const MAX_SHOWN = 10_000;

/** `countersign memory verify` and `diff`: bundles as files, without a service. */
export function addMemoryBundleCommands(cli: Program, memory: Command): void {
  memory
    .command('verify')
    .description('verify a memory bundle offline: every line, the manifest, the signature, the receipts')
    .argument('<bundle>', 'bundle file, as docs/memory-bundle.md describes it')
    .option('--keyring <file>', 'keys to trust; the bundle must then be signed by one of them')
    .option('--url <url>', 'where no --keyring is given: take the keyring of this service, on first use')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExit codes: 0 verified; 7 refused, with the name of the entry or line; 2 nothing was verified.',
    )
    .action((bundle: string, options: VerifyOptions) => verify(cli, bundle, options));
  memory
    .command('diff')
    .description('what differs between two memory bundles, memory by memory')
    .argument('<before>', 'bundle file')
    .argument('<after>', 'bundle file')
    .addOption(jsonOption())
    .action((before: string, after: string, options: { json?: boolean }) => diff(before, after, options));
}

async function verify(cli: Program, path: string, options: VerifyOptions): Promise<void> {
  const isNamed = options.keyring !== undefined || options.url !== undefined;
  const trusted = isNamed || existsSync(cli.data.keyring()) ? await trustedKeyring(cli.data, options) : undefined;
  const { manifest, signer, receipts } = await naming(path, () => examine(path, trusted?.keyring));
  if (isNamed && 'none' in signer)
    throw new CodedError('bundle_refused', `${path} shows nobody's signature that is trusted: ${signer.none}.`);
  const { entries, tombstones } = manifest.records;
  const lines = [
    `memories of ${manifest.owner ?? 'somebody'}, written by ${manifest.instance ?? 'an instance without a name'} at ${manifest.created_at}`,
    `  checked  ${entries} entries, ${tombstones} tombstones, ${manifest.vectors.count} vectors: each is what its digest says, and the manifest covers them all`,
    'none' in signer
      ? `not checked: who wrote it (${signer.none})`
      : `  checked  signed by the key ${signer.key} of an API`,
    ...(receipts.verified > 0 ? [`  checked  ${receipts.verified} receipts, each as countersign verify does`] : []),
    ...(receipts.unverified > 0 ? [`not checked: ${receipts.unverified} receipts (there is no keyring)`] : []),
    ...(receipts.absent > 0
      ? [`not checked: ${receipts.absent} receipts that entries name are not in the bundle`]
      : []),
    ...(trusted === undefined ? [] : [`trust rests on ${trusted.sentence}`]),
  ];
  const found = { entries, tombstones, vectors: manifest.vectors.count };
  new MemoryOutput(options.json === true).show(
    { verified: true, ...found, signed_by: 'none' in signer ? null : signer.key, receipts, manifest },
    lines,
  );
}

interface Examined {
  readonly manifest: BundleManifest;
  readonly signer: ReturnType<typeof signerOf>;
  readonly receipts: { readonly verified: number; readonly unverified: number; readonly absent: number };
}

/** Reads the whole bundle. Throws BundleRefused. */
async function examine(path: string, keyring: Keyring | undefined): Promise<Examined> {
  const enclosed = new Set<string>();
  const absent = new Set<string>();
  for await (const reading of readBundle(createReadStream(path))) {
    if (reading.kind === 'receipt') {
      if (keyring !== undefined) requireReceipt(reading.digest, reading.text, keyring);
      enclosed.add(reading.digest);
    } else if (reading.kind === 'entry') {
      for (const { receipt } of reading.entry.origins)
        if (receipt !== null && !enclosed.has(receipt.sha256)) absent.add(receipt.sha256);
    } else if (reading.kind === 'manifest') {
      const count = enclosed.size;
      const [verified, unverified] = keyring === undefined ? [0, count] : [count, 0];
      const { line } = reading;
      return {
        manifest: line.manifest,
        signer: signerOf(line, keyring),
        receipts: { verified, unverified, absent: absent.size },
      };
    }
  }
  throw new BundleRefused('The bundle has no manifest.');
}

function requireReceipt(digest: string, text: string, keyring: Keyring): void {
  try {
    verifyReceipt(Buffer.from(text), keyring);
  } catch (error) {
    if (error instanceof ReceiptRefused) throw new BundleRefused(`The receipt ${digest}: ${error.message}`);
    throw error;
  }
}

async function diff(before: string, after: string, { json = false }: { json?: boolean }): Promise<void> {
  const out = new MemoryOutput(json);
  const counts = { added: 0, gone: 0, changed: 0, removed: 0, back: 0 };
  const shown: Difference[] = [];
  await naming(`${before} or ${after}`, async () => {
    for await (const one of bundleDifference(createReadStream(before), createReadStream(after))) {
      counts[one.change] += 1;
      if (json && shown.length < MAX_SHOWN) shown.push(one);
      else if (!json) out.say(`${one.change.padEnd(8)}${one.id}`);
    }
  });
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const words = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([change, count]) => `${count} ${change}`);
  out.show({ same: total === 0, counts, differences: shown }, [total === 0 ? 'no difference' : words.join(', ')]);
}
