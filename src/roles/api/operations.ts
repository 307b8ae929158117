import { ADMIN_OPERATIONS } from './admin.operations.ts';
import { BATCH_OPERATIONS } from './batches.operations.ts';
import { CHECKER_OPERATIONS } from './checker.operations.ts';
import { DIRECTORY_OPERATIONS } from './directory.operations.ts';
import { FILE_OPERATIONS } from './files.operations.ts';
import { JOB_OPERATIONS } from './jobs.operations.ts';
import { LOG_OPERATIONS } from './log.operations.ts';
import { MEM0_OPERATIONS } from './mem0.operations.ts';
import { MCP_OPERATIONS } from './mcp.operations.ts';
import { MEMORY_OPERATIONS } from './memories.operations.ts';
import { OPENAI_OPERATIONS } from './openai.operations.ts';
import type { Operation } from './operation.ts';
import { OVERVIEW_OPERATIONS } from './overview.operations.ts';
import { POOL_OPERATIONS } from './pools.operations.ts';
import { RESPONSE_OPERATIONS } from './responses.operations.ts';
import { SCHEDULE_OPERATIONS } from './schedules.operations.ts';
import { SESSION_OPERATIONS } from './session.operations.ts';
import { TENANT_OPERATIONS } from './tenant.operations.ts';
import { USAGE_OPERATIONS } from './usage.operations.ts';
import { WEBHOOK_OPERATIONS } from './webhooks.operations.ts';

/** Every route of the API, in the order in which it is described. */
export const OPERATIONS: readonly Operation[] = [
  ...JOB_OPERATIONS,
  ...OPENAI_OPERATIONS,
  ...FILE_OPERATIONS,
  ...BATCH_OPERATIONS,
  ...SCHEDULE_OPERATIONS,
  ...MEMORY_OPERATIONS,
  ...MCP_OPERATIONS,
  ...MEM0_OPERATIONS,
  ...WEBHOOK_OPERATIONS,
  ...USAGE_OPERATIONS,
  ...TENANT_OPERATIONS,
  ...ADMIN_OPERATIONS,
  ...POOL_OPERATIONS,
  ...RESPONSE_OPERATIONS,
  ...SESSION_OPERATIONS,
  ...OVERVIEW_OPERATIONS,
  ...DIRECTORY_OPERATIONS,
  ...CHECKER_OPERATIONS,
  ...LOG_OPERATIONS,
];
