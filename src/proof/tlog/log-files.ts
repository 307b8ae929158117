import { readFileSync } from 'node:fs';
import { readFile, readdir, rm, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ignoreAbsent } from '../../ground/blobs/absent-files.ts';
import { writeDurably } from '../../ground/blobs/durable-file.ts';
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
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Writes tiles, durable when this resolves, and removes the narrower ones, which are beginnings of these.
   * Two attestors may write at once: for the same tile they write the same bytes. Throws LogRefused where a
   * whole tile holds other bytes: it would be another log.
   */
  async writeTiles(tiles: readonly TileToWrite[]): Promise<void> {
    for (const { tile, bytes } of tiles) {
      const before = tile.width === TILE_WIDTH ? await this.readTile(tile) : undefined;
      if (before?.equals(bytes) === false)
        throw new LogRefused(`Tile ${tile.index} of level ${tile.level} holds other bytes than are to be written.`);
    }
    await writeDurably(...tiles.map(({ tile, bytes }) => ({ path: join(this.#folder, tilePath(tile)), bytes })));
    await Promise.all(
      tiles.map(async ({ tile }) => {
        if (tile.width === TILE_WIDTH) return rm(this.#partials(tile), { recursive: true, force: true });
        const narrower = (await this.#widths(tile)).filter((width) => width < tile.width);
        await Promise.all(
          narrower.map((width) => unlink(join(this.#partials(tile), String(width))).catch(ignoreAbsent)),
        );
      }),
    );
  }

  /** The bytes of a tile of exactly this width, or undefined where there is none. */
  async readTile(tile: TileName): Promise<Buffer | undefined> {
    try {
      return await readFile(join(this.#folder, tilePath(tile)));
    } catch (error) {
      ignoreAbsent(error);
      return undefined;
    }
  }

  /** As `readTile`, synchronously, for proofs: their tiles are nearly always in memory already. */
  readTileNow(tile: TileName): Buffer | undefined {
    try {
      return readFileSync(join(this.#folder, tilePath(tile)));
    } catch (error) {
      ignoreAbsent(error);
      return undefined;
    }
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
    await writeDurably({ path: join(this.#folder, 'checkpoint'), bytes: note });
  }

  /** The signed checkpoint, or undefined before the first. */
  readCheckpoint(): Promise<string | undefined> {
    return this.#readText('checkpoint');
  }

  async #readText(name: string): Promise<string | undefined> {
    try {
      return await readFile(join(this.#folder, name), 'utf8');
    } catch (error) {
      ignoreAbsent(error);
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
