import type { JobDocument } from '../../proof/contract/job-document.ts';

/** The API as one caller may use it. Every method throws the CodedError that the API answers. */
export interface CallerApi {
  json(path: string, method?: 'GET' | 'POST' | 'PATCH' | 'DELETE', body?: unknown): Promise<unknown>;
  bytes(path: string): Promise<Uint8Array>;
  /** Submits a job, and returns it as it stands after so many seconds at most. */
  submit(body: unknown, options: { waitS?: number | undefined }): Promise<JobDocument>;
}

/** The query of a path, without what is not there. */
export function queryOf(values: Readonly<Record<string, string | number | undefined>>): string {
  return new URLSearchParams(
    Object.entries(values).flatMap(([name, value]): [string, string][] =>
      value === undefined ? [] : [[name, String(value)]],
    ),
  ).toString();
}
