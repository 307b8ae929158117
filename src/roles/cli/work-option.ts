import { Option } from 'commander';
import { OPEN_WORK, type OpenWork } from '../../surfaces/tenants/work-stops.ts';

/** `--work`: what becomes of open work when a key is revoked or a tenant is disabled. */
export function workOption(usual: OpenWork): Option {
  return new Option(
    '--work <what>',
    'open work: keep lets all of it go on, drain cancels batches only, stop cancels jobs too',
  )
    .choices(OPEN_WORK)
    .default(usual);
}
