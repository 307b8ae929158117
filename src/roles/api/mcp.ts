import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../ground/logging/logger.ts';
import { Keyring } from '../../proof/receipts/keyring.ts';
import { trustOnFirstUse } from '../../surfaces/checker/trust.ts';
import { mcpServer } from '../../surfaces/mcp/mcp-server.ts';
import type { Directory } from './directory.ts';
import { OwnApi, type HolderNow } from './own-api.ts';

interface McpParts {
  /** The server whose routes the tools call. */
  readonly instance: () => FastifyInstance;
  readonly directory: Directory;
  readonly logger: Logger;
}

/** Who asks: by their key or their token, and for the memories of one owner or of whom each call names. */
interface McpCaller {
  readonly by: string | HolderNow;
  readonly owner: string | undefined;
}

/** The Model Context Protocol over HTTP, without sessions: each request stands by itself. */
export class Mcp {
  readonly #parts: McpParts;

  constructor(parts: McpParts) {
    this.#parts = parts;
  }

  /** Answers one message, whose headers `request` has. */
  async answer(request: Request, message: object, { by, owner }: McpCaller): Promise<Response> {
    const { instance, directory, logger } = this.#parts;
    const { createMcpHandler } = await import('@modelcontextprotocol/server');
    const setting = {
      api: new OwnApi(instance(), by),
      url: new URL(request.url).origin,
      owner,
      trusted: () => Promise.resolve({ keyring: new Keyring(directory.keyring), ...trustOnFirstUse('this service') }),
      failed: (error: unknown) => logger.error({ err: error }, 'a tool of MCP failed'),
    };
    // Nothing here changes by itself, so that there is nothing to subscribe to.
    const handler = createMcpHandler(() => mcpServer(setting), { maxSubscriptions: 0 });
    return handler.fetch(request, { parsedBody: message });
  }
}
