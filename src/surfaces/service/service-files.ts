import { readFileSync } from 'node:fs';
import { readCatalog, type Catalog } from '../../core/catalog/catalog.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { readSigningKey } from '../../ground/keys/key-file.ts';
import type { RereadableFiles } from '../../ground/process/rereadable-files.ts';
import { SecretsKeys } from '../../ground/keys/secrets-keys.ts';
import type { PublicKey, SigningKey } from '../../ground/keys/signing-key.ts';
import { readKeyring } from '../../proof/receipts/keyring-file.ts';
import { KeyringFile, type Keyring } from '../../proof/receipts/keyring.ts';
import type { NoteKey } from '../../proof/tlog/signed-note.ts';
import { PriceTable } from '../ledger/price-table.ts';
import { readPaymentTerms, type PaymentTerms } from '../payments/payment-terms.ts';
import type { ServiceConfig } from './service-config.ts';

/** What a service reads from its files at its start, and prices and catalog again when it is told to. */
export class ServiceFiles implements RereadableFiles {
  readonly #config: Pick<ServiceConfig, 'COUNTERSIGN_CATALOG' | 'COUNTERSIGN_PRICES'>;
  /** Signs tickets. */
  readonly signingKey: SigningKey;
  readonly secretsKeys: SecretsKeys;
  readonly keyring: Keyring;
  /** The keyring as it is served. */
  readonly keyringFile: KeyringFile;
  /** The keys of the log that is served: the first that the policy names. */
  readonly logKeys: readonly NoteKey[];
  readonly catalog: Catalog;
  readonly prices: PriceTable;
  /** Absent where no request is sold to callers without an account. */
  readonly paymentTerms: PaymentTerms | undefined;

  /** Throws CodedErrors that say which file is unfit, and why. */
  constructor(config: ServiceConfig) {
    this.#config = config;
    this.signingKey = readSigningKey(config.COUNTERSIGN_TICKET_KEY_FILE);
    this.secretsKeys = SecretsKeys.read(config.COUNTERSIGN_SECRETS_KEY_FILES);
    this.keyring = readKeyring(config.COUNTERSIGN_KEYRING);
    requireTrusted(this.keyring, this.signingKey.public, config.COUNTERSIGN_KEYRING);
    const [ownLog] = this.keyring.logPolicy.logs;
    if (ownLog === undefined) throw new CodedError('key_file_unfit', `${config.COUNTERSIGN_KEYRING} names no log.`);
    this.logKeys = this.keyring.logPolicy.logs.flatMap(({ key }) => (key.name === ownLog.key.name ? [key] : []));
    this.keyringFile = KeyringFile.parse(JSON.parse(readFileSync(config.COUNTERSIGN_KEYRING, 'utf8')));
    this.catalog = readCatalog(config.COUNTERSIGN_CATALOG);
    this.prices = readPrices(config.COUNTERSIGN_PRICES);
    this.paymentTerms =
      config.COUNTERSIGN_X402 === undefined
        ? undefined
        : readPaymentTerms(config.COUNTERSIGN_X402, this.prices.currency);
  }

  /** See `RereadableFiles`. Throws CodedErrors `catalog_invalid` and `prices_invalid`. */
  reread(): readonly string[] {
    const { COUNTERSIGN_CATALOG, COUNTERSIGN_PRICES } = this.#config;
    const [catalog, prices] = [readCatalog(COUNTERSIGN_CATALOG), readPrices(COUNTERSIGN_PRICES)];
    this.catalog.requireFollows(catalog);
    this.prices.requireFollows(prices);
    this.catalog.follow(catalog);
    this.prices.follow(prices);
    return [COUNTERSIGN_CATALOG, ...(COUNTERSIGN_PRICES === undefined ? [] : [COUNTERSIGN_PRICES])];
  }
}

function readPrices(path: string | undefined): PriceTable {
  return path === undefined ? PriceTable.free() : PriceTable.read(path);
}

function requireTrusted(keyring: Keyring, key: PublicKey, path: string): void {
  if (keyring.of('api').some(({ id }) => id === key.id)) return;
  throw new CodedError(
    'key_file_unfit',
    `The API's key ${key.id.slice(0, 16)}… is not in ${path}: nobody would believe its tickets.`,
  );
}
