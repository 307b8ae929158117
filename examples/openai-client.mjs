// Any OpenAI client works: change the address and the key, and every answer is confirmed.
//   COUNTERSIGN_URL=http://127.0.0.1:8181 COUNTERSIGN_KEY=csk_… node examples/openai-client.mjs
import OpenAI from 'openai';

const openai = new OpenAI({ baseURL: `${process.env.COUNTERSIGN_URL}/v1`, apiKey: process.env.COUNTERSIGN_KEY });

const answer = await openai.chat.completions.create({
  model: 'kjv-1m',
  messages: [{ role: 'user', content: 'Who was Moses?' }],
  max_completion_tokens: 16,
});
console.log('answer   ', answer.choices[0].message.content.trim());
console.log('confirmed', answer.countersign.state, answer.countersign.receipt);

// Streamed text is provisional until the last frame, which comes after the verdict.
const stream = await openai.chat.completions.create({
  model: 'kjv-1m',
  messages: [{ role: 'user', content: 'And it came to pass' }],
  max_completion_tokens: 32,
  stream: true,
});
let state = 'nothing yet';
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? '');
  state = chunk.countersign?.state ?? state;
}
console.log('\nconfirmed', state);
