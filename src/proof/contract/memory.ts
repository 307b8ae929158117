/**
 * What people and agents keep here, as plain types for the published client. `memories.schemas.test.ts` holds
 * them equal to the schemas that the service checks with.
 */

/** From where a memory can come; the trust of one, from `import`, the least, to `user`. */
export type MemoryKind = 'import' | 'tool' | 'model' | 'user';

/** One way in which the service came to know a memory. */
export interface MemorySource {
  kind: MemoryKind;
  at: string;
  from: string | null;
  reference: string | null;
  rests_on: string[];
  trust: MemoryKind;
  receipt: { job: string; sha256: string } | null;
}

/** What a correction changes. */
export interface MemoryState {
  version: number;
  updated_at: string;
  type: 'semantic' | 'episodic';
  text: string;
  category: string | null;
  valid_from: string | null;
  valid_to: string | null;
  metadata: Record<string, unknown>;
  origins: MemorySource[];
  trust: MemoryKind;
}

export interface Memory extends MemoryState {
  id: string;
  created_at: string;
  agent: string | null;
  thread: string | null;
  source: string | null;
  supersedes: string[];
  contradicts: string[];
}

/** What a search found, and the reason for its place. */
export interface FoundMemory {
  memory: Memory;
  score: number;
  semantic: { rank: number; similarity: number } | null;
  text: { rank: number; score: number; coverage: number; counted: boolean; words: string[] } | null;
}

/** What is known of an owner, each line with the memories that it rests on. */
export interface MemoryProfile {
  at: string;
  sections: {
    type: 'semantic' | 'episodic';
    category: string | null;
    lines: {
      text: string;
      trust: MemoryKind;
      updated_at: string;
      memories: string[];
      contradicted_by: string[];
    }[];
  }[];
  left_out: number;
}

/** What erasing came to: the statement, and the envelope that signs it. */
export interface MemoryErasure {
  erasure: string;
  sha256: string;
  statement: {
    type: 'countersign/memory-erasure/v1';
    erasure: string;
    tenant: string;
    owner: string;
    scope: 'memory' | 'owner';
    asked_by: string;
    asked_at: string;
    finished_at: string;
    memories: string[];
    removed: number;
    resealed: number;
    keys_destroyed: string;
    follows?: string[] | undefined;
    not_proved: string[];
  };
  envelope: {
    payloadType: 'application/vnd.countersign.memory-erasure+json';
    payload: string;
    signatures: [{ keyid: string; sig: string }];
  };
}
