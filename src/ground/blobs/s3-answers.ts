/** An object as a list names it. */
export interface ListedObject {
  readonly name: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** A page of a list. `folders` are the names up to the next slash, where they were asked for. */
export interface ListPage {
  readonly objects: readonly ListedObject[];
  readonly folders: readonly string[];
  /** Where the next page begins; undefined after the last. */
  readonly next: string | undefined;
}

/** No name of ours leads out of where it stands. */
const OURS = /^[\w-][\w.-]*(?:\/[\w-][\w.-]*)*$/;

/**
 * The page of a list that a server of S3 answers with; undefined for anything else. Our names are made of
 * letters, digits and `/._-`, which XML writes as they are: whatever does not read so is none of ours.
 */
export function parseList(xml: string): ListPage | undefined {
  if (!/<ListBucketResult[\s>]/.test(xml) || !xml.includes('</ListBucketResult>')) return undefined;
  const objects = blocksOf(xml, 'Contents').flatMap((block): ListedObject[] => {
    const [name, bytes] = [textOf(block, 'Key'), Number(textOf(block, 'Size'))];
    const modifiedMs = Date.parse(textOf(block, 'LastModified') ?? '');
    return name === undefined || !OURS.test(name) || !Number.isSafeInteger(bytes) || Number.isNaN(modifiedMs)
      ? []
      : [{ name, bytes, modifiedMs }];
  });
  const folders = blocksOf(xml, 'CommonPrefixes')
    .flatMap((block) => textOf(block, 'Prefix') ?? [])
    .filter((name) => OURS.test(name.slice(0, -1)));
  const next = textOf(xml, 'IsTruncated') === 'true' ? textOf(xml, 'NextContinuationToken') : undefined;
  return { objects, folders, next };
}

/** The code of an error that a server of S3 answers with; undefined where it says none. */
export function errorCodeOf(xml: string): string | undefined {
  return /<Error[\s>]/.test(xml) ? textOf(xml, 'Code') : undefined;
}

/** The text of an element; undefined where there is none, or an empty one. */
export function textOf(xml: string, element: string): string | undefined {
  const [, text = ''] = new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml) ?? [];
  return text === ''
    ? undefined
    : text.replaceAll(/&(amp|lt|gt|quot|apos);/g, (_, name) => ENTITIES[String(name)] ?? '');
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function blocksOf(xml: string, element: string): string[] {
  return [...xml.matchAll(new RegExp(`<${element}>.*?</${element}>`, 'gs'))].map(([block]) => block);
}
