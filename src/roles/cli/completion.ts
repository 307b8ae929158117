import type { Command } from 'commander';

/** One command of the program with all its parts, as a shell completes it. */
interface Words {
  /** The words that lead to it, without the name of the program. */
  readonly path: readonly string[];
  /** What can follow: its commands and its long options. */
  readonly next: readonly string[];
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A script that completes the commands and options of the program, for a shell. It starts no program. */
export function completionScript(program: Command, shell: Shell): string {
  const words = wordsOf(program, []);
  if (shell === 'fish') return fishScript(words);
  const script = bashScript(words);
  return shell === 'bash' ? script : `autoload -U +X bashcompinit && bashcompinit\n${script}`;
}

function wordsOf(command: Command, path: readonly string[]): Words[] {
  const help = command.createHelp();
  const commands = help.visibleCommands(command);
  const options = help.visibleOptions(command).flatMap(({ long }) => (long == null ? [] : [long]));
  return [
    { path, next: [...commands.map((one) => one.name()), ...options] },
    ...commands.filter((one) => one.name() !== 'help').flatMap((one) => wordsOf(one, [...path, one.name()])),
  ];
}

/** Looks for the longest path of commands among the words that are typed; after it come files too. */
function bashScript(words: readonly Words[]): string {
  const cases = words.map(({ path, next }) => `    '${path.join(' ')}') next='${next.join(' ')}' ;;`);
  return `_countersign() {
  local path='' word next known
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${path:+$path }$word" in
      ${words.flatMap(({ path }) => (path.length === 0 ? [] : [`'${path.join(' ')}'`])).join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$next" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _countersign countersign
`;
}

function fishScript(words: readonly Words[]): string {
  const lines = words.flatMap(({ path, next }) => {
    const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`);
    const when = path.length === 0 ? '__fish_use_subcommand' : seen.join('; and ');
    return next.map((word) =>
      word.startsWith('--')
        ? `complete -c countersign -n '${path.length === 0 ? 'true' : when}' -l ${word.slice(2)}`
        : `complete -c countersign -n '${when}' -f -a ${word}`,
    );
  });
  return `${lines.join('\n')}\n`;
}
