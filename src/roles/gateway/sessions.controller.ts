import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { CHALLENGE_MS, Sessions } from '../../core/leasing/session.store.ts';
import { publicKeyOf } from '../../core/leasing/signed-request.ts';
import { OpenSession, ROUTES, type Challenge, type Session } from '../../core/remote/wire.ts';
import { workerIdOf } from '../../ground/keys/signing-key.ts';
import { checked } from '../../surfaces/http/checked.ts';
import { GatewayFacts } from './gateway-facts.ts';
import { RequestGate } from './request-gate.ts';

/** How a worker shows that it holds an enrolled key. */
@Controller()
export class SessionsController {
  readonly #sessions: Sessions;
  readonly #gate: RequestGate;
  readonly #facts: GatewayFacts;

  constructor(sessions: Sessions, gate: RequestGate, facts: GatewayFacts) {
    this.#sessions = sessions;
    this.#gate = gate;
    this.#facts = facts;
  }

  @Post(ROUTES.challenges)
  async challenge(): Promise<Challenge> {
    return { challenge: await this.#sessions.challenge(), ends_in_ms: CHALLENGE_MS };
  }

  @Post(ROUTES.sessions)
  @HttpCode(201)
  async open(@Body() body: unknown): Promise<Session> {
    const { challenge, public_key: keyText, signature } = checked(OpenSession, body);
    const key = publicKeyOf(keyText);
    const worker = workerIdOf(key);
    const session = await this.#sessions.open(challenge, key, Buffer.from(signature, 'base64'), () =>
      this.#gate.requireOpening(worker),
    );
    const { pool, leaseMs } = this.#facts;
    return { session, worker, pool, ends_in_ms: this.#sessions.lifeMs, renew_every_ms: Math.floor(leaseMs / 4) };
  }
}
