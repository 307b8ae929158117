import { CodedError } from '../errors/coded-error.ts';
import type { ObjectConfig } from '../config/object-fields.ts';
import { S3Client } from './s3-client.ts';
import { S3Objects } from './s3-objects.ts';
import { isS3, parseS3Place } from '../config/s3-place.ts';
import type { BlobStore } from './blob-store.ts';
import { FolderTree, ObjectTree, type FileTree } from './file-tree.ts';
import { FolderBlobs } from './folder-blobs.ts';
import { folderRecords, objectRecords, type Records } from './records.ts';
import { S3Blobs } from './s3-blobs.ts';

/** Opens what a role keeps, be its place a folder or one in S3. */
export class Storage {
  readonly #config: Partial<ObjectConfig>;
  #client: S3Client | undefined;

  /** What is left out is missed when a place in S3 is opened. */
  constructor(config: Partial<ObjectConfig> = {}) {
    this.#config = config;
  }

  /** Throws CodedErrors `config_invalid` and `key_file_unfit`. */
  blobs(place: string): BlobStore {
    return isS3(place) ? new S3Blobs(this.objects(place)) : new FolderBlobs(place);
  }

  /** Throws as `blobs`. */
  records(place: string): Records {
    return isS3(place) ? objectRecords(this.objects(place)) : folderRecords(place);
  }

  /** Throws as `blobs`. */
  files(place: string): FileTree {
    return isS3(place) ? new ObjectTree(this.objects(place)) : new FolderTree(place);
  }

  /** The objects in a place of S3. Throws as `blobs`. */
  objects(place: string): S3Objects {
    const parsed = parseS3Place(place);
    if (parsed === undefined)
      throw new CodedError('config_invalid', `${place} is no address such as s3://bucket/prefix.`);
    this.#client ??= clientOf(this.#config);
    return new S3Objects(this.#client, parsed);
  }
}

function clientOf({
  COUNTERSIGN_S3_ENDPOINT: endpoint,
  COUNTERSIGN_S3_REGION: region = 'us-east-1',
  COUNTERSIGN_S3_KEY_FILE: keyFile,
}: Partial<ObjectConfig>): S3Client {
  if (keyFile === undefined)
    throw new CodedError('config_invalid', 'COUNTERSIGN_S3_KEY_FILE is missing, and a place in S3 is configured.');
  return new S3Client({ endpoint: endpoint ?? `https://s3.${region}.amazonaws.com`, region, keyFile });
}
