import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { EnrolmentAsks } from '../../core/leasing/enrolment-ask.store.ts';
import { Sessions } from '../../core/leasing/session.store.ts';
import { EnrolmentRequest } from '../../core/registry/enrolment.ts';
import { ROUTES, type EnrolmentState } from '../../core/remote/wire.ts';
import { checked } from '../../surfaces/http/checked.ts';

/** Where somebody who is no worker yet asks to become one. */
@Controller()
export class EnrolmentController {
  readonly #asks: EnrolmentAsks;
  readonly #sessions: Sessions;

  constructor(asks: EnrolmentAsks, sessions: Sessions) {
    this.#asks = asks;
    this.#sessions = sessions;
  }

  @Post(ROUTES.enrolments)
  @HttpCode(200)
  async ask(@Body() body: unknown): Promise<EnrolmentState> {
    const request = checked(EnrolmentRequest, body);
    // Its signature is looked at before anything is asked of Redis.
    await this.#sessions.answered(this.#asks.factsOf(request).challenge);
    return this.#asks.ask(request);
  }
}
