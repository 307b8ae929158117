import { CopiedBuild, type Edit } from '../support/copied-build.ts';
import { comeBackWith, keep, recover } from '../support/older-file.ts';
import { BY_HAND_MODEL, SHORT_LEASE, until, type Role } from '../support/pipeline.ts';
import { fixedPort } from '../support/ports.ts';
import { isStopped } from '../support/processes.ts';
import { formatVkey, noteKey } from '../../src/proof/tlog/signed-note.ts';
import { startWitness } from '../support/witness.ts';
import { World } from './world.ts';

/** One fault, made to happen at one place, with as few processes and jobs as show what it does. */
export interface Scene {
  /** Starts what it needs, makes the fault happen, and says so by `happens`. */
  play(world: World, patienceMs: number): Promise<void>;
  /** What its API is started with. */
  readonly api?: Readonly<Record<string, string>>;
}

const BY_HAND = { model: BY_HAND_MODEL.name };
const stopAt = (point: string) => ({ COUNTERSIGN_CRASH_AT: `${point}:1:SIGSTOP` });

export const SCENES = {
  'a caller asks again, and a receiver refuses at first': {
    async play(world, patienceMs) {
      const { pipeline, courierEnv } = world;
      await Promise.all([pipeline.worker(1), pipeline.attestor(), pipeline.courier(courierEnv)]);
      await world.listen();
      const unwanted = await world.submit('unwanted', BY_HAND);
      for (const key of ['a', 'b', 'c', 'a', 'b']) await world.submit(key);
      world.happens('a caller asked again');
      await world.cancel(unwanted);
      await world.ended(await world.submit('d'), patienceMs);
    },
  },
  'a worker dies with a job': {
    async play(world) {
      await world.pipeline.attestor();
      const worker = await world.pipeline.worker(1, { ...SHORT_LEASE, COUNTERSIGN_CRASH_AT: 'worker.after-claim:1' });
      await world.submit('a');
      await worker.exited;
      world.happens('a worker died');
      await world.pipeline.worker(2);
    },
  },
  'workers give a job back again and again': {
    async play(world, patienceMs) {
      await world.pipeline.attestor();
      const id = await world.submit('a', { ...BY_HAND, attempts: 2 });
      const hand = await world.hand(1);
      for (let given = 0; given < 4; given += 1) {
        const claimed = await hand.tryClaim(id);
        if (claimed.kind !== 'ok') break;
        await hand.release(claimed.claim, 'engine_error');
        world.happens('a worker gave back');
        await until(async () => (await world.read(id)).attempts.at(-1)?.closed != null, patienceMs);
      }
      // Where it is still open, this ends it.
      await world.cancel(id);
    },
  },
  'a worker commits after its lease': {
    async play(world) {
      await world.pipeline.attestor();
      const id = await world.submit('a', BY_HAND);
      const [zombie, next] = [await world.hand(1, 500), await world.hand(2)];
      const late = await zombie.claim(id);
      await until(async () => (await world.read(id)).attempts.at(-1)?.closed?.why === 'lost');
      world.happens('a lease ran out');
      const claim = await next.claim(id);
      world.history.push({ kind: 'late', job: id, reply: await zombie.commit(late) });
      await next.commit(claim);
    },
  },
  'a delivery comes twice': {
    async play(world) {
      await world.pipeline.attestor();
      const id = await world.submit('a', BY_HAND);
      const [first, second] = [await world.hand(1), await world.hand(2)];
      const claim = await first.claim(id);
      world.history.push({ kind: 'held', job: id, worker: 1 });
      if ((await second.tryClaim(id)).kind === 'ok') world.history.push({ kind: 'held', job: id, worker: 2 });
      world.happens('two workers asked for one job');
      await first.commit(claim);
    },
  },
  'a worker hands in another answer than it signed': {
    async play(world, patienceMs) {
      await world.pipeline.attestor();
      const id = await world.submit('a', { ...BY_HAND, attestation: { recompute: 0 } });
      const [liar, honest] = [await world.hand(1), await world.hand(2)];
      const claim = await liar.claim(id);
      const signed = liar.sign(liar.evidence(claim, liar.honestOutput(claim)));
      const other = liar.honestOutput(claim).replace(/[0-9a-f]{64}/, '0'.repeat(64));
      await liar.claims.commitEvidence(claim, signed, other);
      world.happens('a worker lied');
      await until(async () => {
        const { attempts, ended_at: endedAt } = await world.read(id);
        return endedAt !== null || attempts.at(-1)?.closed != null;
      }, patienceMs);
      const again = await honest.tryClaim(id);
      if (again.kind === 'ok') await honest.commit(again.claim);
    },
  },
  'an attestor is stopped between its checks and the log, and another takes over': {
    async play(world, patienceMs) {
      const slow = await stopped(world, 'attestor.after-checks');
      await world.pipeline.attestor();
      const [id = ''] = world.history.flatMap((seen) => (seen.kind === 'accepted' ? [seen.job] : []));
      await world.ended(id, patienceMs);
      const { admin, keys } = world.pipeline.redis;
      await until(async () => (await admin.zcard(keys.unsealed)) === 0, patienceMs);
      slow.process.kill('SIGCONT');
      // It ends only when what it has in hand is done.
      slow.process.kill('SIGTERM');
      await slow.exited;
      world.happens('an attestor came late');
    },
  },
  'a caller cancels while an attestor checks': {
    async play(world) {
      const attestor = await stopped(world, 'attestor.after-checks');
      const [id = ''] = world.history.flatMap((seen) => (seen.kind === 'accepted' ? [seen.job] : []));
      await world.cancel(id);
      if (world.history.some(({ kind }) => kind === 'cancelled')) world.happens('a caller cancelled');
      attestor.process.kill('SIGCONT');
    },
  },
  'an API dies before it delivers': {
    api: { COUNTERSIGN_CRASH_AT: 'api.after-admit:2' },
    async play(world, patienceMs) {
      await Promise.all([world.pipeline.worker(1), world.pipeline.attestor()]);
      const [api] = world.pipeline.running().filter(({ name }) => name === 'api');
      // Until one was worked on, nobody may know yet that there is room for another to be released.
      await world.ended(await world.submit('first'), patienceMs);
      await world.ask('a');
      await api?.exited;
      world.happens('an API died');
      await world.pipeline.api();
    },
  },
  'a deadline passes while nobody works': {
    async play(world, patienceMs) {
      await world.pipeline.attestor();
      const id = await world.submit('a', { deadline_ms: 1_500 });
      await until(async () => {
        const [seconds = '0'] = await world.pipeline.redis.admin.time();
        return Number(seconds) * 1_000 > Date.parse((await world.read(id)).deadline);
      });
      world.happens('a deadline passed');
      await world.pipeline.worker(1);
      await world.ended(id, patienceMs);
    },
  },
  'a witness is away': {
    async play(world, patienceMs) {
      const { pipeline } = world;
      const log = `log ${formatVkey(noteKey('countersign.test/log', 'ed25519', pipeline.logKey.public))}\n`;
      const witness = await startWitness(pipeline.folder, 1, log, await fixedPort());
      try {
        world.requireWitness(witness.line);
        witness.process.kill('SIGSTOP');
        const [attestor] = await Promise.all([pipeline.attestor(), pipeline.worker(1)]);
        const id = await world.submit('a');
        const isMissed = await until(async () => {
          if (attestor.stderr().includes('Too few witnesses')) return 'missed';
          return (await world.read(id)).ended_at !== null && 'done';
        }, patienceMs);
        world.happens('a witness was away');
        if (isMissed === 'done') return;
        witness.process.kill('SIGCONT');
        await world.ended(id, patienceMs);
      } finally {
        witness.process.kill('SIGKILL');
      }
    },
  },
  'Redis comes back with an older file': {
    async play(world, patienceMs) {
      const { pipeline } = world;
      await Promise.all([pipeline.worker(1), pipeline.attestor()]);
      await world.ended(await world.submit('before'), patienceMs);
      keep(pipeline, 'older');
      for (const key of ['b', 'c', 'd', 'e']) await world.ended(await world.submit(key), patienceMs);
      await world.keepCheckpoint();
      await comeBackWith(pipeline, 'older');
      world.happens('Redis lost its last moments');
      const id = await world.submit('after');
      const isNoticed = await until(async () => {
        const health = await world.client.fetch('/health/ready').then((answer) => answer.text());
        if (health.includes('log_diverged')) return 'noticed';
        const job = await world.read(id).catch(() => undefined);
        return job !== undefined && job.ended_at !== null && 'done';
      }, patienceMs);
      if (isNoticed === 'noticed') await recover(pipeline);
      await world.ended(id, patienceMs);
    },
  },
} as const satisfies Record<string, Scene>;
export type SceneName = keyof typeof SCENES;

/** How long a scene is waited for in which nothing is wrong, and one that may never end. */
const [PATIENCE_MS, PLANTED_MS] = [120_000, 15_000];

/** Plays a scene with a build in which these bugs are planted, or in the build as it is. */
export async function played(
  name: SceneName,
  edits: readonly Edit[] = [],
): Promise<{ violations: readonly string[]; happened: Readonly<Record<string, number>> }> {
  const scene: Scene = SCENES[name];
  using build = edits.length === 0 ? undefined : new CopiedBuild(edits);
  await using world = await World.open(build?.dist, scene.api);
  const patienceMs = build === undefined ? PATIENCE_MS : PLANTED_MS;
  await scene.play(world, patienceMs);
  return { violations: await world.violations(patienceMs), happened: world.happened };
}

/** An attestor that is stopped at this place over one job, which a worker has answered. */
async function stopped(world: World, point: string): Promise<Role> {
  const [role] = await Promise.all([world.pipeline.attestor(stopAt(point)), world.pipeline.worker(1)]);
  // What is not computed again has its place as soon as it is checked.
  await world.submit('a', { attestation: { recompute: 0 } });
  await until(() => isStopped(role.process.pid ?? 0));
  return role;
}
