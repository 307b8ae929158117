import { z } from 'zod';
import { Announcement } from '../../core/catalog/announcement.ts';
import { readCatalog, type CatalogModel } from '../../core/catalog/catalog.ts';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { ApiClient } from './api-client.ts';
import type { DataFolder } from './data-folder.ts';
import type { Finding } from './finding.ts';
import { readWorkerList } from './set-up.ts';

const Participants = z.object({
  workers: z.array(Announcement),
  attestors: z.array(Announcement),
  quarantined: z.array(z.string()),
});
type Participants = z.infer<typeof Participants>;

/**
 * Asks the API who is there, and says for each model of the catalog whether a job would be worked on, and by
 * which methods it would be confirmed. Throws nothing: a failure is a finding.
 */
export async function examineAll(api: ApiClient, data: DataFolder): Promise<Finding[]> {
  try {
    const participants = Participants.parse(await api.json('/v1/workers'));
    const models = readCatalog(data.catalog()).all();
    return [
      ...models.flatMap((model) => modelFindings(model, participants)),
      ...standingFindings(data, participants),
      ...participants.attestors.map(({ id, problem }): Finding => ({
        what: `attestor ${id}`,
        ok: problem === undefined,
        found: problem ?? 'confirms',
        advice: 'its log says more; docs/log.md says what to do about log_diverged',
      })),
    ];
  } catch (error) {
    const advice = 'it needs the address of the API (COUNTERSIGN_URL) and a key with the scope operator';
    return [{ what: `API at ${api.url}`, ok: false, found: messageOf(error), advice }];
  }
}

/** Who works on a model, whether with the weights and the engine of the others, and who confirms it how. */
function modelFindings(model: CatalogModel, { workers, attestors }: Participants): Finding[] {
  const { name, sha256, pool } = model;
  const offers = workers
    .filter((worker) => worker.pool === pool && worker.state === 'consuming')
    .flatMap(({ models }) => models.filter((one) => one.name === name));
  const same = offers.filter((one) => one.sha256 === sha256);
  const versions = [...new Set(same.map(({ engine, engineVersion }) => `${engine} ${engineVersion}`))];
  const able = attestors.filter(({ problem }) => problem === undefined);
  const methods = new Set(
    able.flatMap(({ models }) =>
      models.flatMap((one) => (one.name === name && one.sha256 === sha256 ? (one.methods ?? []) : [])),
    ),
  );
  const possible = [
    ...(model.capabilities.repeats === 'no' ? [] : ['recompute']),
    ...(model.capabilities.replay === undefined ? [] : ['tokens']),
  ];
  return [
    {
      what: `model ${name}: worked on`,
      ok: same.length > 0,
      found: `${same.length} worker(s)${versions.length > 0 ? ` with ${versions.join(', ')}` : ''}`,
      advice:
        offers.length > 0
          ? `${offers.length} worker(s) offer it with other weights than the catalog: give all the same catalog and restart them`
          : `start a worker of the pool ${pool}; a catalog is read at start`,
    },
    ...(versions.length > 1
      ? [
          {
            what: `model ${name}: engines`,
            ok: false,
            found: versions.join(', '),
            advice: 'give all workers and attestors the same version: others may not repeat an answer',
          },
        ]
      : []),
    {
      what: `model ${name}: confirmed by binding`,
      ok: able.length > 0,
      found: `${able.length} attestor(s)`,
      advice: 'start an attestor',
    },
    ...possible.map((method): Finding => ({
      what: `model ${name}: confirmed by ${method}`,
      ok: methods.has(method),
      found: methods.has(method) ? 'yes' : 'no attestor offers it',
      advice: 'COUNTERSIGN_RECOMPUTE_MODELS of an attestor names it; tokens need a calibration as well',
    })),
  ];
}

/** Whether the workers that are there are believed, by the list that this machine has. */
function standingFindings(data: DataFolder, { workers, quarantined }: Participants): Finding[] {
  let entries;
  try {
    entries = readWorkerList(data).workers;
  } catch (error) {
    return [
      { what: 'list of workers', ok: false, found: messageOf(error), advice: 'COUNTERSIGN_ENROLLED_WORKERS names it' },
    ];
  }
  // A machine without a list cannot say; the attestors have theirs.
  if (entries.length === 0) return [];
  return workers.map(({ id, pool = '' }): Finding => {
    const entry = entries.find((one) => one.id === id);
    const isQuarantined = quarantined.includes(id);
    const standing = isQuarantined ? 'quarantined' : (entry?.standing.state ?? 'not on the list');
    const isAdmitted = entry?.pools.includes(pool) ?? false;
    return {
      what: `worker ${id}`,
      ok: standing === 'active' && isAdmitted,
      found: standing === 'active' && !isAdmitted ? `not admitted to the pool ${pool}` : standing,
      advice: isQuarantined
        ? 'its audits failed; countersign workers release lets it back in'
        : 'countersign workers enrol or resume; then copy the list to the attestors',
    };
  });
}
