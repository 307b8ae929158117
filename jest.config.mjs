export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  testMatch: ['<rootDir>/src/**/*.test.ts', '<rootDir>/web/**/*.test.ts', '<rootDir>/test/**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/dist', '<rootDir>/.cache', '<rootDir>/.countersign'],
  // Ends what hangs; far longer than anything takes on a slow machine that is busy with other things too.
  testTimeout: 300_000,
  testPathIgnorePatterns: [
    ...(process.env.COUNTERSIGN_TEST_LONG ? [] : ['\\.long\\.test\\.ts$']),
    ...(process.env.COUNTERSIGN_TEST_LONG || process.env.COUNTERSIGN_TEST_WHOLE ? [] : ['\\.whole\\.test\\.ts$']),
  ],
  // One more than the cores that we count on: a suite with processes often waits, for a lease or for a start.
  maxWorkers: 3,
  maxConcurrency: 6,
  // BullMQ keeps timers of connections that a killed Redis has closed; every process we start is ended by its
  // test.
  forceExit: true,
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        swcrc: false,
        sourceMaps: 'inline',
        module: { type: 'es6' },
        jsc: {
          target: 'es2022',
          keepClassNames: true,
          parser: { syntax: 'typescript', decorators: true, explicitResourceManagement: true },
          transform: { legacyDecorator: true, decoratorMetadata: true },
        },
      },
    ],
  },
};
