import canonicalize from 'canonicalize';

/**
 * Returns the canonical JSON of a value (RFC 8785), for digests of documents that people write. Throws
 * TypeError for what JSON cannot express: numbers that are not finite, undefined members, functions, lone
 * surrogates.
 */
export function canonicalJson(value: unknown): string {
  requirePlain(value);
  return canonicalize(value) ?? '';
}

function requirePlain(value: unknown): void {
  if (value === null || typeof value === 'boolean') return;
  if (typeof value === 'string') {
    if (/\p{Surrogate}/u.test(value)) throw new TypeError('A text holds half a character.');
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${value} is no number of JSON.`);
  } else if (Array.isArray(value)) {
    value.forEach(requirePlain);
  } else if (typeof value === 'object') {
    for (const [name, member] of Object.entries(value)) {
      requirePlain(name);
      requirePlain(member);
    }
  } else {
    throw new TypeError(`${typeof value} is nothing that JSON has.`);
  }
}
