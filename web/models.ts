import type { ModelDocument, ModelList } from '../src/roles/api/directory.schemas.ts';
import { ask } from './api.ts';
import { useLoad } from './parts.tsx';

/** The models of the catalog; empty until they are loaded. */
export function useModels(): readonly ModelDocument[] {
  return useLoad((signal) => ask<ModelList>('/v1/models', { signal }), []).value?.data ?? [];
}
