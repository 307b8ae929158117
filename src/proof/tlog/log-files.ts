import { readFileSync } from 'node:fs';
import { readFile, readdir, rm, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { systemCodeOf } from '../../ground/errors/coded-error.ts';
import { writeDurably } from '../../ground/blobs/durable-file.ts';
import { HASH_BYTES } from './merkle.ts';
import { TILE_WIDTH, formatBundle, parseBundle, tilePath, type TileName } from './tile.ts';

export interface TileToWrite {
  readonly tile: TileName;
  readonly bytes: Uint8Array;
}

/** The files of a log, in the layout in which they are served. A tile never changes; a partial one gives way to a wider. */
export class LogFiles {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Durable when it resolves; the narrower ones, which are beginnings of these, are removed. Two attestors that write
   * one tile write the same bytes.
   */
  async writeTiles(tiles: readonly TileToWrite[]): Promise<void> {
    await writeDurably(...tiles.map(({ tile, bytes }) => ({ path: join(this.#folder, tilePath(tile)), bytes })));
    await Promise.all(
      tiles.map(async ({ tile }) => {
        if (tile.width === TILE_WIDTH) return rm(this.#partials(tile), { recursive: true, force: true });
        const narrower = (await this.#widths(tile)).filter((width) => width < tile.width);
        await Promise.all(narrower.map((width) => unlink(join(this.#partials(tile), String(width))).catch(absent)));
      }),
    );
  }

  /** The bytes of a tile of this very width, or undefined where there is none. */
  async readTile(tile: TileName): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.#folder, tilePath(tile)));
    } catch (error) {
      absent(error);
      return undefined;
    }
  }

  /** As `readTile`, at once: proofs are made in one go, and their tiles are nearly always kept in memory. */
  readTileNow(tile: TileName): Buffer | undefined {
    try {
      return readFileSync(join(this.#folder, tilePath(tile)));
    } catch (error) {
      absent(error);
      return undefined;
    }
  }

  /** The bytes of a tile, also as the beginning of a wider one that has taken its place. */
  async readPrefix(tile: TileName): Promise<Buffer | undefined> {
    const widths = (await this.#widths(tile)).filter((width) => width >= tile.width).toSorted((a, b) => a - b);
    for (const width of [...widths, TILE_WIDTH]) {
      const bytes = await this.readTile({ ...tile, width });
      if (bytes === undefined) continue;
      if (tile.level !== 'entries') return bytes.subarray(0, tile.width * HASH_BYTES);
      const entries = parseBundle(bytes);
      // A torn bundle is for whoever checks it.
      return entries === undefined ? bytes : formatBundle(entries.slice(0, tile.width));
    }
    return undefined;
  }

  async writeCheckpoint(note: string): Promise<void> {
    await writeDurably({ path: join(this.#folder, 'checkpoint'), bytes: note });
  }

  async readCheckpoint(): Promise<string | undefined> {
    try {
      return await readFile(join(this.#folder, 'checkpoint'), 'utf8');
    } catch (error) {
      absent(error);
      return undefined;
    }
  }

  #partials(tile: TileName): string {
    return dirname(join(this.#folder, tilePath({ ...tile, width: 1 })));
  }

  async #widths(tile: TileName): Promise<number[]> {
    const names = await readdir(this.#partials(tile)).catch(() => []);
    return names.filter((name) => /^\d{1,3}$/.test(name)).map(Number);
  }
}

/** Passes over what says that a file is not there. */
function absent(error: unknown): void {
  if (!['ENOENT', 'ENOTDIR'].includes(systemCodeOf(error) ?? '')) throw error;
}
