import { randomBytes } from 'node:crypto';
import { accessSync, constants, statfsSync } from 'node:fs';
import { messageOf } from '../../ground/errors/coded-error.ts';
import type { S3Objects } from '../../ground/blobs/s3-objects.ts';
import { isS3 } from '../../ground/config/s3-place.ts';
import type { DataFolder, roleOf } from './data-folder.ts';
import type { Finding } from './finding.ts';

const MIN_FREE_BYTES = 1_073_741_824;
/** S3 refuses requests that are signed a quarter of an hour before or after its time. */
const MAX_SKEW_MS = 60_000;

/** The folders and buckets that a role writes: whether it may, and whether they are what we rely on. */
export async function storageFindings(
  role: NonNullable<ReturnType<typeof roleOf>>,
  data: DataFolder,
): Promise<Finding[]> {
  const places = {
    api: [data.blobs(), data.files()],
    courier: [data.blobs(), data.files()],
    attestor: [data.blobs(), data.log()],
    worker: [data.blobs()],
    gateway: [data.blobs()],
  }[role];
  const findings: Finding[] = [];
  for (const place of places) findings.push(isS3(place) ? await bucketFinding(data, place) : folderFinding(place));
  return findings;
}

function folderFinding(folder: string): Finding {
  const what = `folder ${folder}`;
  try {
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    const { bavail, bsize } = statfsSync(folder);
    const free = bavail * bsize;
    if (free < MIN_FREE_BYTES) throw new Error(`${Math.floor(free / 1_048_576)} MiB are free`);
    return { what, ok: true, found: `${Math.floor(free / MIN_FREE_BYTES)} GiB are free` };
  } catch (error) {
    const advice = 'its owner is the user of the role; a full disk stops the jobs that need it';
    return { what, ok: false, found: messageOf(error), advice };
  }
}

async function bucketFinding(data: DataFolder, place: string): Promise<Finding> {
  const what = `bucket ${place}`;
  try {
    const skewMs = await tryOut(data.storage().objects(place).in('probe'));
    if (Math.abs(skewMs) > MAX_SKEW_MS)
      throw new Error(`its clock differs by ${Math.round(skewMs / 1_000)} s from ours`);
    return { what, ok: true, found: 'this key may write, read, list and remove there; what is there is not replaced' };
  } catch (error) {
    const advice = 'docs/object-storage.md says what the key of each role may do, and what a server must heed';
    return { what, ok: false, found: messageOf(error), advice };
  }
}

/** Does once whatever roles do; by how much (ms) the server's clock is ahead. Throws what does not go. */
async function tryOut(objects: S3Objects): Promise<number> {
  const name = randomBytes(12).toString('hex');
  const [first, second] = [Buffer.from('the first'), Buffer.from('the second')];
  await objects.create(name, first);
  try {
    if ((await objects.create(name, second)) !== 'other')
      throw new Error('it replaces what is there: it does not heed If-None-Match');
    if ((await objects.get(name, first.length))?.equals(first) !== true) throw new Error('it gives back other bytes');
    for await (const { objects: listed, nowMs } of objects.pages(name)) {
      if (listed.length === 0) throw new Error('it lists nothing of what was just written');
      return nowMs - Date.now();
    }
    throw new Error('it lists nothing');
  } finally {
    await objects.remove(name);
  }
}
