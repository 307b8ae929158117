import { readFileSync } from 'node:fs';
import { readCalibrations, type CalibrationFile } from '../../core/attestation/calibrations.ts';
import { readCatalog, type Catalog } from '../../core/catalog/catalog.ts';
import { readTeePolicy } from '../../core/confirmation/hardware-sessions.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import type { RereadableFiles } from '../../ground/process/rereadable-files.ts';
import type { SigningKey } from '../../ground/keys/signing-key.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import type { Keyring } from '../../proof/receipts/keyring.ts';
import type { AttestorConfig } from './attestor-config.ts';

/** What an attestor reads from its files at its start, and the catalog again when it is told to. */
export class AttestorFiles implements RereadableFiles {
  readonly #catalogPath: string;
  /** Signs verdicts. */
  readonly signingKey: SigningKey;
  /** Signs checkpoints of the log, and nothing else. */
  readonly logKey: SigningKey;
  /** The key of the log before it was changed, for days that began under it. */
  readonly logKeyBefore: SigningKey | undefined;
  readonly logOrigin: string;
  readonly keyring: Keyring;
  readonly keyringBytes: Buffer;
  readonly catalog: Catalog;
  /** By the digest of their model. */
  readonly calibrations: ReadonlyMap<string, CalibrationFile>;
  /** What is accepted of workers' hardware; absent where this attestor judges none. */
  readonly tee: ReturnType<typeof readTeePolicy> | undefined;

  /** Throws CodedErrors that say which file is unfit, and why. */
  constructor(config: AttestorConfig) {
    const path = config.COUNTERSIGN_KEYRING;
    this.keyring = readKeyring(path);
    this.keyringBytes = readFileSync(path);
    this.signingKey = readSigningKey(config.COUNTERSIGN_ATTESTOR_KEY_FILE);
    const { id } = this.signingKey.public;
    if (!this.keyring.of('attestor').some((key) => key.id === id))
      throw new CodedError(
        'key_file_unfit',
        `The attestor's key ${id.slice(0, 16)}… is not in ${path}: nobody would believe its verdicts.`,
      );
    this.logKey = readSigningKey(config.COUNTERSIGN_TLOG_KEY_FILE);
    const before = config.COUNTERSIGN_TLOG_KEY_BEFORE_FILE;
    this.logKeyBefore = before === undefined ? undefined : readSigningKey(before);
    this.logOrigin = originOf(this.keyring, this.logKey, path);
    this.#catalogPath = config.COUNTERSIGN_CATALOG;
    this.catalog = readCatalog(this.#catalogPath);
    this.calibrations = readCalibrations(config.COUNTERSIGN_CALIBRATIONS);
    this.tee = config.COUNTERSIGN_TEE_POLICY === undefined ? undefined : readTeePolicy(config.COUNTERSIGN_TEE_POLICY);
  }

  /** See `RereadableFiles`. Throws CodedError `catalog_invalid`. */
  reread(): readonly string[] {
    this.catalog.followAndRemember(readCatalog(this.#catalogPath));
    return [this.#catalogPath];
  }
}

function originOf(keyring: Keyring, logKey: SigningKey, path: string): string {
  const log = keyring.logPolicy.logs.find(({ key }) => key.key.id === logKey.public.id);
  if (log !== undefined) return log.key.name;
  throw new CodedError(
    'key_file_unfit',
    `The log's key ${logKey.public.id.slice(0, 16)}… is not in the log policy of ${path}: nobody would believe its checkpoints.`,
  );
}
