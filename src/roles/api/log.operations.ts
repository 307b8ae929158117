import { LogDocuments } from './log.schemas.ts';
import { bytes, inPath, json, text, type Operation } from './operation.ts';

export const LOG_OPERATIONS: readonly Operation[] = [
  {
    id: 'getCheckpoint',
    method: 'get',
    path: '/log/checkpoint',
    tag: 'Log',
    summary: 'Get the newest checkpoint of the transparency log',
    description: 'A signed note (C2SP tlog-checkpoint).',
    scope: null,
    success: { '200': text('the checkpoint') },
    errors: ['route_not_found'],
  },
  {
    id: 'listLogDocuments',
    method: 'get',
    path: '/log/documents',
    tag: 'Log',
    summary: 'List the entries of the log that are no verdicts, and the secrets of draws that are over',
    scope: null,
    success: { '200': json('documents and draws', 'LogDocuments', LogDocuments) },
    errors: [],
  },
  {
    id: 'getTile',
    method: 'get',
    path: '/log/tile/{path}',
    tag: 'Log',
    summary: 'Get a tile or an entry bundle of the transparency log',
    description: 'C2SP tlog-tiles; each is checked up to the root before it is served.',
    scope: null,
    parameters: inPath('path', 'the path of a tile', '0/000'),
    success: { '200': bytes('the tile') },
    errors: ['route_not_found', 'blob_missing'],
  },
];
