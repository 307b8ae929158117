import type {
  FoundMemory,
  Memory,
  MemoryErasure,
  MemoryKind,
  MemoryProfile,
  MemoryState,
} from '../proof/contract/memory.ts';

/** Sends a request of the client and returns its answer. */
type Send = (path: string, method: 'GET' | 'POST' | 'PATCH' | 'DELETE', body?: unknown) => Promise<unknown>;

/** What is said of a text that is to be remembered. */
export interface Remembering {
  readonly category?: string;
  readonly type?: 'semantic' | 'episodic';
  readonly agent?: string;
  readonly thread?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly said_by?: Exclude<MemoryKind, 'import'>;
  readonly supersedes?: readonly string[];
  readonly contradicts?: readonly string[];
  readonly rests_on?: readonly string[];
}

/** How memories are searched. */
export interface Recalling {
  readonly mode?: 'hybrid' | 'semantic' | 'text';
  readonly limit?: number;
  readonly filter?: Readonly<Record<string, string | boolean>>;
}

/** What of a profile is wanted. */
export interface Profiling {
  readonly limit?: number;
  readonly of_each?: number;
  readonly category?: string;
  readonly trust?: MemoryKind;
}

/** The memories of one owner. Every method throws what the methods of the client throw. */
export class OwnerMemory {
  readonly #send: Send;
  readonly #owner: string;

  constructor(send: Send, owner: string) {
    this.#send = send;
    this.#owner = owner;
  }

  /** Remembers a text as it is; the memory, also where it was known already. */
  async remember(text: string, options: Remembering = {}): Promise<Memory> {
    const body = { owner: this.#owner, text, infer: false, ...options };
    const { memories } = (await this.#send('/v1/memories', 'POST', body)) as { memories: [{ memory: Memory }] };
    return memories[0].memory;
  }

  /** What a search finds, best first. */
  async recall(query: string, options: Recalling = {}): Promise<FoundMemory[]> {
    const body = { owner: this.#owner, query, ...options };
    return ((await this.#send('/v1/memories/search', 'POST', body)) as { results: FoundMemory[] }).results;
  }

  /** All of them, newest first, page by page. */
  async *list(): AsyncGenerator<Memory> {
    for (let before: string | null | undefined; before !== null;) {
      const query = new URLSearchParams({ owner: this.#owner, ...(before === undefined ? {} : { before }) });
      const page = (await this.#send(`/v1/memories?${query.toString()}`, 'GET')) as {
        memories: Memory[];
        next: string | null;
      };
      yield* page.memories;
      before = page.next;
    }
  }

  /** What holds now, the most trusted first, made of the memories for this answer. */
  async profile(options: Profiling = {}): Promise<MemoryProfile> {
    const words = Object.entries(options).map(([name, value]): [string, string] => [name, String(value)]);
    const path = `/v1/owners/${encodeURIComponent(this.#owner)}/profile`;
    return (await this.#send(`${path}?${new URLSearchParams(words).toString()}`, 'GET')) as MemoryProfile;
  }

  async get(id: string): Promise<Memory> {
    return (await this.#send(this.#path(id), 'GET')) as Memory;
  }

  /** What a memory said before each correction, and says now. */
  async history(id: string): Promise<MemoryState[]> {
    return ((await this.#send(this.#path(id, '/history'), 'GET')) as { versions: MemoryState[] }).versions;
  }

  /** Says what is right; what was said before stays in the history. */
  async correct(id: string, text: string): Promise<Memory> {
    return (await this.#send(this.#path(id), 'PATCH', { text })) as Memory;
  }

  /** Erases memories for good; the signed receipts. */
  async forget(...ids: readonly string[]): Promise<MemoryErasure[]> {
    const body = { owner: this.#owner, ids };
    return ((await this.#send('/v1/memories/batch-delete', 'POST', body)) as { erasures: MemoryErasure[] }).erasures;
  }

  #path(id: string, more = ''): string {
    const query = new URLSearchParams({ owner: this.#owner });
    return `/v1/memories/${encodeURIComponent(id)}${more}?${query.toString()}`;
  }
}
