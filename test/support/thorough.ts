/** Whether this is `npm run test:long`: then what is drawn or repeated is so in full, and not as a sample. */
export const IS_LONG = process.env['COUNTERSIGN_TEST_LONG'] === '1';
