/** One thing that a Markdown text says. */
export interface MarkdownMemory {
  /** From 1, of its first line. */
  readonly line: number;
  /** The heading that it stands under. */
  readonly section: string | null;
  readonly text: string;
}

const HEADING = /^ {0,3}#{1,6}\s+(.*?)\s*#*\s*$/;
const BOLD_HEADING = /^\s*(?:\*\*|__)(.+?)(?:\*\*|__):?\s*$/;
const BULLET = /^\s*(?:[-*+•–]|\d{1,3}[.)])\s+(.*)$/;
const FENCE = /^\s*(?:```|~~~)/;
const RULE = /^\s*(?:[-*_]\s*){3,}$/;

/**
 * The list items and paragraphs of a Markdown text, each under its heading. An indented line goes on with the
 * item before it; a fenced block belongs to its paragraph. Front matter and rules say nothing.
 */
export function* markdownMemories(markdown: string): Generator<MarkdownMemory> {
  let section: string | null = null;
  let held: { line: number; lines: string[] } | undefined;
  let isFenced = false;
  const taken = function* (): Generator<MarkdownMemory> {
    const text = held?.lines.join('\n').trim() ?? '';
    if (held !== undefined && text !== '') yield { line: held.line, section, text };
    held = undefined;
  };
  const add = (line: number, text: string) => {
    held ??= { line, lines: [] };
    held.lines.push(text);
  };
  for (const { line, text } of linesAfterFrontMatter(markdown)) {
    if (FENCE.test(text)) isFenced = !isFenced;
    if (isFenced || FENCE.test(text)) {
      add(line, text);
      continue;
    }
    const heading = (HEADING.exec(text) ?? BOLD_HEADING.exec(text))?.[1];
    const item = BULLET.exec(text)?.[1];
    if (text.trim() === '' || RULE.test(text) || heading !== undefined) yield* taken();
    if (heading !== undefined) section = heading.replace(/[*_:]+$/g, '').trim();
    else if (RULE.test(text) || text.trim() === '') continue;
    else if (item !== undefined && !(held !== undefined && /^(?: {2,}|\t)/.test(text))) {
      yield* taken();
      add(line, item);
    } else add(line, text.trim());
  }
  yield* taken();
}

/** How many lines of a Markdown text are headings; they name categories and are no memories. */
export function headingsOf(markdown: string): number {
  return markdown.split('\n').filter((line) => HEADING.test(line) || BOLD_HEADING.test(line)).length;
}

function linesAfterFrontMatter(markdown: string): { line: number; text: string }[] {
  const lines = markdown.split(/\r?\n/).map((text, at) => ({ line: at + 1, text }));
  if (lines[0]?.text !== '---') return lines;
  const end = lines.findIndex(({ text }, at) => at > 0 && text === '---');
  return end < 0 ? lines : lines.slice(end + 1);
}
