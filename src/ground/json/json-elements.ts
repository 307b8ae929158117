/**
 * The elements of a large JSON text, one in memory at a time: those of the array at its top, or of the arrays
 * that are members of the object at its top. Exports of chats are single arrays of gigabytes.
 */
export interface JsonElement {
  /** The name of the member whose array holds it; undefined for an array at the top. */
  readonly member: string | undefined;
  /** The text of the element, not yet parsed. */
  readonly text: string;
  /** Whether this is the object at the top without its arrays, which is told last. */
  readonly isRest: boolean;
}

/** The text is not JSON of this form, or an element of it is too long or nested too deep. */
export class ElementsRefused extends Error {
  override readonly name = 'ElementsRefused';
}

export interface ElementLimits {
  /** In characters. */
  readonly maxElement: number;
  readonly maxDepth: number;
}

/**
 * The elements in the order of the text; of an object at the top last what its other members are, as an
 * object. Throws ElementsRefused, also where the text ends too early.
 */
export async function* jsonElements(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  limits: ElementLimits,
): AsyncGenerator<JsonElement> {
  const scanner = new ElementScanner(limits);
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (piece?: Uint8Array): string => {
    try {
      return piece === undefined ? decoder.decode() : decoder.decode(piece, { stream: true });
    } catch {
      throw new ElementsRefused('The text is not valid UTF-8.');
    }
  };
  for await (const piece of pieces) yield* scanner.scan(decode(piece));
  yield* scanner.scan(decode());
  yield* scanner.end();
}

/**
 * Knows only where strings and brackets are, as much as is needed to cut elements out; whoever parses an
 * element finds what is malformed inside of it. `depth` counts open brackets; elements begin one level below
 * the array that holds them.
 */
class ElementScanner {
  readonly #limits: ElementLimits;
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #top: '[' | '{' | undefined;
  #isOver = false;
  /** The depth of the array whose elements are told; 0 outside of one. */
  #arrayDepth = 0;
  #member: string | undefined;
  /** The members of the object at the top that hold no array. */
  readonly #rest: string[] = [];
  #restLength = 0;
  /** What was read of the element, or of the member outside of an array. */
  #held = '';

  constructor(limits: ElementLimits) {
    this.#limits = limits;
  }

  *scan(text: string): Generator<JsonElement> {
    let begin = 0;
    for (let at = 0; at < text.length; at += 1) {
      const char = text.charAt(at);
      if (this.#isInString) {
        this.#inString(char);
        continue;
      }
      if (char === '"') {
        this.#requireOpen(char);
        this.#isInString = true;
        continue;
      }
      if (!'[]{},'.includes(char)) {
        if (this.#top === undefined || this.#isOver) this.#requireSpace(char);
        continue;
      }
      this.#hold(text.slice(begin, at));
      begin = at + 1;
      const element = this.#structure(char);
      if (element !== undefined) yield element;
    }
    this.#hold(text.slice(begin));
  }

  *end(): Generator<JsonElement> {
    if (!this.#isOver) throw new ElementsRefused('The text ends before its JSON does.');
    this.#keepMember();
    if (this.#top === '{') yield { member: undefined, text: `{${this.#rest.join(',')}}`, isRest: true };
  }

  #inString(char: string): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (char === '\\') this.#isEscaped = true;
    else if (char === '"') this.#isInString = false;
  }

  #requireOpen(char: string): void {
    if (this.#top === undefined || this.#isOver) throw new ElementsRefused(`The text begins or ends with ${char}.`);
  }

  #requireSpace(char: string): void {
    if (!/^[\s\ufeff]$/u.test(char))
      throw new ElementsRefused('The text is no array and no object, or something follows it.');
  }

  #hold(text: string): void {
    if (this.#depth === 0) return;
    this.#held += text;
    if (this.#held.length > this.#limits.maxElement)
      throw new ElementsRefused(`An element is longer than ${this.#limits.maxElement} characters.`);
  }

  #structure(char: string): JsonElement | undefined {
    if (char === '[' || char === '{') this.#open(char);
    else if (char === ',') return this.#comma();
    else return this.#close(char);
    return undefined;
  }

  #open(char: '[' | '{'): void {
    if (this.#isOver) throw new ElementsRefused('Something follows the JSON.');
    this.#depth += 1;
    if (this.#depth > this.#limits.maxDepth)
      throw new ElementsRefused(`The JSON is nested deeper than ${this.#limits.maxDepth} levels.`);
    if (this.#top === undefined) {
      this.#top = char;
      if (char === '[') this.#begin(undefined);
      return;
    }
    const member = this.#top === '{' && this.#depth === 2 && char === '[' ? memberIn(this.#held) : undefined;
    if (member !== undefined) this.#begin(member);
    else this.#held += char;
  }

  /** The elements of an array begin here. */
  #begin(member: string | undefined): void {
    this.#arrayDepth = this.#depth;
    this.#member = member;
    this.#held = '';
  }

  #comma(): JsonElement | undefined {
    if (this.#depth === this.#arrayDepth) return this.#take();
    if (this.#depth === 1) this.#keepMember();
    else this.#held += ',';
    return undefined;
  }

  #close(char: string): JsonElement | undefined {
    if (this.#depth === 0) throw new ElementsRefused('A bracket is closed that was never opened.');
    if (this.#depth === this.#arrayDepth) {
      if (char !== ']') throw new ElementsRefused('An array is closed by a brace.');
      const element = this.#take();
      this.#arrayDepth = 0;
      this.#depth -= 1;
      this.#isOver = this.#depth === 0;
      return element;
    }
    this.#depth -= 1;
    this.#isOver = this.#depth === 0;
    if (!this.#isOver) this.#held += char;
    return undefined;
  }

  #take(): JsonElement | undefined {
    const text = this.#held.trim();
    this.#held = '';
    return text === '' ? undefined : { member: this.#member, text, isRest: false };
  }

  #keepMember(): void {
    const text = this.#held.trim();
    this.#held = '';
    this.#restLength += text.length;
    if (this.#restLength > this.#limits.maxElement)
      throw new ElementsRefused(`The object is longer than ${this.#limits.maxElement} characters without its arrays.`);
    if (text !== '') this.#rest.push(text);
  }
}

/** The name of the member that begins at the end of this text, if one does. */
function memberIn(held: string): string | undefined {
  const quoted = /("(?:[^"\\]|\\.)*")\s*:\s*$/u.exec(held)?.[1];
  if (quoted === undefined) return undefined;
  try {
    const name: unknown = JSON.parse(quoted);
    return typeof name === 'string' ? name : undefined;
  } catch {
    return undefined;
  }
}
