export interface JobEvent {
  readonly id: string;
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/** Server-sent events of a response, one at a time; comments and incomplete events are left out. */
export async function* readEvents(response: Response): AsyncGenerator<JobEvent> {
  if (response.body === null) return;
  const reader: ReadableStreamDefaultReader<Uint8Array> = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
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
        const [id, data] = [fields.get('id'), fields.get('data')];
        if (id === undefined || data === undefined) continue;
        yield { id, type: fields.get('event') ?? 'message', data: JSON.parse(data) as Record<string, unknown> };
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
