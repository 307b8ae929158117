import { CodedError } from '../../ground/errors/coded-error.ts';

/**
 * Throws CodedError `document_unknown` where a document of ours is of a type that this version does not know.
 * A newer API, worker or attestor made it; whoever does not know it must not guess what it says.
 */
export function requireKnown(what: string, found: unknown, known: string): void {
  if (found === known) return;
  throw new CodedError(
    'document_unknown',
    `The ${what} is of the type ${String(found).slice(0, 100)}, and this version knows ${known}.`,
    { hint: 'update this role to the version of the others' },
  );
}
