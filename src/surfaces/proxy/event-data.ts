import { Unverified } from './unverified.ts';

/**
 * The data of server-sent events, an event at a time; comments and other fields are left out. Throws
 * Unverified where an event has more characters than `maxChars`, or the bytes are not UTF-8.
 */
export async function* eventData(pieces: AsyncIterable<Uint8Array>, maxChars: number): AsyncGenerator<string> {
  let data: string[] = [];
  let chars = 0;
  for await (const line of linesOf(pieces, maxChars)) {
    if (line === '') {
      if (data.length > 0) yield data.join('\n');
      [data, chars] = [[], 0];
    } else if (line.startsWith('data:')) {
      data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
      chars += line.length;
      if (chars > maxChars) throw tooLong(maxChars);
    }
  }
}

/** Each character is looked at once, however many pieces a line comes in. */
async function* linesOf(pieces: AsyncIterable<Uint8Array>, maxChars: number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let parts: string[] = [];
  let chars = 0;
  for await (const piece of pieces) {
    const [first = '', ...more] = decoded(decoder, piece).split('\n');
    parts.push(first);
    chars += first.length;
    for (const next of more) {
      yield withoutReturn(parts.join(''));
      [parts, chars] = [[next], next.length];
    }
    if (chars > maxChars) throw tooLong(maxChars);
  }
}

const withoutReturn = (line: string): string => (line.endsWith('\r') ? line.slice(0, -1) : line);
const tooLong = (most: number) => new Unverified('too_large', `An event has more than ${most} characters.`);

function decoded(decoder: InstanceType<typeof TextDecoder>, piece: Uint8Array): string {
  try {
    return decoder.decode(piece, { stream: true });
  } catch (cause) {
    throw new Unverified('malformed', 'The stream is not UTF-8.', { cause });
  }
}
