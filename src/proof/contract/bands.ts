/** The bands of a queue: each has a least share of the workers while anything waits in it. */
export const BANDS = ['interactive', 'standard', 'batch'] as const;
export type BandName = (typeof BANDS)[number];
