import { Client as McpClient, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

/** Speaks the newest version that both know, or the one before it as its clients do. */
const SPEAKS = { newest: { mode: 'auto' }, before: { mode: 'legacy' } } as const;

type Answer = { readonly [name: string]: unknown };

/** The official client of the Model Context Protocol, unchanged. */
export class Mcp {
  readonly client: McpClient;

  private constructor(client: McpClient) {
    this.client = client;
  }

  /** Speaks with the API over HTTP under this key. */
  static async overHttp(
    url: string,
    key: string,
    { version = 'newest', headers = {} }: { version?: keyof typeof SPEAKS; headers?: Record<string, string> } = {},
  ): Promise<Mcp> {
    const client = new McpClient({ name: 'test', version: '1' }, { versionNegotiation: SPEAKS[version] });
    const requestInit = { headers: { authorization: `Bearer ${key}`, ...headers } };
    await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit }));
    return new Mcp(client);
  }

  /** Starts this program and speaks with it over its standard input and output. */
  static async overStdio(args: readonly string[], version: keyof typeof SPEAKS = 'newest'): Promise<Mcp> {
    const client = new McpClient({ name: 'test', version: '1' }, { versionNegotiation: SPEAKS[version] });
    await client.connect(new StdioClientTransport({ command: process.execPath, args: [...args], stderr: 'inherit' }));
    return new Mcp(client);
  }

  /** What a tool answers; throws where it answers an error. */
  async call(name: string, input: Record<string, unknown>): Promise<Answer> {
    const { isError, content, structuredContent } = await this.client.callTool({ name, arguments: input });
    if (isError === true) throw new Error(JSON.stringify(content));
    return structuredContent as Answer;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.client.close();
  }
}
