import { count } from '../../ground/metrics/process-metrics.ts';
import type { UnverifiedReason } from './unverified.ts';

type Outcome = 'passed' | 'refused' | 'failed' | 'left';

/** What became of the requests of a proxy: for its metrics, and for the line that it ends with. */
export class ProxyCounts {
  readonly #outcomes = new Map<Outcome, number>();
  readonly #reasons = new Map<UnverifiedReason, number>();
  readonly #say: (line: string) => void;

  /** `say` is told of each answer that is refused; no content and no key stands in it. */
  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  passed(route: string): void {
    this.#add('passed', route);
  }

  refused(route: string, reason: UnverifiedReason, sentence: string, jobs: readonly string[]): void {
    this.#add('refused', route);
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
    count('countersign_proxy_refusals_total', { reason });
    this.#say(`refused ${route} ${jobs.length === 0 ? 'no job' : jobs.join(' ')}: ${sentence}`);
  }

  /** The caller or the service was at fault, and there was no answer to judge. */
  failed(route: string): void {
    this.#add('failed', route);
  }

  /** The caller hung up. */
  left(route: string): void {
    this.#add('left', route);
  }

  /** All of it in one line. */
  get line(): string {
    const number = (outcome: Outcome) => this.#outcomes.get(outcome) ?? 0;
    const reasons = [...this.#reasons].map(([reason, times]) => `${reason} ${times}`).join(', ');
    return `${number('passed')} passed, ${number('refused')} refused${reasons === '' ? '' : ` (${reasons})`}, ${number('failed')} failed, ${number('left')} hung up`;
  }

  #add(outcome: Outcome, route: string): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    count('countersign_proxy_requests_total', { route, outcome });
  }
}
