import { Controller, Get, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { checkerFile } from '../../surfaces/checker/checker-files.ts';
import { Open } from './caller.guard.ts';
import { Directory } from './directory.ts';
import { plainText } from './html-text.ts';

/** The page that checks receipts. It is the same for everyone, and asks this service for nothing more. */
@Controller()
export class CheckerController {
  readonly #directory: Directory;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  @Get('/verify')
  @Open()
  page(@Res({ passthrough: true }) reply: FastifyReply): string {
    reply.headers(PAGE_HEADERS);
    const keyring = plainText(JSON.stringify(this.#directory.keyring));
    return PAGE.replace('data-keyring=""', () => `data-keyring="${keyring}"`);
  }

  @Get('/verify/checker.js')
  @Open()
  script(@Res({ passthrough: true }) reply: FastifyReply): string {
    reply.header('content-type', 'text/javascript; charset=utf-8');
    return SCRIPT;
  }

  @Get('/verify/checker.css')
  @Open()
  style(@Res({ passthrough: true }) reply: FastifyReply): string {
    reply.header('content-type', 'text/css; charset=utf-8');
    return STYLE;
  }
}

const [PAGE, SCRIPT, STYLE] = [checkerFile('page.html'), checkerFile('checker.js'), checkerFile('checker.css')];

/** Nothing inline, nothing from elsewhere, and no request once script and style are there. */
const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
};
