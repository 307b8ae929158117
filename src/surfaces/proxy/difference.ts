/**
 * Where two values of JSON differ first, as a path and what is wrong there, without what stands there: an
 * answer is nobody's but the caller's. Undefined where they are equal, whatever the order of members.
 */
export function firstDifference(given: unknown, expected: unknown, path = ''): string | undefined {
  const at = path === '' ? 'the answer' : path;
  if (Array.isArray(given) && Array.isArray(expected)) {
    if (given.length !== expected.length)
      return `${at} has ${given.length} members, and ${expected.length} were confirmed`;
    return firstOf(given.map((item, index) => () => firstDifference(item, expected[index], `${path}[${index}]`)));
  }
  if (!isObject(given) || !isObject(expected))
    return Object.is(given, expected) ? undefined : `${at} is not what was confirmed`;
  const names = new Set([...Object.keys(expected), ...Object.keys(given)]);
  return firstOf(
    [...names].map((name) => () => {
      const inner = path === '' ? name : `${path}.${name}`;
      if (!Object.hasOwn(given, name)) return `${inner} is missing`;
      if (!Object.hasOwn(expected, name)) return `${inner} was added`;
      return firstDifference(given[name], expected[name], inner);
    }),
  );
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function firstOf(looks: readonly (() => string | undefined)[]): string | undefined {
  for (const look of looks) {
    const found = look();
    if (found !== undefined) return found;
  }
  return undefined;
}
