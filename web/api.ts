import { signal } from '@preact/signals';
import type { SessionDocument } from '../src/roles/api/session.schemas.ts';
import { go } from './route.ts';

/** A refusal by the API: its sentence, what to do, and the code for programs. */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string | undefined;

  constructor(status: number, code: string, message: string, hint?: string) {
    super(message);
    this.name = 'Refused';
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

/** Who is signed in: undefined before that is known, null where nobody is. */
export const session = signal<SessionDocument | null | undefined>(undefined);

type Scope = SessionDocument['scopes'][number];

/** Whether whoever is signed in has this power to look. */
export const has = (scope: Scope): boolean => session.value?.scopes.includes(scope) === true;

/** Whether whoever is signed in may act with this power. */
export const may = (scope: Scope): boolean => has(scope) && session.value?.read_only === false;

/** The last answer of the API could not be had: since when, in ms. */
export const awaySince = signal<number | undefined>(undefined);

const TIMEOUT_MS = 30_000;

interface Ask {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** Sends a request with the session. Throws Refused; one whose session has ended leads to the sign-in. */
export async function send(path: string, { method = 'GET', body, signal: until }: Ask = {}): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (method !== 'GET') headers['x-countersign-session'] = session.value?.proof ?? '';
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: until === undefined ? timeout : AbortSignal.any([until, timeout]),
    });
  } catch (cause) {
    if (until?.aborted === true) throw cause;
    awaySince.value ??= Date.now();
    throw new Refused(0, 'not_reached', 'The service does not answer.', 'it is tried again by itself');
  }
  awaySince.value = undefined;
  if (response.ok) return response;
  const refused = await refusedBy(response);
  if (refused.status === 401 && session.value) {
    session.value = null;
    go('login');
  }
  throw refused;
}

/** The JSON that a route answers. This is the one place where it gets its type; the server's tests check it. */
export async function ask<Answer>(path: string, options: Ask = {}): Promise<Answer> {
  return (await (await send(path, options)).json()) as Answer;
}

async function refusedBy(response: Response): Promise<Refused> {
  const problem: unknown = await response.json().catch(() => undefined);
  const field = (name: string): string | undefined => {
    const value: unknown =
      typeof problem === 'object' && problem !== null
        ? Object.getOwnPropertyDescriptor(problem, name)?.value
        : undefined;
    return typeof value === 'string' ? value : undefined;
  };
  // OpenAI's routes answer in OpenAI's shape.
  const inner: unknown =
    typeof problem === 'object' && problem !== null && 'error' in problem ? problem.error : undefined;
  const message =
    typeof inner === 'object' && inner !== null && 'message' in inner ? String(inner.message) : field('detail');
  return new Refused(
    response.status,
    field('code') ?? `http_${response.status}`,
    message ?? `The service answered ${response.status}.`,
    field('hint'),
  );
}

/** Asks who is signed in. */
export async function findSession(): Promise<void> {
  try {
    session.value = await ask<SessionDocument>('/v1/session');
  } catch (error) {
    if (error instanceof Refused && error.status !== 0 && error.status < 500) session.value = null;
    else throw error;
  }
}

/** Signs in with a key or with a link. Throws Refused. */
export async function signIn(by: { key: string } | { link: string }, readOnly: boolean): Promise<void> {
  session.value = await ask<SessionDocument>('/v1/session', { method: 'POST', body: { ...by, read_only: readOnly } });
}

/** Signs out here and on the server. */
export async function signOut(): Promise<void> {
  await send('/v1/session', { method: 'DELETE' });
  session.value = null;
  go('login');
}
