import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Invitation } from '../../core/registry/invitation.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { DataFolder } from './data-folder.ts';

/** The invitations of an installation: one file each, beside the list of workers. */
export class Invitations {
  readonly #folder: string;

  constructor(data: DataFolder) {
    this.#folder = join(dirname(data.enrolled()), 'invitations');
  }

  /** Remembers an invitation. A crash leaves all of it or nothing. */
  keep(invitation: Invitation): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const path = this.#file(invitation.id);
    writeFileSync(`${path}.new`, `${JSON.stringify(invitation)}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /**
   * The invitation with this id, or undefined. Throws CodedError `request_invalid` where its file is spoilt.
   */
  find(id: string): Invitation | undefined {
    const path = this.#file(id);
    if (!/^[0-9a-f]{16}$/.test(id) || !existsSync(path)) return undefined;
    try {
      return Invitation.parse(JSON.parse(readFileSync(path, 'utf8')));
    } catch (cause) {
      throw new CodedError('request_invalid', `${path} is no invitation.`, { cause });
    }
  }

  /** All of them, those that end first first. */
  all(): Invitation[] {
    if (!existsSync(this.#folder)) return [];
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith('.json'))
      .flatMap((name) => this.find(name.slice(0, -'.json'.length)) ?? [])
      .toSorted((a, b) => a.expires.localeCompare(b.expires));
  }

  /** Ends an invitation at once. Returns whether there was one. */
  withdraw(id: string): boolean {
    if (this.find(id) === undefined) return false;
    rmSync(this.#file(id));
    return true;
  }

  readonly #file = (id: string): string => join(this.#folder, `${id}.json`);
}
