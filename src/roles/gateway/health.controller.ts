import { Controller, Get } from '@nestjs/common';
import { CodedError } from '../../ground/errors/coded-error.ts';
import { isUpstreamUp } from '../../ground/metrics/process-metrics.ts';

/** Whether this process lives, and whether workers can be sent here. */
@Controller()
export class HealthController {
  @Get('/health/live')
  live(): { live: true } {
    return { live: true };
  }

  @Get('/health/ready')
  ready(): { ready: true } {
    if (!isUpstreamUp())
      throw new CodedError('storage_unavailable', 'The storage does not respond at the moment.', {
        headers: { 'retry-after': '1' },
      });
    return { ready: true };
  }
}
