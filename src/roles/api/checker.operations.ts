import { text, type Operation } from './operation.ts';

export const CHECKER_OPERATIONS: readonly Operation[] = [
  {
    id: 'getReceiptChecker',
    method: 'get',
    path: '/verify',
    tag: 'Operations',
    summary: 'Check a receipt in a browser',
    description:
      'The page has the code of `countersign verify` and asks no server: what is dropped onto it stays there. It brings the keyring of this service along, which is trust on first use. `countersign verify --page FILE` writes the same page as one file that works from a disk.',
    scope: null,
    success: { '200': text('a page', 'text/html') },
    errors: [],
  },
  {
    id: 'getReceiptCheckerScript',
    method: 'get',
    path: '/verify/checker.js',
    tag: 'Operations',
    summary: 'Get the script of the page that checks receipts',
    scope: null,
    success: { '200': text('a script', 'text/javascript') },
    errors: [],
  },
  {
    id: 'getReceiptCheckerStyle',
    method: 'get',
    path: '/verify/checker.css',
    tag: 'Operations',
    summary: 'Get the style of the page that checks receipts',
    scope: null,
    success: { '200': text('a style sheet', 'text/css') },
    errors: [],
  },
];
