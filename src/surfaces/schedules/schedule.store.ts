import { Injectable } from '@nestjs/common';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { APPENDED_ENTRY, AuditLog, orMisplaced } from '../../core/audit/audit-log.ts';
import { isAmong, tenantOf, type Whose } from '../../core/jobs/whose.ts';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { freshRandom } from '../../ground/keys/random.ts';
import { RedisKeys } from '../../ground/redis/keys.ts';
import { loadScript } from '../../ground/redis/script.ts';
import { SubmitJob } from '../../proof/contract/submit-job.ts';
import { lookMs } from './schedule-moves.ts';
import { Run, ScheduleBody, type Schedule } from './schedule.ts';

const KEEP = loadScript(new URL('./lua/keep-schedule.lua', import.meta.url), orMisplaced('kept', 'stale', 'full'), {
  included: [APPENDED_ENTRY],
});

/** The most schedules of a tenant, those that are paused or have ended counted. */
export const MAX_SCHEDULES = 100;
/** A change is tried again where another one came between; so often by chance only, under no load. */
const MAX_TRIES = 20;

const fromJson = <Schema extends z.ZodType>(schema: Schema) =>
  z.string().transform((text): z.infer<Schema> => schema.parse(JSON.parse(text)));
const Fields = z.tuple([
  z.coerce.number().int().positive(),
  fromJson(ScheduleBody),
  fromJson(SubmitJob),
  fromJson(z.array(Run)),
]);

/** Who changes a schedule, and how that is told in the audit log. */
export interface Author {
  /** The id of an API key, or `courier`. */
  readonly by: string;
  readonly action: 'schedule.create' | 'schedule.change' | 'schedule.pause';
  readonly detail: object;
}

interface Revised {
  readonly schedule: Schedule;
  readonly revision: number;
}

/** The id of a schedule to come. */
export const newScheduleId = () => `sched_${freshRandom(12).toString('hex')}`;

const UNKNOWN = 'There is no schedule with this id.';

/**
 * The schedules of tenants. A change is written only where nothing was changed since it was read, so any
 * number of processes may call at once.
 */
@Injectable()
export class Schedules {
  readonly #redis: Redis;
  readonly #keys: RedisKeys;
  readonly #audit: AuditLog;

  constructor(redis: Redis, keys: RedisKeys) {
    this.#redis = redis;
    this.#keys = keys;
    this.#audit = new AuditLog(redis, keys);
  }

  /**
   * Keeps a new schedule; where one has this id already, it is that one. Throws CodedError
   * `too_many_schedules`.
   */
  async create(schedule: Schedule, author: Author): Promise<Schedule> {
    const reply = await this.#write({ schedule, revision: 0 }, lookMs(schedule, Date.now()), author);
    if (reply === 'full')
      throw new CodedError(
        'too_many_schedules',
        `There are ${MAX_SCHEDULES} schedules already, those that are paused or have ended counted; delete one first.`,
      );
    return reply === 'kept' ? schedule : this.get(schedule.tenant, schedule.id);
  }

  /** One of these schedules. Throws CodedError `schedule_not_found`. */
  async get(whose: Whose, id: string): Promise<Schedule> {
    const found = await this.read(id);
    if (found === undefined || !isAmong(whose, found)) throw new CodedError('schedule_not_found', UNKNOWN);
    return found;
  }

  /** A schedule of any tenant, or undefined. */
  async read(id: string): Promise<Schedule | undefined> {
    return (await this.#read(id))?.schedule;
  }

  /** These schedules, newest first. */
  async list(whose: Whose): Promise<Schedule[]> {
    const ids = await this.#redis.zrevrange(this.#keys.schedulesOf(tenantOf(whose)), 0, -1);
    const found = await Promise.all(ids.map((id) => this.read(id)));
    return found.filter((schedule) => schedule !== undefined).filter((schedule) => isAmong(whose, schedule));
  }

  /**
   * Replaces a schedule by what `move` makes of it, which is called again where another change came between.
   * Returns it; as it stands where `move` returns undefined, and undefined where it is gone. `lookAt` says
   * when a courier looks at it next. Throws CodedError `overloaded`.
   */
  async change(
    id: string,
    move: (schedule: Schedule) => Schedule | undefined,
    {
      author,
      lookAt = (schedule) => lookMs(schedule, Date.now()),
    }: { readonly author?: Author; readonly lookAt?: (schedule: Schedule) => number | undefined } = {},
  ): Promise<Schedule | undefined> {
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const found = await this.#read(id);
      const schedule = found && move(found.schedule);
      if (found === undefined || schedule === undefined) return found?.schedule;
      const reply = await this.#write({ schedule, revision: found.revision }, lookAt(schedule), author);
      if (reply === 'kept') return schedule;
    }
    throw new CodedError('overloaded', 'This schedule is changed by many at once; try again.', {
      headers: { 'retry-after': '1' },
    });
  }

  /** Deletes a schedule and its runs; the jobs stay. Throws CodedError `schedule_not_found`. */
  async remove(whose: Whose, id: string, by: string): Promise<void> {
    const { tenant } = await this.get(whose, id);
    const { schedule, schedules, schedulesOf } = this.#keys;
    await this.#audit.with({ by, action: 'schedule.delete', target: id, tenant, detail: {} }, [
      ['UNLINK', schedule(id)],
      ['ZREM', schedules, id],
      ['ZREM', schedulesOf(tenant), id],
    ]);
  }

  async #read(id: string): Promise<Revised | undefined> {
    if (!/^sched_[0-9a-f]{24}$/.test(id)) return undefined;
    const fields = await this.#redis.hmget(this.#keys.schedule(id), 'revision', 'body', 'request', 'runs');
    if (fields.includes(null)) return undefined;
    const [revision, body, request, runs] = Fields.parse(fields);
    return { revision, schedule: { id, ...body, request, runs } };
  }

  async #write(
    { schedule, revision }: Revised,
    look: number | undefined,
    author: Author | undefined,
  ): Promise<'kept' | 'stale' | 'full'> {
    const { id, request, runs, ...body } = schedule;
    const { schedule: key, schedules, schedulesOf, prefix } = this.#keys;
    const keep = (number: number | '', entry: string) =>
      KEEP.run(
        this.#redis,
        [key(id), schedules, schedulesOf(body.tenant)],
        [
          prefix,
          id,
          revision,
          look ?? '',
          JSON.stringify(body),
          JSON.stringify(runs),
          revision === 0 ? JSON.stringify(request) : '',
          Date.now(),
          MAX_SCHEDULES,
          number,
          entry,
        ],
      );
    if (author !== undefined)
      return this.#audit.withScript({ ...author, target: id, tenant: body.tenant }, 'kept', keep);
    const said = await keep('', '');
    if (typeof said === 'string') return said;
    throw new Error('A schedule that nobody changed waits for an entry.');
  }
}
