import { messageOf } from '../../ground/errors/coded-error.ts';
import { mcpServer } from '../../surfaces/mcp/mcp-server.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { trustedKeyring } from './trusted-keyring.ts';

const HELP = `
A client starts this program and speaks with it over standard input and output:
  { "command": "countersign", "args": ["mcp", "--owner", "ann", "--url", "https://api.example"] }
With --owner, no call can reach the memories of anybody else. Services speak the same over HTTP, at /mcp.`;

/** `countersign mcp`: memories and jobs as tools (Model Context Protocol), for a client on this machine. */
export function addMcpCommand(cli: CallerContext): void {
  cli.program
    .command('mcp')
    .description('serve memories and jobs as tools (Model Context Protocol) over standard input and output')
    .option('--url <url>', 'address of the API')
    .option('--key-file <file>', 'file with the API key')
    .option('--owner <name>', 'the only owner whose memories are reached; without it each call names one')
    .option('--keyring <file>', 'keys to verify receipts against; without it, those of the service, on first use')
    .addHelpText('after', HELP)
    .action(async ({ owner, keyring, ...remote }: RemoteOptions & { owner?: string; keyring?: string }) => {
      const api = cli.client(remote);
      const setting = {
        api,
        url: api.url,
        owner,
        trusted: () => trustedKeyring(cli.data, keyring === undefined ? { url: api.url } : { keyring }),
        failed: (error: unknown) => process.stderr.write(`${messageOf(error)}\n`),
      };
      const { serveStdio } = await import('@modelcontextprotocol/server/stdio');
      serveStdio(() => mcpServer(setting), { onerror: setting.failed });
    });
}
