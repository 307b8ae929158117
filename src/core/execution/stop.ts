import { isStorageError } from '../../ground/blobs/storage-error.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import type { ReleaseCode } from '../../proof/receipts/statements.ts';
import { EngineError } from '../engines/engine.ts';

/** An engine that has taken so many times longer than it does on average hangs. */
const HANGS = 10;

/** Why a running job must stop. */
export class Stop extends Error {
  override readonly name = 'Stop';
  readonly code: ReleaseCode | 'lease_lost';

  constructor(code: ReleaseCode | 'lease_lost') {
    super(`The job was stopped: ${code}.`);
    this.code = code;
  }
}

/** With which code a job is given back that this ended; `lease_lost` where it is not given back at all. */
export function releaseCodeOf(error: unknown): ReleaseCode | 'lease_lost' {
  if (error instanceof Stop) return error.code;
  if (error instanceof EngineError) return error.code;
  if (isStorageError(error)) return 'storage_unavailable';
  // The process of the engines is away or has ended: other jobs may be to blame.
  if (error instanceof CodedError && error.code === 'engine_away') return 'engine_away';
  if (error instanceof CodedError && error.code === 'document_unknown') return 'ticket_unknown';
  return 'engine_error';
}

/**
 * Whether it was not the job that made its run fail: an error or a silence of the engine, and no refusal of
 * what it was asked. A deadline that passes is the engine's fault where it has taken much longer than usual.
 */
export function isEnginesFault(error: unknown, ranMs: number, meanMs: number | undefined): boolean {
  if (error instanceof Stop) return error.code === 'deadline' && ranMs > HANGS * (meanMs ?? Infinity);
  const code = releaseCodeOf(error);
  return code === 'engine_error' || code === 'engine_overloaded';
}
