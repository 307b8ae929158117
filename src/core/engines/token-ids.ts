/** Little-endian 32-bit numbers: the form in which token ids are stored and hashed. */
export function encodeTokens(tokens: readonly number[]): Buffer {
  const bytes = Buffer.alloc(tokens.length * 4);
  tokens.forEach((token, at) => bytes.writeUInt32LE(token, at * 4));
  return bytes;
}

export function decodeTokens(bytes: Buffer): number[] {
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, at) => bytes.readUInt32LE(at * 4));
}
