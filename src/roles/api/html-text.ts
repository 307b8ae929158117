/** Text for a page, in which backticks mark code. */
export function markedText(text: string): string {
  return plainText(text).replace(/`([^`]+)`/g, '<code>$1</code>');
}

/** Text for a page, or for the value of an attribute in double quotes. */
export function plainText(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
