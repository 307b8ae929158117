/**
 * What could end a block, hide in it or turn its text around: marks of tags, everything that is not printed
 * (controls, directions, zero-width and tag characters), and the selectors that carry hidden bytes.
 */
const HIDDEN = /[<>&\p{C}\u2028\u2029\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu;

/**
 * Words of others as a part of a prompt: one line of JSON between two marks. The words cannot end the block:
 * `mark` is drawn for this prompt and unknown to whoever wrote them, and no `<` stands between the marks.
 * What is hidden in them comes as escapes, so that a model and a reader see the same.
 */
export function dataBlock(name: string, mark: string, value: unknown): string {
  return `<${name} ${mark}>\n${JSON.stringify(value).replace(HIDDEN, escaped)}\n</${name} ${mark}>`;
}

function escaped(character: string): string {
  return Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`,
  ).join('');
}
