/**
 * The index of the candidate to begin next: the first one of the tenant that has the fewest running.
 * `running` has the tenant of everything that runs. Returns -1 if there is no candidate.
 */
export function fairestIndex(candidates: readonly { readonly tenant: string }[], running: readonly string[]): number {
  const counts = candidates.map(({ tenant }) => running.filter((one) => one === tenant).length);
  return counts.indexOf(Math.min(...counts));
}
