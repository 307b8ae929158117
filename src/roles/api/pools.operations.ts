import { body, inPath, json, type Operation } from './operation.ts';
import { ChangePoolState, PoolStateDocument, PoolStateList } from './pools.schemas.ts';

const ofPool = inPath('pool', 'the name of a pool', 'default');

export const POOL_OPERATIONS: readonly Operation[] = [
  {
    id: 'listPoolStates',
    method: 'get',
    path: '/v1/admin/pools',
    tag: 'Admin',
    summary: 'List the pools of the catalog, and how each stands',
    scope: 'operator',
    success: { '200': json('the pools', 'PoolStateList', PoolStateList) },
    errors: [],
  },
  {
    id: 'getPoolState',
    method: 'get',
    path: '/v1/admin/pools/{pool}',
    tag: 'Admin',
    summary: 'Get how a pool stands, and how far its emptying is',
    scope: 'operator',
    parameters: ofPool,
    success: { '200': json('the pool', 'PoolState', PoolStateDocument) },
    errors: ['pool_not_found'],
  },
  {
    id: 'changePoolState',
    method: 'patch',
    path: '/v1/admin/pools/{pool}',
    tag: 'Admin',
    summary: 'Pause a pool, drain it, or open it again',
    description: 'What workers have been given already runs on.',
    scope: 'operator',
    parameters: ofPool,
    body: body('ChangePoolState', ChangePoolState, { state: 'paused' }),
    success: { '200': json('the pool', 'PoolState', PoolStateDocument) },
    errors: ['request_invalid', 'pool_not_found'],
  },
  {
    id: 'emptyPool',
    method: 'post',
    path: '/v1/admin/pools/{pool}/empty',
    tag: 'Admin',
    summary: 'Cancel all jobs that wait in a pool now',
    description:
      'It goes on in the background; `found_jobs` of the answer is how many jobs wait, and getPoolState says how far it is. It cannot be taken back. Jobs that run, and those that are accepted later, are left alone.',
    scope: 'operator',
    parameters: ofPool,
    success: { '202': json('the pool', 'PoolState', PoolStateDocument) },
    errors: ['pool_not_found'],
  },
];
