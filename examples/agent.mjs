// An agent that acts on confirmed answers only: the receipt is verified here, against a keyring that the
// agent brings. COUNTERSIGN_URL=… COUNTERSIGN_KEY=csk_… COUNTERSIGN_KEYRING_FILE=keyring.json node
// examples/agent.mjs
import { readFileSync } from 'node:fs';
import { Countersign } from 'countersign/client';

const missing = ['COUNTERSIGN_URL', 'COUNTERSIGN_KEY', 'COUNTERSIGN_KEYRING_FILE'].filter((name) => !process.env[name]);
if (missing.length > 0) {
  console.error(`error: set ${missing.join(', ')}`);
  console.error(
    'hint: after npm start: COUNTERSIGN_URL=http://127.0.0.1:8181 COUNTERSIGN_KEY=$(cat .countersign/dev.key) \\',
  );
  console.error('        COUNTERSIGN_KEYRING_FILE=.countersign/keyring.json node examples/agent.mjs');
  process.exit(2);
}

const client = new Countersign({
  url: process.env.COUNTERSIGN_URL,
  key: process.env.COUNTERSIGN_KEY,
  keyring: JSON.parse(readFileSync(process.env.COUNTERSIGN_KEYRING_FILE, 'utf8')),
});

async function decide(prompt) {
  try {
    const { output, verified } = await client.run({
      model: 'kjv-1m',
      task: 'completion',
      input: { prompt },
      params: { max_tokens: 8, temperature: 0 },
      attestation: { recompute: 1 },
    });
    // What was promised is what was done: a receipt without it would not have verified.
    if (!verified.verdict.properties.includes('OUTPUT_RECOMPUTED_EXACT')) throw new Error('nobody computed it again');
    return { act: true, because: output.text.trim() };
  } catch (error) {
    return { act: false, because: error.message };
  }
}

console.log(await decide('In the beginning'));
console.log(await decide('x'.repeat(100_000)));
