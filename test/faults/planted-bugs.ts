import type { Edit } from '../support/copied-build.ts';
import type { SceneName } from './scenes.ts';

/**
 * A bug that somebody could have made: one change of the built product, in a copy of it. The product has no
 * switch for any of them.
 */
export interface PlantedBug {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** The cheapest scene that has to find it. */
  readonly scene: SceneName;
  /** The violation by which it is found. */
  readonly foundBy: RegExp;
}

const CONFIRMATION = 'core/confirmation/lua';
const EXECUTION = 'core/execution/lua';
const ATTESTOR = 'roles/attestor/main.js';

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'an idempotency key is not reserved with its job',
    edits: [
      {
        file: 'surfaces/admission/lua/admit.lua',
        find: `if idem ~= '' then redis.call('SET', keys.idempotency(tenant, idem), body .. ' ' .. id, 'PX', idemTtl) end`,
        replace: '',
      },
    ],
    scene: 'a caller asks again, and a receiver refuses at first',
    foundBy: /^the key a has two jobs/,
  },
  {
    name: 'what a job held is not given back when it ends',
    edits: [
      { file: 'core/jobs/lua/reserve.lua', find: 'hold(tenant, was.key, was.currency, -was.money)', replace: '' },
    ],
    scene: 'a caller asks again, and a receiver refuses at first',
    foundBy: /^The account says \d+ EUR held, and 0 are reserved/,
  },
  {
    name: 'the courier forgets how far it has come',
    edits: [
      {
        file: 'surfaces/job-ends/lua/enter.lua',
        find: `if entered > 0 then redis.call('HSET', KEYS[1], 'cursor', string.format('%.17g', cursor)) end`,
        replace: '',
      },
    ],
    scene: 'a caller asks again, and a receiver refuses at first',
    foundBy: /^\d+ jobs are counted of the/,
  },
  {
    name: 'a message that was not taken is not sent again',
    edits: [
      {
        file: 'surfaces/webhooks/lua/settle-message.lua',
        find: `if isThere == 1 and nextMs ~= '' then`,
        replace: 'if false then',
      },
    ],
    scene: 'a caller asks again, and a receiver refuses at first',
    foundBy: /^nobody was told/,
  },
  {
    name: 'sealing takes the record along with what was open of a job',
    edits: [
      {
        file: `${CONFIRMATION}/seal.lua`,
        find: '{ keys.ticket, keys.claims, keys.evidence, keys.lease }',
        replace: '{ keys.ticket, keys.claims, keys.evidence, keys.lease, keys.record }',
      },
    ],
    // What was done is read from the archive, so that its caller misses nothing; the courier does.
    scene: 'a caller asks again, and a receiver refuses at first',
    foundBy: /^nobody was told that \S+ is done$/,
  },
  {
    name: 'a lease that has run out counts as held',
    edits: [
      {
        file: `${CONFIRMATION}/rule.lua`,
        find: `if isLost and redis.call('EXISTS', keys.lease(id)) == 1 then`,
        replace: 'if isLost then',
      },
    ],
    scene: 'a worker dies with a job',
    foundBy: /was accepted and is still running$/,
  },
  {
    name: 'a job that is queued again has forgotten its attempts',
    edits: [
      {
        file: `${CONFIRMATION}/rule.lua`,
        find: `if string.find(closing, 'void ', 1, true) ~= 1 then counted = counted + 1 end`,
        replace: '',
      },
    ],
    scene: 'workers give a job back again and again',
    foundBy: /was tried 4 times, and may be 2 times$/,
  },
  {
    name: 'a commit is taken whose epoch is closed',
    edits: [
      {
        file: `${EXECUTION}/commit.lua`,
        find: `if ruled[2] or not claimed then return 'fenced' end`,
        replace: `if not claimed then return 'fenced' end`,
      },
    ],
    scene: 'a worker commits after its lease',
    foundBy: /took a commit of an epoch that was closed$/,
  },
  {
    name: 'an epoch is claimed while the one before it runs',
    edits: [{ file: `${EXECUTION}/claim.lua`, find: 'if not closing then', replace: 'if false then' }],
    scene: 'a delivery comes twice',
    foundBy: /was given to worker 2 while worker 1 had it$/,
  },
  {
    name: 'the digest of an output is not compared',
    edits: [
      {
        file: ATTESTOR,
        find: 'if (inlineOutput !== void 0 && sha256Hex(inlineOutput) === digest2)',
        replace: 'if (inlineOutput !== void 0)',
      },
    ],
    scene: 'a worker hands in another answer than it signed',
    foundBy: /is done and has no receipt$/,
  },
  {
    name: 'a job that is sealed gets another place in the log',
    edits: [
      {
        file: `${CONFIRMATION}/sequence.lua`,
        find: `ruled[1] or ruled[2] or ruled[3] or isRestored or not claimed or`,
        replace: `ruled[1] or ruled[2] or ruled[3] or isRestored or`,
      },
    ],
    scene: 'an attestor is stopped between its checks and the log, and another takes over',
    foundBy: /^2 confirmations stand in the log for 1 jobs/,
  },
  {
    name: 'a cancelled job is confirmed',
    edits: [
      {
        file: `${CONFIRMATION}/sequence.lua`,
        find: `or redis.call('HEXISTS', keys.ticket(id), 'cancel') == 1 then`,
        replace: 'then',
      },
    ],
    scene: 'a caller cancels while an attestor checks',
    foundBy: /was cancelled, and is done$/,
  },
  {
    name: 'a released job without a delivery is not delivered again',
    edits: [
      { file: ATTESTOR, find: 'const added = await backlog.redeliver(queue, jobs);', replace: 'const added = 0;' },
    ],
    scene: 'an API dies before it delivers',
    foundBy: /was never accepted and is still queued$/,
  },
  {
    name: 'a deadline is not looked at while a job waits',
    edits: [{ file: ATTESTOR, find: 'if (file.nowMs >= file.deadlineMs)\n', replace: 'if (false)\n' }],
    scene: 'a deadline passes while nobody works',
    foundBy: /was accepted and is still queued$|was answered after its deadline$/,
  },
  {
    name: 'a checkpoint is published before its witnesses have signed',
    edits: [
      {
        file: ATTESTOR,
        find: 'const note = await witnesses.cosign({ text: text4, signatures: [signed2.signature] }, tree);',
        replace: 'const note = signed2.text;',
      },
    ],
    scene: 'a witness is away',
    foundBy: /is done and has no receipt$/,
  },
  {
    name: 'a Redis that has lost entries of the log is believed',
    edits: [
      {
        file: ATTESTOR,
        find: 'if (known !== void 0 && total < known.size)',
        replace: 'if (false)',
      },
    ],
    scene: 'Redis comes back with an older file',
    foundBy: /^the log does not hold what it showed|is lost$/,
  },
];
