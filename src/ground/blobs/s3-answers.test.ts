import { describe, expect, test } from '@jest/globals';
import { errorCodeOf, parseList } from './s3-answers.ts';
import { parseS3Place, placeIn } from '../config/s3-place.ts';

const object = (name: string, more = '<Size>3</Size>') =>
  `<Contents><Key>${name}</Key><LastModified>2026-11-27T04:36:56.015Z</LastModified><ETag>&quot;e&quot;</ETag>${more}</Contents>`;
const list = (inside: string) =>
  `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inside}</ListBucketResult>`;

describe('a list of objects', () => {
  test('is read with its folders, and where the next page begins', () => {
    const xml = list(
      `<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b=</NextContinuationToken>${object('a/b')}<CommonPrefixes><Prefix>a/c/</Prefix></CommonPrefixes>`,
    );
    const modifiedMs = Date.UTC(2026, 10, 27, 4, 36, 56, 15);
    expect(parseList(xml)).toEqual({
      objects: [{ name: 'a/b', bytes: 3, modifiedMs }],
      folders: ['a/c/'],
      next: 'a&b=',
    });
    expect(parseList(list('<IsTruncated>false</IsTruncated>'))).toEqual({ objects: [], folders: [], next: undefined });
  });

  test.each(['../other/x', 'a/../b', '/a', 'a b', 'a?x=1', 'a#b', 'a%2fb', '&lt;', 'a//b', '.x'])(
    'names nothing of ours by %s, which would lead elsewhere',
    (name) => {
      expect(parseList(list(object(name)))?.objects).toEqual([]);
    },
  );

  test.each(['', '<html></html>', list(object('a')).slice(0, -10), '<Error><Code>SlowDown</Code></Error>'])(
    'is none that is another document or was cut off: %s',
    (xml) => {
      expect(parseList(xml)).toBeUndefined();
    },
  );

  test('without a size or a time holds no object', () => {
    expect(parseList(list(object('a', '<Size>x</Size>') + object('b', '')))?.objects).toEqual([]);
  });
});

test('an error has its code, and no other document has one', () => {
  expect(errorCodeOf('<Error><Code>NoSuchKey</Code><Message></Message></Error>')).toBe('NoSuchKey');
  expect(errorCodeOf('<html>404 <Code>NoSuchKey</Code></html>')).toBeUndefined();
});

describe('a place', () => {
  test('in S3 is a bucket and a prefix', () => {
    expect(parseS3Place('s3://bucket')).toEqual({ bucket: 'bucket', prefix: '' });
    expect(parseS3Place('s3://my.bucket-1/a/b_c/')).toEqual({ bucket: 'my.bucket-1', prefix: 'a/b_c/' });
    expect(placeIn('s3://bucket/a/', 'pools', 'gold')).toBe('s3://bucket/a/pools/gold');
    expect(placeIn('/var/blobs/', 'pools', 'gold')).toBe('/var/blobs/pools/gold');
  });

  test.each([
    's3://',
    's3://B',
    's3:/bucket/a',
    's3://bucket/../a',
    's3://bucket//a',
    's3://bucket/a?b',
    's3://bucket/a b',
  ])('is not named by %s', (text) => {
    expect(parseS3Place(text)).toBeUndefined();
  });
});
