// A receiver that takes messages only with a signature that verifies, and each message once.
// COUNTERSIGN_URL=… COUNTERSIGN_KEY=csk_… node examples/webhook-receiver.mjs The service must be allowed to
// send here: COUNTERSIGN_WEBHOOK_PRIVATE=allow, since this is not a public address.
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

function fail(message, hint) {
  console.error(`error: ${message}`);
  console.error(`hint: ${hint}`);
  process.exit(2);
}

const missing = ['COUNTERSIGN_URL', 'COUNTERSIGN_KEY'].filter((name) => !process.env[name]);
if (missing.length > 0)
  fail(
    `set ${missing.join(', ')}`,
    'after npm start: COUNTERSIGN_URL=http://127.0.0.1:8181 COUNTERSIGN_KEY=$(cat .countersign/dev.key) node examples/webhook-receiver.mjs',
  );

const url = process.env.COUNTERSIGN_URL;
const headers = { authorization: `Bearer ${process.env.COUNTERSIGN_KEY}`, 'content-type': 'application/json' };
const { secret, detail } = await (await fetch(`${url}/v1/webhooks/default/secret`, { headers })).json();
if (secret === undefined) fail(`there is no secret: ${detail}`, 'the key needs the scopes submit and read');
const hook = new Webhook(secret);
const seen = new Set();

const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  try {
    const event = hook.verify(Buffer.concat(pieces).toString(), request.headers);
    // A message may come twice; it has the same id then.
    const isNew = !seen.has(request.headers['webhook-id']);
    seen.add(request.headers['webhook-id']);
    response.writeHead(204).end();
    if (isNew) console.log(event.type, event.data.job, event.data.links.receipt);
  } catch {
    response.writeHead(401).end();
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const submitted = await fetch(`${url}/v1/jobs`, {
  method: 'POST',
  headers,
  body: JSON.stringify({
    model: 'kjv-1m',
    task: 'completion',
    input: { prompt: 'Behold' },
    params: { max_tokens: 8 },
    webhook: { url: `http://127.0.0.1:${server.address().port}/` },
  }),
});
if (!submitted.ok) {
  const { code, detail } = await submitted.json();
  fail(
    `the job was refused: ${code}: ${detail}`,
    'a webhook to this machine must be allowed: stop npm start, and give COUNTERSIGN_WEBHOOK_PRIVATE=allow npm start',
  );
}
while (seen.size === 0) await new Promise((resolve) => setTimeout(resolve, 100));
server.close();
server.closeAllConnections();
