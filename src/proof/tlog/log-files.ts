import { dirname } from 'node:path/posix';
import type { FileTree } from '../../ground/blobs/file-tree.ts';
import { HASH_BYTES } from './merkle.ts';
import { LogRefused } from './signed-note.ts';
import { TILE_WIDTH, formatBundle, parseBundle, tilePath, type TileName } from './tile.ts';

export interface TileToWrite {
  readonly tile: TileName;
  readonly bytes: Uint8Array;
}

/**
 * The files of a log, in the layout in which they are served (C2SP tlog-tiles). A full tile never changes; a
 * wider tile replaces a partial one.
 */
export class LogFiles {
  readonly #files: FileTree;

  constructor(files: FileTree) {
    this.#files = files;
  }

  /** Whether each look at them is a request over the network. */
  get isRemote(): boolean {
    return this.#files.isRemote;
  }

  /**
   * Writes tiles, durable when this resolves, and removes the narrower ones, which are beginnings of these.
   * Two attestors may write at once: for the same tile they write the same bytes. Throws LogRefused where a
   * whole tile holds other bytes: it would be another log, and of two the first decides.
   */
  async writeTiles(tiles: readonly TileToWrite[]): Promise<void> {
    const whole = tiles.filter(({ tile }) => tile.width === TILE_WIDTH);
    const written = await this.#files.create(...whole.map(named));
    for (const [at, { tile }] of whole.entries())
      if (written[at] === 'other')
        throw new LogRefused(`Tile ${tile.index} of level ${tile.level} holds other bytes than are to be written.`);
    await this.#files.write(...tiles.filter(({ tile }) => tile.width < TILE_WIDTH).map(named));
    await Promise.all(
      tiles.map(async ({ tile }) => {
        if (tile.width === TILE_WIDTH) return this.#files.removeFolder(partials(tile));
        const narrower = (await this.#widths(tile)).filter((width) => width < tile.width);
        await this.#files.remove(...narrower.map((width) => tilePath({ ...tile, width })));
      }),
    );
  }

  /** The bytes of a tile of exactly this width, or undefined where there is none. */
  readTile(tile: TileName): Promise<Buffer | undefined> {
    return this.#files.read(tilePath(tile));
  }

  /**
   * The bytes of a tile, or the beginning of the wider one that has replaced it; undefined where there is
   * neither.
   */
  async readPrefix(tile: TileName): Promise<Buffer | undefined> {
    const widths = (await this.#widths(tile)).filter((width) => width >= tile.width).toSorted((a, b) => a - b);
    for (const width of [...widths, TILE_WIDTH]) {
      const bytes = await this.readTile({ ...tile, width });
      if (bytes === undefined) continue;
      if (tile.level !== 'entries') return bytes.subarray(0, tile.width * HASH_BYTES);
      const entries = parseBundle(bytes);
      // The caller checks the hashes and so finds a torn bundle.
      return entries === undefined ? bytes : formatBundle(entries.slice(0, tile.width));
    }
    return undefined;
  }

  /** Replaces the checkpoint, durably. */
  async writeCheckpoint(note: string): Promise<void> {
    await this.#files.write({ name: 'checkpoint', bytes: note });
  }

  /** The signed checkpoint, or undefined before the first. */
  async readCheckpoint(): Promise<string | undefined> {
    return (await this.#files.read('checkpoint'))?.toString('utf8');
  }

  async #widths(tile: TileName): Promise<number[]> {
    const names = await this.#files.names(partials(tile));
    return names.filter((name) => /^\d{1,3}$/.test(name)).map(Number);
  }
}

const named = ({ tile, bytes }: TileToWrite) => ({ name: tilePath(tile), bytes });

/** The folder of the partial tiles in the place of this one. */
const partials = (tile: TileName) => dirname(tilePath({ ...tile, width: 1 }));
