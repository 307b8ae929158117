import { describe, expect, test } from '@jest/globals';
import { Pipeline } from '../support/pipeline.ts';

describe('a role that is told to stop', () => {
  test('leaves by itself, with 0, although Redis does not answer', async () => {
    await using pipeline = await Pipeline.start({ couriers: 1 });
    // Nothing of Redis answers, and no connection breaks: the worst of its outages.
    process.kill(pipeline.redis.pid, 'SIGSTOP');
    const roles = pipeline.running();
    for (const { process: role } of roles) role.kill('SIGTERM');
    const ends = await Promise.all(roles.map(async ({ name, exited }) => [name, await exited] as const));
    process.kill(pipeline.redis.pid, 'SIGCONT');
    expect(ends.map(([name, code]) => `${name} ${code}`)).toEqual(roles.map(({ name }) => `${name} 0`));
    expect(ends.length).toBeGreaterThanOrEqual(4);
  });
});
