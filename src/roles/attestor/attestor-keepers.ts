/** What looks after jobs and keys in the background, each part at its own pace. */
export class AttestorKeepers {
  readonly #parts: readonly { start(): void; stop(): Promise<void> }[];

  constructor(parts: readonly { start(): void; stop(): Promise<void> }[]) {
    this.#parts = parts;
  }

  start(): void {
    for (const part of this.#parts) part.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.stop()));
  }
}
