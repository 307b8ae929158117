import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SMI_LIST, SMI_XML, playNvidiaSmi } from '../../../test/support/nvidia-smi.ts';
import { MOST_GPUS, visibleGpus } from './gpu.ts';
import { askNvidiaSmi, readGpus } from './nvidia-smi.ts';

const MIB = 1_048_576;
const WHOLE = {
  place: '0',
  uuid: 'GPU-37037c3f-65c8-ec4d-24a9-420204ad8026',
  name: 'NVIDIA RTX 4000 SFF Ada Generation',
  memoryBytes: 20_475 * MIB,
  freeBytes: 16_482 * MIB,
  busyPercent: 41,
  celsius: 38,
  uncorrectedErrors: 2,
};
const slice = (number: number, uuid: string) => ({
  place: `1:${number}`,
  uuid,
  name: 'NVIDIA A100-SXM4-80GB MIG 2g.20gb',
  memoryBytes: 19_968 * MIB,
  freeBytes: 19_955 * MIB,
  celsius: 27,
  uncorrectedErrors: 0,
});
const GPUS = [
  WHOLE,
  slice(0, 'MIG-a686709d-6dc2-542a-8851-0d2508448c10'),
  slice(1, 'MIG-53864714-0a66-5df2-9007-9268e30d9a72'),
];

describe('what nvidia-smi prints', () => {
  test('tells of whole GPUs, and of one in slices the slices', () => {
    expect(readGpus(SMI_XML, SMI_LIST)).toEqual(GPUS);
  });

  test.each(['N/A', '[Unknown Error]', 'ERR!', '', '9e99 MiB', '12 KiB', '-'])(
    'a figure that is %p is absent, and the others are there',
    (word) => {
      const [gpu] = readGpus(SMI_XML.replace('16482 MiB', word), SMI_LIST) ?? [];
      expect(gpu).toEqual({ ...WHOLE, freeBytes: undefined });
    },
  );

  test('a GPU without a name that can be printed, and a slice that the list does not name, are left out', () => {
    const garbled = SMI_XML.replace('NVIDIA RTX 4000 SFF Ada Generation', '\u001b[2Jhello');
    expect(readGpus(garbled, SMI_LIST.replace(/.*Device {2}1.*/, ''))).toEqual([GPUS[1]]);
    expect(readGpus('no devices were found', '')).toBeUndefined();
  });

  test('however it is cut, repeated or changed, it is read without harm', () => {
    const pieces = fc.array(fc.oneof(fc.constantFrom(...SMI_XML.split('\n')), fc.string()), { maxLength: 400 });
    fc.assert(
      fc.property(pieces, fc.nat(SMI_LIST.length), (lines, cut) => {
        const gpus = readGpus(`<nvidia_smi_log>${lines.join('\n')}`, SMI_LIST.slice(cut)) ?? [];
        expect(gpus.length).toBeLessThanOrEqual(MOST_GPUS);
      }),
    );
    expect(readGpus(`<nvidia_smi_log>${'<gpu ><uuid>'.repeat(300_000)}`, '')).toEqual([]);
  });
});

describe('the program nvidia-smi', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cs-smi-'));
  const path = process.env['PATH'] ?? '';
  const ask = (script?: string) => {
    playNvidiaSmi(folder, script);
    return askNvidiaSmi(new AbortController().signal, 300);
  };
  beforeAll(() => {
    process.env['PATH'] = `${folder}:${path}`;
  });
  afterAll(() => {
    process.env['PATH'] = path;
    rmSync(folder, { recursive: true });
  });

  test.each(['exit 9', 'exec sleep 60', 'sleep 3 & exec cat /dev/zero', 'echo garbage'])(
    'tells nothing where it does `%s`',
    async (script) => {
      expect(await ask(script)).toBeUndefined();
    },
  );

  test('knows nothing of our environment', async () => {
    process.env['COUNTERSIGN_TEST_WORD'] = 'secret';
    try {
      const told = 'test -z "$COUNTERSIGN_TEST_WORD" && cat "$0.xml"';
      expect(await ask(told)).toHaveLength(1);
    } finally {
      delete process.env['COUNTERSIGN_TEST_WORD'];
    }
  });
});

describe('CUDA_VISIBLE_DEVICES', () => {
  test.each([
    [undefined, ['0', '1:0', '1:1']],
    ['', []],
    ['-1', []],
    ['0', ['0']],
    ['1,0', ['1:0', '0']],
    ['0,7,1', ['0']],
    ['GPU-3703', ['0']],
    ['GPU-', []],
    ['MIG-53864714-0a66-5df2-9007-9268e30d9a72', ['1:1']],
    ['0,0', ['0']],
  ])('%p leaves %j', (visible, places) => {
    expect(visibleGpus(GPUS, visible).map(({ place }) => place)).toEqual(places);
  });
});
