/**
 * Where a JSON document that comes in pieces ends. It looks at brackets and strings alone: whether the rest
 * is JSON is for whoever reads the whole.
 */
export class JsonEnd {
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #hasBegun = false;

  /** Whether an object or a list has begun and is closed again. */
  get isReached(): boolean {
    return this.#hasBegun && this.#depth === 0 && !this.#isInString;
  }

  /** Takes the next piece. False where the piece goes on behind the end. */
  push(piece: string): boolean {
    for (const character of piece) {
      if (this.isReached && !/\s/.test(character)) return false;
      this.#take(character);
    }
    return true;
  }

  #take(character: string): void {
    if (this.#isInString) {
      if (!this.#isEscaped && character === '"') this.#isInString = false;
      this.#isEscaped = !this.#isEscaped && character === '\\';
      return;
    }
    if (character === '"') this.#isInString = true;
    if (character === '{' || character === '[') {
      this.#depth += 1;
      this.#hasBegun = true;
    }
    if (character === '}' || character === ']') this.#depth -= 1;
  }
}
