/**
 * Text that a service or a worker wrote, for people: characters that move a cursor, turn the direction of
 * writing or cannot be seen are question marks.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, '?');
}
