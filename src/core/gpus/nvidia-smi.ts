import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Gpu, MOST_GPUS } from './gpu.ts';

const run = promisify(execFile);
const PROGRAM_MS = 15_000;
const MAX_BYTES = 4 * 1_048_576;
const MIB = 1_048_576;

/**
 * The GPUs of this machine by `nvidia-smi`, which runs in a process of its own that knows nothing of ours;
 * undefined where there is no such program, it fails, takes too long, or says nothing that can be read. A
 * driver that hangs can hold that process for ever: then this ends without it.
 */
export async function askNvidiaSmi(signal: AbortSignal, programMs = PROGRAM_MS): Promise<Gpu[] | undefined> {
  try {
    const xml = await textOf(['-q', '-x'], signal, programMs);
    // Only this tells the names of slices.
    const list = xml.includes('<mig_device>') ? await textOf(['-L'], signal, programMs) : '';
    return readGpus(xml, list);
  } catch {
    return undefined;
  }
}

function textOf(words: string[], signal: AbortSignal, programMs: number): Promise<string> {
  const { PATH, LD_LIBRARY_PATH } = process.env;
  const inherited = { ...(PATH === undefined ? {} : { PATH }), ...(LD_LIBRARY_PATH ? { LD_LIBRARY_PATH } : {}) };
  const env = { ...inherited, LC_ALL: 'C' };
  const limits = { timeout: programMs, maxBuffer: MAX_BYTES, killSignal: 'SIGKILL', signal, env } as const;
  return new Promise((resolve, reject) => {
    // What is killed ends only when its driver lets it.
    const late = setTimeout(() => reject(new Error('nvidia-smi hangs')), programMs + 1_000);
    run('nvidia-smi', words, limits)
      .then(({ stdout }) => resolve(stdout), reject)
      .finally(() => clearTimeout(late));
  });
}

/**
 * The GPUs in what `nvidia-smi -q -x` and `nvidia-smi -L` print; a GPU that is cut into slices is there as
 * its slices. One of which something else is said than expected is left out; undefined where it is no such
 * document.
 */
export function readGpus(xml: string, list: string): Gpu[] | undefined {
  if (!xml.includes('<nvidia_smi_log>')) return undefined;
  const slices = slicesIn(list);
  const gpus = elementsOf(xml, 'gpu').flatMap((gpu, at) => gpusIn(gpu, at, slices));
  return gpus.flatMap((gpu) => Gpu.safeParse(gpu).data ?? []).slice(0, MOST_GPUS);
}

/** A slice by the name of its GPU and its number there. */
type Slices = ReadonlyMap<string, { readonly uuid: string; readonly profile: string }>;

function gpusIn(gpu: string, at: number, slices: Slices): unknown[] {
  const sliced = elementOf(gpu, 'mig_devices') ?? '';
  const whole = gpu.replace(sliced, '');
  const [name = '', uuid = ''] = [elementOf(whole, 'product_name'), elementOf(whole, 'uuid')];
  const celsius = numberIn(elementOf(elementOf(whole, 'temperature') ?? '', 'gpu_temp'), 'C');
  const parts = elementsOf(sliced, 'mig_device').map((slice) => {
    const number = elementOf(slice, 'index') ?? '';
    const known = slices.get(`${uuid}/${number}`);
    return {
      ...facts(slice, { celsius }),
      place: `${at}:${number}`,
      uuid: known?.uuid,
      name: `${name} MIG ${known?.profile ?? ''}`.trim(),
    };
  });
  if (parts.length > 0) return parts;
  const busyPercent = numberIn(elementOf(elementOf(whole, 'utilization') ?? '', 'gpu_util'), '%');
  return [{ ...facts(whole, { celsius, busyPercent }), place: String(at), uuid, name }];
}

function facts(of: string, others: Record<string, number | undefined>): Record<string, unknown> {
  const memory = elementOf(of, 'fb_memory_usage') ?? '';
  const bytes = (tag: string) => {
    const mib = numberIn(elementOf(memory, tag), 'MiB');
    return mib === undefined ? undefined : mib * MIB;
  };
  const told = { memoryBytes: bytes('total'), freeBytes: bytes('free'), uncorrectedErrors: errorsIn(of), ...others };
  return Object.fromEntries(Object.entries(told).filter(([, value]) => value !== undefined));
}

/** Errors that were not corrected, since the driver was loaded: a sum of what is counted apart. */
function errorsIn(of: string): number | undefined {
  const counts = elementOf(elementOf(of, 'ecc_errors') ?? '', 'volatile') ?? elementOf(of, 'volatile_count') ?? '';
  const found = [...counts.matchAll(/<[sd]ram_uncorrectable\w*>(\d{1,12})</g)].map(([, digits]) => Number(digits));
  return found.length === 0 ? undefined : found.reduce((sum, one) => sum + one, 0);
}

/** `24 MiB`, where the unit is this one; undefined for `N/A`, `[Unknown Error]` and anything else. */
function numberIn(text: string | undefined, unit: string): number | undefined {
  const [digits, said] = text?.split(' ') ?? [];
  return said === unit && /^-?\d{1,9}$/.test(digits ?? '') ? Number(digits) : undefined;
}

/** What stands in the first of the elements of this name, which do not nest. */
function elementsOf(xml: string, tag: string): string[] {
  const found: string[] = [];
  let from = 0;
  while (found.length < MOST_GPUS) {
    const begin = startOf(xml, tag, from);
    const end = begin === -1 ? -1 : xml.indexOf(`</${tag}>`, begin);
    if (end === -1) return found;
    found.push(xml.slice(begin, end).trim());
    from = end;
  }
  return found;
}

/** Where the text of the next such element begins. */
function startOf(xml: string, tag: string, from: number): number {
  const plain = xml.indexOf(`<${tag}>`, from);
  const told = xml.indexOf(`<${tag} `, from);
  if (told === -1 || (plain !== -1 && plain < told)) return plain === -1 ? -1 : plain + tag.length + 2;
  const close = xml.indexOf('>', told);
  return close === -1 ? -1 : close + 1;
}

const elementOf = (xml: string, tag: string): string | undefined => elementsOf(xml, tag)[0];

function slicesIn(list: string): Slices {
  const slices = new Map<string, { uuid: string; profile: string }>();
  let gpu = '';
  for (const line of list.split('\n')) {
    const whole = /^GPU \d+: .{1,100} \(UUID: (GPU-[0-9A-Za-z-]{1,80})\)\s*$/.exec(line);
    if (whole !== null) gpu = whole[1] ?? '';
    const slice = /^ +MIG ([0-9a-z.+]{1,30}) +Device +(\d{1,2}): \(UUID: (MIG-[0-9A-Za-z/-]{1,80})\)\s*$/.exec(line);
    if (slice === null) continue;
    const [, profile = '', number = '', uuid = ''] = slice;
    slices.set(`${gpu}/${number}`, { uuid, profile });
  }
  return slices;
}
