import { TeeRefused } from './tee-refused.ts';

/**
 * TDX quotes of the versions 4 and 5, as Intel's "TDX DCAP: Quote Generation Library and Quote Verification
 * Library" lays them out (appendix A.3 and A.4): a header, a report of the guest, and a signature with what
 * certifies its key. Nothing is verified here.
 */
export interface TdxQuote {
  readonly version: 4 | 5;
  /** Header and report, which the attestation key signs. */
  readonly signed: Buffer;
  readonly report: TdReport;
  /** r and s, 64 bytes. */
  readonly signature: Buffer;
  /** x and y of a point on P-256, 64 bytes. */
  readonly attestationKey: Buffer;
  /** The report of the quoting enclave, 384 bytes, and the platform's signature of it. */
  readonly qeReport: Buffer;
  readonly qeSignature: Buffer;
  readonly qeAuthData: Buffer;
  /** The platform's certificates as PEM; undefined where the quote only names them. */
  readonly pckChain: string | undefined;
}

/** What the TDX module says of a guest. */
export interface TdReport {
  readonly teeTcbSvn: Buffer;
  readonly mrSeam: Buffer;
  readonly mrSignerSeam: Buffer;
  readonly seamAttributes: Buffer;
  readonly tdAttributes: Buffer;
  readonly xfam: Buffer;
  readonly mrTd: Buffer;
  readonly mrConfigId: Buffer;
  readonly mrOwner: Buffer;
  readonly mrOwnerConfig: Buffer;
  readonly rtMr0: Buffer;
  readonly rtMr1: Buffer;
  readonly rtMr2: Buffer;
  readonly rtMr3: Buffer;
  readonly reportData: Buffer;
  /** Of a report of TDX 1.5, else undefined. */
  readonly mrServiceTd: Buffer | undefined;
}

const HEADER_BYTES = 48;
const ECDSA_P256 = 2;
const TDX = 0x81;
const TD_1_0 = { type: 2, bytes: 584 };
const TD_1_5 = { type: 3, bytes: 648 };
const QE_REPORT_CERTIFICATION = 6;
const PCK_CHAIN = 5;

/** Whether the bytes say of themselves that they are a TDX quote. */
export function isTdxQuote(bytes: Buffer): boolean {
  return bytes.length >= HEADER_BYTES && bytes.readUInt32LE(4) === TDX;
}

/** The parts of a quote; what stands after them is not looked at. Throws TeeRefused. */
export function parseTdxQuote(bytes: Buffer): TdxQuote {
  const read = new Reader(bytes);
  const header = read.take(HEADER_BYTES);
  const version = header.readUInt16LE(0);
  if ((version !== 4 && version !== 5) || header.readUInt16LE(2) !== ECDSA_P256 || header.readUInt32LE(4) !== TDX)
    throw malformed('is none of TDX that is known');
  const kind = version === 4 ? TD_1_0 : kindOf(read.uint16(), read.uint32());
  const report = reportOf(new Reader(read.take(kind.bytes)), kind === TD_1_5);
  const signed = bytes.subarray(0, read.at);
  const auth = new Reader(read.take(read.uint32()));
  const signature = auth.take(64);
  const attestationKey = auth.take(64);
  if (auth.uint16() !== QE_REPORT_CERTIFICATION) throw malformed('names no quoting enclave');
  const certification = new Reader(auth.take(auth.uint32()));
  const qeReport = certification.take(384);
  const qeSignature = certification.take(64);
  const qeAuthData = certification.take(certification.uint16());
  const isChain = certification.uint16() === PCK_CHAIN;
  const chain = certification.take(certification.uint32());
  return {
    version,
    signed,
    report,
    signature,
    attestationKey,
    qeReport,
    qeSignature,
    qeAuthData,
    pckChain: isChain ? chain.toString('latin1') : undefined,
  };
}

function kindOf(type: number, bytes: number): typeof TD_1_0 {
  const kind = [TD_1_0, TD_1_5].find((one) => one.type === type && one.bytes === bytes);
  if (kind === undefined) throw malformed('holds a report of a kind that is not known');
  return kind;
}

function reportOf(read: Reader, isLater: boolean): TdReport {
  const first = {
    teeTcbSvn: read.take(16),
    mrSeam: read.take(48),
    mrSignerSeam: read.take(48),
    seamAttributes: read.take(8),
    tdAttributes: read.take(8),
    xfam: read.take(8),
    mrTd: read.take(48),
    mrConfigId: read.take(48),
    mrOwner: read.take(48),
    mrOwnerConfig: read.take(48),
    rtMr0: read.take(48),
    rtMr1: read.take(48),
    rtMr2: read.take(48),
    rtMr3: read.take(48),
    reportData: read.take(64),
  };
  // What the platform's firmware is now, after an update while the guest ran, is not judged.
  if (isLater) read.take(16);
  return { ...first, mrServiceTd: isLater ? read.take(48) : undefined };
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get at(): number {
    return this.#at;
  }

  take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) throw malformed('ends too early');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  uint16(): number {
    return this.take(2).readUInt16LE(0);
  }

  uint32(): number {
    return this.take(4).readUInt32LE(0);
  }
}

const malformed = (why: string) => new TeeRefused('TEE_MALFORMED', `The quote ${why}.`);
