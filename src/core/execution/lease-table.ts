/** A lease that this worker holds: the job, and the value of the lease in Redis. */
export interface HeldLease {
  readonly id: string;
  readonly lease: string;
}

/** Bytes of one row: 4 of its version, 2 of its length, then the text. An id and a lease take 90. */
const ROW = 128;
const TEXT = 6;

/**
 * The leases that a worker holds, in shared memory that its main thread writes and its heartbeat reads. A
 * message for each lease would cost more than the rest of a short job, and would come late from a busy
 * thread.
 *
 * A row has a version that is odd while the row is written (a seqlock). The reader skips such a row and finds
 * it at its next beat. One thread writes; one thread reads.
 */
export class LeaseTable {
  readonly buffer: SharedArrayBuffer;
  readonly #versions: Int32Array;
  readonly #bytes: Buffer;
  readonly #rows: number;
  readonly #free: number[];
  readonly #rowOf = new Map<string, number>();

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#versions = new Int32Array(buffer);
    this.#bytes = Buffer.from(buffer);
    this.#rows = buffer.byteLength / ROW;
    this.#free = Array.from({ length: this.#rows }, (_, row) => row);
  }

  /** For the main thread: room for as many leases as jobs can be claimed at once. */
  static withRoomFor(leases: number): LeaseTable {
    return new LeaseTable(new SharedArrayBuffer(leases * ROW));
  }

  /** For the reader: the table in this memory. */
  static over(buffer: SharedArrayBuffer): LeaseTable {
    return new LeaseTable(buffer);
  }

  /** Adds a lease. Throws where the table is full. */
  hold({ id, lease }: HeldLease): void {
    const row = this.#free.pop();
    if (row === undefined) throw new Error(`More than ${this.#rows} jobs are claimed at once.`);
    this.#rowOf.set(`${id} ${lease}`, row);
    this.#write(row, `${id} ${lease}`);
  }

  /** Removes a lease; does nothing for one that is not in the table. */
  drop({ id, lease }: HeldLease): void {
    const row = this.#rowOf.get(`${id} ${lease}`);
    if (row === undefined) return;
    this.#rowOf.delete(`${id} ${lease}`);
    this.#write(row, '');
    this.#free.push(row);
  }

  /** The leases in the table, without those that are being written at this moment. */
  read(): HeldLease[] {
    const held: HeldLease[] = [];
    for (let row = 0; row < this.#rows; row += 1) {
      const version = Atomics.load(this.#versions, (row * ROW) / 4);
      if (version % 2 !== 0) continue;
      const at = row * ROW + TEXT;
      const text = this.#bytes.toString('latin1', at, at + this.#bytes.readUInt16LE(at - 2));
      if (text === '' || Atomics.load(this.#versions, (row * ROW) / 4) !== version) continue;
      const space = text.indexOf(' ');
      held.push({ id: text.slice(0, space), lease: text.slice(space + 1) });
    }
    return held;
  }

  #write(row: number, text: string): void {
    if (text.length > ROW - TEXT) throw new Error('A lease is longer than its row.');
    const at = row * ROW + TEXT;
    Atomics.add(this.#versions, (row * ROW) / 4, 1);
    this.#bytes.write(text, at, 'latin1');
    this.#bytes.writeUInt16LE(text.length, at - 2);
    Atomics.add(this.#versions, (row * ROW) / 4, 1);
  }
}
