/**
 * Returns the body of a response, or undefined where it is longer than `maxBytes`; the rest is then not read.
 */
export async function readBounded(response: Response, maxBytes: number): Promise<Buffer | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response.body ?? []) {
    const bytes = piece as Uint8Array;
    length += bytes.length;
    if (length > maxBytes) return undefined;
    pieces.push(bytes);
  }
  return Buffer.concat(pieces);
}
