/** More than any difference between honest machines; a token that the model gives no probability at all. */
export const MAX_MARGIN = 20;

/**
 * Half the difference between the likeliest token's logit and the claimed one's; `probabilities` are in
 * falling order.
 */
export function greedyMargin(probabilities: ReadonlyMap<number, number>, token: number): number {
  const [[, best] = [token, 0]] = probabilities;
  const claimed = probabilities.get(token) ?? 0;
  return claimed > 0 ? Math.min(MAX_MARGIN, Math.log(best / claimed) / 2) : MAX_MARGIN;
}

/** Sums of probabilities can be a little above 1. */
const logit = (share: number) => Math.log((share + 1e-12) / (Math.max(0, 1 - share) + 1e-12));

/**
 * How much noise of the logits explains that `draw` picked this token from the cumulative sum of
 * probabilities in falling order: the lesser of what makes the claimed and the expected token change places,
 * and of what moves the token's interval to the draw. In units of the logits over the temperature.
 */
export function sampledMargin(probabilities: ReadonlyMap<number, number>, token: number, draw: number): number {
  let [sum, from, to, claimed, expected] = [0, 1, 1, 0, 0];
  for (const [candidate, probability] of probabilities) {
    if (candidate === token) [from, to, claimed] = [sum, sum + probability, probability];
    sum += probability;
    if (expected === 0 && sum >= draw) expected = probability;
  }
  const swap = claimed > 0 && expected > 0 ? Math.abs(Math.log(expected / claimed)) / 2 : MAX_MARGIN;
  const edge = draw < from ? from : to;
  return Math.min(swap, Math.abs(logit(edge) - logit(draw)), MAX_MARGIN);
}
