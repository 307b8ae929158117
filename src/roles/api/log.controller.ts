import { Controller, Get, Param, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { LogReader } from '../../proof/tlog/log-reader.ts';
import { LogRefused } from '../../proof/tlog/signed-note.ts';
import { parseTilePath } from '../../proof/tlog/tile.ts';
import { Open } from './caller.guard.ts';
import type { LogDocuments } from './log.schemas.ts';

/** The transparency log, as C2SP tlog-tiles specifies it: for anyone, without a key. */
@Controller('/log')
export class LogController {
  readonly #log: LogReader;

  constructor(log: LogReader) {
    this.#log = log;
  }

  @Get('checkpoint')
  @Open()
  async checkpoint(@Res({ passthrough: true }) reply: FastifyReply) {
    const note = await this.#log.checkpoint();
    if (note === '') throw new CodedError('route_not_found', 'The log has no entries yet.');
    reply.headers({ 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-cache' });
    return note;
  }

  @Get('documents')
  @Open()
  async documents(): Promise<LogDocuments> {
    return { documents: await this.#log.documents(), draws: await this.#log.draws() };
  }

  @Get('tile/*')
  @Open()
  async tile(@Param('*') rest: string, @Res({ passthrough: true }) reply: FastifyReply) {
    const name = parseTilePath(`tile/${rest}`);
    const bytes = name && (await this.#read(name));
    if (bytes === undefined)
      throw new CodedError('route_not_found', 'The log does not have this tile, or does not have it yet.');
    reply.headers({
      'content-type': 'application/octet-stream',
      'cache-control': 'public, max-age=31536000, immutable',
    });
    return bytes;
  }

  async #read(name: Parameters<LogReader['tile']>[0]): Promise<Buffer | undefined> {
    try {
      return await this.#log.tile(name);
    } catch (cause) {
      if (!(cause instanceof LogRefused)) throw cause;
      throw new CodedError('blob_missing', 'This part of the log is damaged and is not served.', { cause });
    }
  }
}
