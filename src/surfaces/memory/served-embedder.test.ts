import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from '@jest/globals';
import { ServedEmbedder } from './served-embedder.ts';

/** A server that answers each request with what this says of its body. */
async function serverOf(answer: (body: { model: string; input: string[] }, key: string) => unknown) {
  const server = createServer((request, response) => {
    void (async () => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(Buffer.from(piece as Uint8Array));
      const body = JSON.parse(Buffer.concat(pieces).toString()) as { model: string; input: string[] };
      response.end(JSON.stringify(answer(body, request.headers.authorization ?? '')));
    })();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/v1`, [Symbol.asyncDispose]: () => closed(server) };
}

const closed = (server: ReturnType<typeof createServer>) =>
  new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

test('vectors stand in the order of their texts, at length 1, whatever order the server answers in', async () => {
  const seen: string[] = [];
  await using server = await serverOf(({ model, input }, key) => {
    seen.push(`${model} ${key} ${input.length}`);
    const data = input.map((text, index) => ({ index, embedding: [text.length, 0, 0] }));
    return { data: data.reverse().map((one, at) => (at === 0 ? { ...one, embedding: [0, 3, 4] } : one)) };
  });
  const embedder = new ServedEmbedder({ url: server.url, model: 'm', key: 'secret' });
  const texts = Array.from({ length: 65 }, (_, at) => 'x'.repeat(at + 1));
  const vectors = await embedder.embed(texts);
  expect(seen).toEqual(['m Bearer secret 64', 'm Bearer secret 1']);
  expect(vectors).toHaveLength(65);
  expect([...(vectors[0]?.values ?? [])]).toEqual([1, 0, 0]);
  expect([...(vectors[63]?.values ?? [])].map((value) => value.toFixed(1))).toEqual(['0.0', '0.6', '0.8']);
  expect(new Set(vectors.map((vector) => vector.embedder)).size).toBe(1);
});

test('a server that answers too few vectors, of other lengths, or none, is no embedder', async () => {
  for (const data of [
    [],
    [{ index: 0, embedding: [1] }],
    [
      { index: 0, embedding: [1] },
      { index: 1, embedding: [1, 2] },
    ],
    [{ index: 0, embedding: 'x' }],
  ]) {
    await using server = await serverOf(() => ({ data }));
    const embedder = new ServedEmbedder({ url: server.url, model: 'm', key: undefined });
    await expect(embedder.embed(['a', 'b'])).rejects.toMatchObject({ code: 'memory_unavailable' });
  }
  const nobody = new ServedEmbedder({ url: 'http://127.0.0.1:1/v1', model: 'm', key: undefined });
  await expect(nobody.embed(['a'])).rejects.toMatchObject({ code: 'memory_unavailable' });
});
