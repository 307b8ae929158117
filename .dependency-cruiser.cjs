/** Every rule says why it exists. */
const processes = ['api', 'worker', 'attestor', 'courier'];
const nouns =
  'src/(jobs|pools|engines|attestation|receipts|registry|tenants|admission|openai|batches|webhooks|ledger|payments)/';
const ground = 'src/(redis|bull|blobs|config|errors|faults|json|keys|logging|process)/';

module.exports = {
  forbidden: [
    {
      name: 'worker-never-reaches-attestor',
      severity: 'error',
      comment: 'A worker that could load the signing code could be made to sign its own receipts.',
      from: { path: '^src/worker/' },
      to: { path: '^src/attestor/', reachable: true },
    },
    ...processes.map((name) => ({
      name: `${name}-imports-no-other-process`,
      severity: 'error',
      comment: 'Processes meet in documents, not in code.',
      from: { path: `^src/${name}/` },
      to: { path: `^src/(${processes.filter((other) => other !== name).join('|')}|cli)/` },
    })),
    {
      name: 'nouns-import-no-process',
      severity: 'error',
      comment: 'Upward imports would drag a role into every other.',
      from: { path: `^${nouns}` },
      to: { path: '^src/(api|worker|attestor|courier|client|cli)/' },
    },
    {
      name: 'ground-imports-ground',
      severity: 'error',
      comment: 'Ground knows no domain words; keys and requirements are shared by all.',
      from: { path: `^${ground}`, pathNot: '^src/(redis/acl|bull/pool-queue)' },
      to: { path: `^(${nouns}|src/(api|worker|attestor|cli)/)` },
    },
    {
      name: 'receipts-stand-alone',
      severity: 'error',
      comment: 'Anyone must be able to verify offline: receipts depend on ground only.',
      from: { path: '^src/receipts/' },
      to: { path: '^src/', pathNot: '^src/(receipts|log|keys|json|blobs|errors|config)/' },
    },
    {
      name: 'client-stands-alone',
      severity: 'error',
      comment: 'The client runs in browsers: no server, no queue, no file system.',
      from: { path: '^src/client/' },
      to: {
        path: '(node_modules/(@nestjs|fastify|bullmq|ioredis|pino)/|^src/(api|worker|attestor|courier|cli|redis|bull)/)',
        reachable: true,
      },
    },
    {
      name: 'only-bull-and-processors-use-bullmq',
      severity: 'error',
      comment: 'BullMQ delivers; no decision may depend on it.',
      from: { path: '^src/', pathNot: '(^src/bull/|\\.processor\\.ts$|^src/attestor/(attestor-process|intake)\\.ts$)' },
      to: { path: 'node_modules/bullmq' },
    },
    {
      name: 'no-circular',
      severity: 'error',
      comment: 'Cycles between decorated classes fail at run time.',
      from: {},
      to: { circular: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: false,
  },
};
