import type { X509Certificate } from 'node:crypto';
import { TeeRefused } from './tee-refused.ts';
import { extensionOf } from './x509.ts';

/** What Intel certified of a platform (PCK certificate, extension 1.2.840.113741.1.13.1). */
export interface Platform {
  /** Six bytes in hexadecimal: the family, model and stepping that Intel's data is about. */
  readonly fmspc: string;
  /** The levels of the sixteen components of SGX. */
  readonly components: readonly number[];
  readonly pceSvn: number;
}

const SGX = '1.2.840.113741.1.13.1';
/** The DER of that object identifier, and what is added to it for the members within. */
const SGX_OID = Buffer.from('2a864886f84d010d01', 'hex');
const TCB = 2;
const FMSPC = 4;
const PCE_SVN = 17;

/** Throws TeeRefused where the certificate is none of a platform. */
export function platformOf(certificate: X509Certificate): Platform {
  const extension = extensionOf(certificate, SGX);
  if (extension === undefined) throw notOfPlatform();
  const members = membersOf(extension);
  const tcb = members.get(String(TCB));
  const fmspc = members.get(String(FMSPC));
  if (tcb === undefined || fmspc?.length !== 6) throw notOfPlatform();
  const levels = membersOf(tcb, [TCB]);
  const level = (number: number) => {
    const bytes = levels.get(`${TCB}.${number}`);
    if (bytes === undefined || bytes.length === 0 || bytes.length > 3) throw notOfPlatform();
    return bytes.readIntBE(0, bytes.length);
  };
  return {
    fmspc: fmspc.toString('hex'),
    components: Array.from({ length: 16 }, (_, at) => level(at + 1)),
    pceSvn: level(PCE_SVN),
  };
}

/** The values of pairs of an identifier and a value, by what the identifiers add to Intel's. */
function membersOf(sequence: Buffer, under: readonly number[] = []): Map<string, Buffer> {
  const prefix = Buffer.concat([SGX_OID, Buffer.from(under)]);
  const members = new Map<string, Buffer>();
  const [outer] = under.length === 0 ? valuesOf(sequence) : [sequence];
  for (const pair of valuesOf(outer ?? sequence)) {
    const [oid, value] = valuesOf(pair);
    if (oid === undefined || value === undefined || !oid.subarray(0, prefix.length).equals(prefix)) continue;
    members.set([...under, ...oid.subarray(prefix.length)].join('.'), value);
  }
  return members;
}

/** The values of the items in DER, one after another; each is shorter than 64 KiB. */
function valuesOf(der: Buffer): Buffer[] {
  const values: Buffer[] = [];
  for (let at = 0; at < der.length;) {
    const first = der[at + 1] ?? 0;
    const more = first & 0x80 ? first & 0x7f : 0;
    if (more > 2 || at + 2 + more > der.length) throw notOfPlatform();
    const length = more === 0 ? first : der.readUIntBE(at + 2, more);
    const from = at + 2 + more;
    if (from + length > der.length) throw notOfPlatform();
    values.push(der.subarray(from, from + length));
    at = from + length;
  }
  return values;
}

const notOfPlatform = () => new TeeRefused('TEE_CHAIN_UNTRUSTED', 'The certificate is of no TDX platform.');
