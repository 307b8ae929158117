/**
 * What the documents of every job have in common, for records of version 1: deflate finds it here and need
 * not write it again. The text itself is never read; but a record can be opened only with the very bytes with
 * which it was sealed. Another text is another version of the record.
 */
const digest = (letter: string) => letter.repeat(64);
const TIME = '2026-11-26T08:00:00.000Z';
const JOB = 'job_0000000000000000000000000000000';

const FACTS =
  '{"id":"job_","tenant":"default","model":"","queue":"default.","key":"","created":17,"deadline":17,"maxAttempts":3,' +
  '"cancel":null,"hold":0,"surface":"","attempts":[["w-",17,17,["released",17,"drained"]],["w-",17,17,null]],' +
  '"end":[1,"attempts_exhausted","The worker that ran it was lost."],"end":[0,"expired","The deadline passed before a worker was free."],' +
  '"end":[1,"cancelled","Nobody was running it any more."],"end":[1,"confirmed","The attestor confirmed the answer."],"signers":["';

const TICKET =
  `"],"lengths":[700,740,1100,50]}\n{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"input","digest":{"sha256":"${digest('0')}"}}],` +
  `"predicateType":"urn:countersign:ticket:v1","predicate":{"job":"${JOB}","tenant":"default","pool":"default",` +
  `"model":{"name":"","sha256":"${digest('1')}"},"task":"embedding","task":"chat","task":"completion",` +
  '"params":{"max_tokens":256,"temperature":0,"top_p":1,"seed":0,"stop":[]},"inputBytes":1,' +
  '"policy":{"tokens":1,"quorum":{"k":2,"n":3},"tee":"required","recompute":0},"attempts":3,' +
  `"price":{"table":{"id":"","sha256":"${digest('2')}"},"currency":"USD","input":0,"output":0,"second":0,"attestation":0,"hold":0},` +
  `"createdAt":"${TIME}","deadline":"${TIME}","nonce":"`;

const EVIDENCE =
  `"}}{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"output","digest":{"sha256":"\x02"}}],` +
  `"predicateType":"urn:countersign:evidence:v1","predicate":{"job":"${JOB}","ticket":{"sha256":"\x01"},"epoch":1,` +
  `"worker":{"id":"w-00000000000000000000000000000000","publicKey":"="},"model":{"name":"","sha256":"${digest('5')}","measured":false},` +
  `"engine":{"name":"openai","version":"1.0.0","sha256":"${digest('6')}"},"outputBytes":1,"usage":{"inputTokens":1,"outputTokens":1},` +
  `"finishReason":"length","finishReason":"tool_calls","finishReason":"stop","startedAt":"${TIME}","finishedAt":"${TIME}"`;

const VERDICT =
  `}}{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"evidence","digest":{"sha256":"\x03"}},` +
  `{"name":"output","digest":{"sha256":"\x02"}}],"predicateType":"https://in-toto.io/attestation/svr/v0.2",` +
  '"predicate":{"verifier":{"id":"urn:countersign:attestor:00000000000000000000000000000000",' +
  `"policies":[{"uri":"urn:countersign:policy:v1","digest":{"sha256":"${digest('9')}"}}]},"timeCreated":"${TIME}",` +
  '"properties":["TICKET_SIGNATURE","WORKER_ENROLLED","WORKER_SIGNATURE","TICKET_MATCHED","EPOCH_CURRENT","MODEL_DIGEST_MATCHED",' +
  '"OUTPUT_DIGEST_MATCHED","USAGE_WITHIN_BOUNDS","USAGE_RECOUNTED","OUTPUT_RECOMPUTED_EXACT","OUTPUT_RECOMPUTED_WITHIN_TOLERANCE","TOKENS_REPLAYED"],' +
  `"job":"${JOB}","epoch":1,"ticket":{"sha256":"\x01"},"decision":"confirmed","usage":{"inputTokens":1,"outputTokens":1},` +
  '"tokens":{"promisedShare":1,"drawn":true},"recompute":{"promisedShare":0,"drawn":false},' +
  '"notChecked":["MODEL_NOT_MEASURED","OUTPUT_NOT_RECOMPUTED","TOKENS_NOT_REPLAYED","HARDWARE_NOT_ATTESTED"],"refusals":[]}}';

export const DICTIONARY = Buffer.from(FACTS + TICKET + EVIDENCE + VERDICT);
