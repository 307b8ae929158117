// Many prompts in one file, and for each answer a proof that its verdict stands in the tree of the batch.
//   COUNTERSIGN_URL=http://127.0.0.1:8181 COUNTERSIGN_KEY=csk_… node examples/batch.mjs
import OpenAI, { toFile } from 'openai';

const openai = new OpenAI({ baseURL: `${process.env.COUNTERSIGN_URL}/v1`, apiKey: process.env.COUNTERSIGN_KEY });
const prompts = ['In the beginning', 'And it came to pass', 'Thou shalt not'];

const lines = prompts.map((prompt, number) =>
  JSON.stringify({
    custom_id: `prompt-${number}`,
    method: 'POST',
    url: '/v1/completions',
    body: { model: 'kjv-1m', prompt, max_tokens: 12 },
  }),
);
const file = await openai.files.create({
  file: await toFile(Buffer.from(lines.join('\n')), 'prompts.jsonl'),
  purpose: 'batch',
});
let batch = await openai.batches.create({
  input_file_id: file.id,
  endpoint: '/v1/completions',
  completion_window: '24h',
});
while (!['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) {
  await new Promise((resolve) => setTimeout(resolve, 500));
  batch = await openai.batches.retrieve(batch.id);
}
console.log(batch.status, batch.request_counts, batch.countersign);

const output = await (await openai.files.content(batch.output_file_id)).text();
for (const line of output.trim().split('\n')) {
  const { custom_id, response, countersign } = JSON.parse(line);
  console.log(
    custom_id,
    response.body.choices[0].text.trim().replace(/\s+/g, ' '),
    `(leaf ${countersign.receipts[0].leaf})`,
  );
}
