import { events, json, type Operation } from './operation.ts';
import { HistoryDocument, HistoryQuery, Overview } from './overview.schemas.ts';

export const OVERVIEW_OPERATIONS: readonly Operation[] = [
  {
    id: 'getOverview',
    method: 'get',
    path: '/v1/admin/overview',
    tag: 'Dashboard',
    summary: 'See the whole installation at this moment',
    description: 'Who is there, what waits and for how long, what ended last, and what an operator should look at.',
    scope: 'operator',
    success: { '200': json('the installation', 'Overview', Overview) },
    errors: ['storage_unavailable'],
  },
  {
    id: 'getHistory',
    method: 'get',
    path: '/v1/admin/history',
    tag: 'Dashboard',
    summary: 'See what the last hour, day or week held',
    description: 'From sums that were made as it happened, so that the answer takes as long whatever they hold.',
    scope: 'operator',
    query: HistoryQuery,
    success: { '200': json('the history', 'History', HistoryDocument) },
    errors: ['request_invalid', 'storage_unavailable'],
  },
  {
    id: 'followInstallation',
    method: 'get',
    path: '/v1/admin/live',
    tag: 'Dashboard',
    summary: 'Follow the whole installation',
    description:
      'Once a second `tick`, as in the overview; `workers` (`all`, `set`, `gone`) and `verdicts` where something has changed. Whoever comes back is sent everything anew.',
    scope: 'operator',
    success: { '200': events('the events') },
    errors: ['too_many_streams'],
  },
];
