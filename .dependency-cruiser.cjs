/**
 * The floors of the house, from top to bottom: client, roles, surfaces, core, proof, ground. Imports go down
 * and never up, types counted. Every rule says why it exists; test/guard/floors.test.ts breaks each of them
 * once.
 */
const ABOVE = {
  ground: 'client|roles|surfaces|core|proof',
  proof: 'client|roles|surfaces|core',
  core: 'client|roles|surfaces',
  surfaces: 'client|roles',
};

const neverUp = (floor, comment) => ({
  name: `${floor}-${floor === 'surfaces' ? 'import' : 'imports'}-nothing-above`,
  severity: 'error',
  comment,
  from: { path: `^src/${floor}/` },
  to: { path: `^src/(${ABOVE[floor]})/` },
});

module.exports = {
  forbidden: [
    neverUp('ground', 'Ground knows no word of the domain, so that every floor can stand on it.'),
    neverUp('proof', 'Anyone must be able to verify a receipt offline: proof stands on ground alone.'),
    neverUp('core', 'Jobs are worked and confirmed in the same way whichever surface took them.'),
    neverUp(
      'surfaces',
      'Two roles serve the same surfaces; a surface that knew one of them would drag it into the other.',
    ),
    {
      name: 'roles-import-no-other-role',
      severity: 'error',
      comment: 'Processes meet in documents and not in code; the CLI starts them as programs.',
      from: { path: '^src/roles/([^/]+)/' },
      to: { path: '^src/(client|roles/(?!$1/))' },
    },
    {
      name: 'client-imports-proof-only',
      severity: 'error',
      comment: 'The published client is what a caller verifies with: it brings no server along.',
      from: { path: '^src/client/' },
      to: { path: '^src/(?!client/|proof/)' },
    },
    {
      name: 'client-reaches-no-server',
      severity: 'error',
      comment: 'The client runs in browsers: no server, no queue, not even three imports deep.',
      from: { path: '^src/client/' },
      to: {
        path: 'node_modules/(@nestjs|fastify|bullmq|ioredis|pino)/|^src/(roles|surfaces|core|ground/(redis|bull|logging|process))/',
        reachable: true,
      },
    },
    {
      name: 'worker-never-reaches-attestor',
      severity: 'error',
      comment: 'A worker that could load the signing code could be made to sign its own receipts.',
      from: { path: '^src/(roles/worker|core/execution)/' },
      to: { path: '^src/(roles/attestor|core/confirmation)/', reachable: true },
    },
    {
      name: 'attestor-computes-in-its-child',
      severity: 'error',
      comment: 'Native code on what strangers wrote must not run beside the keys that sign verdicts.',
      from: { path: '^src/roles/attestor/main\\.ts$' },
      to: { path: '^src/core/engines/load-engine\\.ts$', reachable: true },
    },
    {
      name: 'folders-do-not-import-each-other',
      severity: 'error',
      scope: 'folder',
      comment: 'Two folders that need each other are one folder, or a third one is missing.',
      from: { path: '^src/[^/]+/[^/]+$' },
      to: { circular: true },
    },
    {
      name: 'files-do-not-import-each-other',
      severity: 'error',
      comment: 'Cycles between decorated classes fail at run time.',
      from: { path: '^src/' },
      to: { circular: true },
    },
    {
      name: 'only-bull-and-processors-use-bullmq',
      severity: 'error',
      comment: 'BullMQ delivers; no decision may depend on it.',
      from: { path: '^src/', pathNot: '^src/ground/bull/|\\.(processor|module)\\.ts$|-lifecycle\\.ts$' },
      to: { path: 'node_modules/(bullmq|@nestjs/bullmq)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    // Tests beside their files use the workshop of test/support; they are in no build.
    exclude: { path: '\\.test\\.ts$' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
  },
};
