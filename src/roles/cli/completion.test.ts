import { spawnSync } from 'node:child_process';
import { expect, test } from '@jest/globals';
import { Command } from 'commander';
import { completionScript } from './completion.ts';

const program = new Command('countersign').option('--data <folder>');
program.command('verify').option('--keyring <file>').option('--json');
const jobs = program.command('jobs');
jobs.command('cancel').option('--count <n>');
jobs.command('stuck');
program.command('secret', { hidden: true });

/** What bash offers after these words; the last is the one that is being typed. */
function offered(...typed: string[]): string[] {
  const words = ['countersign', ...typed];
  const asked = `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _countersign; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', `${completionScript(program, 'bash')}\n${asked}`], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return stdout.split('\n').filter((line) => line !== '');
}

test('bash completes commands, their commands and their options, also behind other options', () => {
  expect(offered('')).toEqual(expect.arrayContaining(['verify', 'jobs', '--data', '--help']));
  expect(offered('')).not.toContain('secret');
  expect(offered('ver')).toEqual(['verify']);
  expect(offered('jobs', '')).toEqual(expect.arrayContaining(['cancel', 'stuck']));
  expect(offered('--data', 'x', 'jobs', 'cancel', '--c')).toEqual(['--count']);
  expect(offered('verify', '--k')).toEqual(['--keyring']);
});

test('zsh reads the script of bash, and fish has a line for each word', () => {
  expect(completionScript(program, 'zsh')).toContain('bashcompinit');
  const lines = completionScript(program, 'fish').split('\n');
  expect(lines).toContain("complete -c countersign -n '__fish_use_subcommand' -f -a verify");
  expect(lines).toContain(
    "complete -c countersign -n '__fish_seen_subcommand_from jobs; and __fish_seen_subcommand_from cancel' -l count",
  );
});
