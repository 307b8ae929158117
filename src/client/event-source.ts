export interface JobEvent {
  readonly id: string;
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/**
 * Server-sent events of a response, one at a time; comments and incomplete events are left out. An event
 * without an id has that of the one before, or an empty one.
 */
export async function* readEvents(response: Response): AsyncGenerator<JobEvent> {
  if (response.body === null) return;
  const reader: ReadableStreamDefaultReader<Uint8Array> = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let id = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const fields = new Map(
          block.split('\n').flatMap((line) => {
            const [, name, text] = /^(id|event|data): ?(.*)$/.exec(line) ?? [];
            return name === undefined || text === undefined ? [] : [[name, text] as const];
          }),
        );
        const data = fields.get('data');
        id = fields.get('id') ?? id;
        if (data === undefined) continue;
        yield { id, type: fields.get('event') ?? 'message', data: JSON.parse(data) as Record<string, unknown> };
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
