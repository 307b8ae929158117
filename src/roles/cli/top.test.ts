import { expect, test } from '@jest/globals';
import { samplesOf, topLine, topLines } from './top.ts';

const METRICS = `# HELP countersign_open_jobs Jobs accepted and not final
# TYPE countersign_open_jobs gauge
countersign_open_jobs 47
countersign_consuming_workers 3
countersign_queue_waiting_jobs{pool="default",model="kjv-1m"} 4
countersign_queue_waiting_jobs{pool="gpu",model="llama-70b"} 40
countersign_pool_state{pool="gpu",state="paused"} 1
countersign_pool_state{pool="gpu",state="open"} 0
countersign_pool_state{pool="default",state="open"} 1
nonsense{ 1
`;
const moment = (atMs: number, logSize: number) => ({
  atMs,
  ready: true,
  detail: 'all is well',
  metrics: METRICS,
  logSize,
});

test('samples are read with their labels, and lines that are none are passed over', () => {
  expect(samplesOf('a{b="c\\"d\\\\",e="f"} 1e3\n# x\n\nb NaN\nbad line\n')).toEqual([
    {
      name: 'a',
      labels: new Map([
        ['b', 'c"d\\'],
        ['e', 'f'],
      ]),
      value: 1_000,
    },
  ]);
});

test('a moment shows the longest queue first, and the rate since the one before', () => {
  const lines = topLines(moment(12_000, 150), moment(10_000, 100));
  expect(lines[0]).toBe('working: all is well');
  expect(lines[1]).toContain('workers 3   attestors 0   open jobs 47');
  expect(lines[2]).toBe('log 150 entries   confirmed 25.0 a second');
  expect(lines.slice(3)).toEqual([
    'POOL     MODEL      STATE   WAITING',
    'gpu      llama-70b  paused       40',
    'default  kjv-1m     open          4',
  ]);
  expect(topLines(moment(0, 1), undefined)[2]).toBe('log 1 entries');
});

test('where models take turns, it says how many workers have each loaded', () => {
  const metrics = `${METRICS}countersign_model_loaded_workers{pool="gpu",model="llama-70b"} 2\n`;
  expect(topLines({ ...moment(0, 1), metrics }, undefined).slice(3)).toEqual([
    'POOL     MODEL      STATE   WAITING  LOADED BY',
    'gpu      llama-70b  paused       40          2',
    'default  kjv-1m     open          4          -',
  ]);
});

test('without a terminal it is one line with its time', () => {
  expect(topLine(moment(0, 1), undefined)).toMatch(/^1970-01-01T00:00:00\.000Z {3}ready {3}waiting 44 {3}workers 3 /);
});
