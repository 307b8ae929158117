import { z } from 'zod';
import { deskFields } from '../admission/desk-config.ts';

/** What the courier is told. */
export const CourierConfig = z.object({ ...deskFields });
export type CourierConfig = z.infer<typeof CourierConfig>;
