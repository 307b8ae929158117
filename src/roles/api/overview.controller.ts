import { Controller, Get, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { Tallies } from '../../surfaces/dashboard/tallies.ts';
import type { History, Span } from '../../surfaces/dashboard/tally.ts';
import { COUNTERS } from '../../surfaces/dashboard/tally.ts';
import type { Caller as ApiCaller } from '../../surfaces/tenants/api-key.ts';
import { Caller, Needs } from './caller.guard.ts';
import { EventStreams } from './event-streams.ts';
import { LiveFeed } from './live-feed.ts';
import { Overviews } from './overview.ts';
import { HistoryQuery, type HistoryDocument, type Overview } from './overview.schemas.ts';
import { parse } from './parse.ts';

const SHOWN_REFUTATIONS = 50;
/** A history is read again after this long, however many ask. */
const HISTORY_MS: Readonly<Record<Span, number>> = { hour: 2_000, day: 10_000, week: 30_000 };

/** The whole installation, for its operator. */
@Controller('/v1/admin')
export class OverviewController {
  readonly #overviews: Overviews;
  readonly #tallies: Tallies;
  readonly #feed: LiveFeed;
  readonly #streams: EventStreams;
  readonly #histories = new Map<Span, { until: number; history: Promise<History> }>();

  constructor(overviews: Overviews, tallies: Tallies, feed: LiveFeed, streams: EventStreams) {
    this.#overviews = overviews;
    this.#tallies = tallies;
    this.#feed = feed;
    this.#streams = streams;
  }

  @Get('overview')
  @Needs('operator')
  async overview(): Promise<Overview> {
    const [{ tick, workers }, { verdicts }, refutations] = await Promise.all([
      this.#overviews.look(),
      this.#overviews.verdicts('0'),
      this.#tallies.refutations(SHOWN_REFUTATIONS),
    ]);
    return {
      tick,
      workers,
      verdicts,
      refutations: refutations.map(({ at, ...row }) => ({ ...row, at: new Date(at).toISOString() })),
    };
  }

  @Get('history')
  @Needs('operator')
  async history(@Query() query: unknown): Promise<HistoryDocument> {
    return historyDocument(await this.#history(parse(HistoryQuery, query).span));
  }

  @Get('live')
  @Needs('operator')
  async live(@Caller() { keyId }: ApiCaller, @Res() reply: FastifyReply): Promise<void> {
    this.#streams.requireRoom(keyId);
    await this.#streams.serve(reply, keyId, (signal) => this.#feed.frames(signal));
  }

  #history(span: Span): Promise<History> {
    const now = performance.now();
    const known = this.#histories.get(span);
    if (known !== undefined && now < known.until) return known.history;
    const history = this.#tallies.history(span);
    this.#histories.set(span, { until: now + HISTORY_MS[span], history });
    // What failed is asked for anew.
    history.catch(() => this.#histories.delete(span));
    return history;
  }
}

function historyDocument({ slotMs, points, refusals, phases, p50Ms, p95Ms }: History): HistoryDocument {
  return {
    slot_ms: slotMs,
    points: points.map((point) => ({
      at: new Date(point.atMs).toISOString(),
      counts: Object.fromEntries(COUNTERS.map((name) => [name, point[name]])),
      p50_ms: point.p50Ms ?? null,
      p95_ms: point.p95Ms ?? null,
    })),
    refusals: [...refusals],
    phases: phases.map(({ model, jobs, waitMs, runMs, confirmMs }) => ({
      model,
      jobs,
      wait_ms: waitMs,
      run_ms: runMs,
      confirm_ms: confirmMs,
    })),
    p50_ms: p50Ms ?? null,
    p95_ms: p95Ms ?? null,
  };
}
