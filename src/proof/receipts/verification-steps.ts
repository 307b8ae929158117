/**
 * What a verifier checks, in order, each by the sentence of `docs/receipt-format.md` that asks for it. The
 * last four are checked where their holder gives what they compare.
 */
export const VERIFICATION_STEPS = {
  file: 'too_large: the size of the file. malformed: the file and its envelopes, but for their base64.',
  signatures: 'For the verdict, then for the ticket: malformed (base64 and payload), untrusted_key, bad_signature.',
  evidence:
    "For the evidence: malformed; wrong_worker (its publicKey is a key that is not refused and makes the worker's id and the keyid); bad_signature.",
  binding:
    "mismatch: evidence and verdict name the ticket's digest; the verdict's subjects are the evidence payload's digest and the output's; jobs are equal; epochs are equal; the evidence's model is the ticket's; the policy digest is that of the ticket's policy. ranMs of the verdict, where it stands there, is at most the evidence's finishedAt less its startedAt.",
  decision: 'not_confirmed: decision is confirmed and refusals is empty.',
  promises:
    'malformed: no word stands twice in properties or in notChecked. Then promise_not_kept, each promise by what its section says.',
  log: 'malformed: the salt is the canonical base64 of 32 bytes. not_logged: what The proof says. Then mismatch, with 60 s of grace for clocks: the verdict is dated neither more than that before its ticket, nor more than that after the time at which the quorum of witnesses was complete.',
  input:
    "wrong_input, wrong_output: where the verifier holds these documents, their SHA-256 is that of the ticket's and the evidence's subject.",
  output:
    "wrong_input, wrong_output: where the verifier holds these documents, their SHA-256 is that of the ticket's and the evidence's subject.",
  checkpoint:
    "not_logged: where the verifier holds a checkpoint of the log that has as many entries as the receipt's, both have the same root.",
  standing: 'worker_revoked, which a verifier says that was given a newer list of workers.',
} as const;
export type VerificationStep = keyof typeof VERIFICATION_STEPS;
