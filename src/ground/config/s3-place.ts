import { join } from 'node:path';

const PLACE = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:\/[\w-][\w.-]*)*)\/?$/;

/** A bucket, and what the names of all our objects in it begin with: "" or names with a slash after each. */
export interface S3Place {
  readonly bucket: string;
  readonly prefix: string;
}

/** Whether this names objects of S3, and no folder. */
export const isS3 = (place: string): boolean => place.startsWith('s3:');

/** The place that `s3://bucket/prefix` names; undefined where that is no such address. */
export function parseS3Place(text: string): S3Place | undefined {
  const [, bucket, path = ''] = PLACE.exec(text) ?? [];
  return bucket === undefined ? undefined : { bucket, prefix: path === '' ? '' : `${path.slice(1)}/` };
}

/** The place with this name in another one, be that a folder or a prefix of S3. */
export function placeIn(place: string, ...names: readonly string[]): string {
  return isS3(place) ? [place.replace(/\/$/, ''), ...names].join('/') : join(place, ...names);
}
