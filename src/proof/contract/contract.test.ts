import { expect, test } from '@jest/globals';
import type { z } from 'zod';
import type { VerifiedReceipt as ReceiptFound } from '../receipts/receipt.ts';
import type { INPUTS, OUTPUTS } from '../tasks/task-input.ts';
import type { Cancellation, Job } from './job.ts';
import type { CancelAnswer, JobDocument, WhyDocument } from './job-document.ts';
import type { JobRequest } from './job-request.ts';
import type { SubmitJob } from './submit-job.ts';
import type { TaskInputs, TaskName, TaskOutputs } from './task-types.ts';
import type { VerifiedReceipt } from './verified-receipt.ts';
import type { Why } from './why.ts';

/** True only where both types are the same in both directions, optional members included. */
type Same<A, B> = (<T>(value: T) => T extends A ? 1 : 2) extends <T>(value: T) => T extends B ? 1 : 2 ? true : false;

type Inputs = { [T in TaskName]: z.input<(typeof INPUTS)[T]> };
type Outputs = { [T in TaskName]: z.output<(typeof OUTPUTS)[T]> };

test('the plain types that the client publishes are those of the schemas that the service checks with', () => {
  // What tests here is the compiler: a member that differs makes one of these `false`, which is not `true`.
  const same = {
    job: true satisfies Same<Job, z.output<typeof JobDocument>>,
    cancellation: true satisfies Same<Cancellation, z.output<typeof CancelAnswer>>,
    why: true satisfies Same<Why, z.output<typeof WhyDocument>>,
    request: true satisfies Same<JobRequest, z.input<typeof SubmitJob>>,
    inputs: true satisfies Same<TaskInputs[TaskName], Inputs[TaskName]>,
    outputs: true satisfies Same<TaskOutputs[TaskName], Outputs[TaskName]>,
    receipt: true satisfies Same<VerifiedReceipt, ReceiptFound>,
  };
  expect(Object.values(same)).not.toContain(false);
});
