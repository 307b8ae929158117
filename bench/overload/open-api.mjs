// The control: the API of this build, which admits every job.
import 'reflect-metadata';

const dist = (path) => import(new URL(`../../dist/${path}`, import.meta.url).href);
const { AdmissionRule } = await dist('core/forecast/admission-limits.js');
const { runRole } = await dist('ground/process/run-role.js');
const { ApiConfig } = await dist('roles/api/api-config.js');
const { ApiModule } = await dist('roles/api/api.module.js');
const { serveApi } = await dist('roles/api/serve-api.js');

const NEVER_MS = 1e15;
AdmissionRule.prototype.limits = () => ({
  withinMs: NEVER_MS,
  beyondMs: NEVER_MS,
  cappedMs: NEVER_MS,
  crowdMs: NEVER_MS,
  graceMs: NEVER_MS,
});
await runRole('api', ApiConfig, (config, logger) => ApiModule.with(config, logger), serveApi);
