import type { Held } from './examine.ts';

/** What a file can be that is given to the page. */
export type Kind = 'receipt' | 'keyring' | 'policy' | keyof Held;

/**
 * What these bytes are, by their own words: a receipt, a keyring, a list of workers, a checkpoint, a log
 * policy, a file of a batch, a request or a response. Whatever says nothing of itself is the output. Nothing
 * is trusted for being recognised; each is checked by what reads it.
 */
export function recognise(bytes: Uint8Array): Kind {
  const text = new TextDecoder().decode(bytes.subarray(0, LOOKED_AT));
  // The members of a receipt have an order, and an editor may have changed its white space.
  if (/^\s*\{\s*"receipt"\s*:\s*"countersign\/v1"/.test(text)) return 'receipt';
  if (/^[^\n]+\n\d+\n[A-Za-z0-9+/=]{44}\n[^]*\n\u2014 /.test(text)) return 'checkpoint';
  if (/^\s*(#[^\n]*\n\s*)*(log|witness|group|quorum)[ \t]+\S/.test(text)) return 'policy';
  const [line = ''] = text.split('\n');
  if (/^\{.*"custom_id"/.test(line)) return 'batch';
  return ofJson(bytes);
}

/** Enough for the words by which a file is told; a batch's file may be far longer. */
const LOOKED_AT = 1_048_576;

function ofJson(bytes: Uint8Array): Kind {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return 'output';
  }
  if (typeof value !== 'object' || value === null) return 'output';
  if ('receipt' in value && 'verdict' in value) return 'receipt';
  if ('keys' in value && 'logPolicy' in value) return 'keyring';
  if ('payloadType' in value && 'signatures' in value) return 'workers';
  if ('object' in value) return 'response';
  if ('model' in value) return 'request';
  if ('messages' in value || 'prompt' in value || 'texts' in value) return 'input';
  return 'output';
}
