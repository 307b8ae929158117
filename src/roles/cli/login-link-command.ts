import type { ApiClient } from './api-client.ts';
import type { CallerContext, RemoteOptions } from './caller-context.ts';
import { Output } from './output.ts';

/** A link to the dashboard that signs in once, as `countersign link --json` prints it. */
interface LoginLink {
  readonly url: string;
  readonly expires_at: string;
}

/** Asks the API for a link that signs in once, with the powers of the client's key. Throws CodedErrors. */
export async function loginLink(client: ApiClient, isReadOnly: boolean): Promise<LoginLink> {
  const made = await client.json('/v1/session/links', 'POST', { read_only: isReadOnly });
  const { path, expires_at } = made as { path: string; expires_at: string };
  return { url: `${client.url}${path}`, expires_at };
}

/** `countersign link`: a link to the dashboard that signs in once. */
export function addLoginLinkCommand(cli: CallerContext): void {
  cli
    .remote('link', 'print a link to the dashboard that signs in once, within 15 minutes, with the powers of the key')
    .option('--read-only', 'whoever opens it can look and not act')
    .action(async (options: RemoteOptions & { readOnly?: boolean }) => {
      const link = await loginLink(cli.client(options), options.readOnly === true);
      new Output(options.json === true).show(link, [link.url]);
    });
}
