/** What secrets look like, and what may be shown of each. */
const SHAPES: readonly (readonly [RegExp, string])[] = [
  // API keys, join tokens and tokens of payers: what stands before the secret says which it is.
  [/\b(cs[kjp]_[A-Za-z0-9]+)_[A-Za-z0-9_-]+/g, '$1_[secret]'],
  [/\bwhsec_[A-Za-z0-9+/=]+/g, 'whsec_[secret]'],
  [/\b([a-z][a-z0-9+.-]*:\/\/[^:@/\s"]*:)[^@/\s"]+@/gi, '$1[secret]@'],
  [/\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{8,}/gi, '$1 [secret]'],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----/g, '[secret]'],
];

/** A shorter text may stand in any sentence by chance. */
const SHORTEST = 8;

const kept = new Set<string>();

/** Has these lines left out of whatever this process logs or says of an error: others may repeat them. */
export function keepSecret(text: string): void {
  for (const line of text.split('\n').map((part) => part.trim()))
    if (line.length >= SHORTEST && !line.startsWith('-----')) kept.add(line);
}

/** The text without what looks like a secret, and without the secrets that this process has read. */
export function redact(text: string): string {
  let shown = text;
  for (const secret of kept) shown = shown.replaceAll(secret, '[secret]');
  return SHAPES.reduce((said, [shape, instead]) => said.replace(shape, instead), shown);
}
