// A page that asks for answers and verifies them in the browser: examples/browser.html, served on port 8090.
// The service must let its pages call: COUNTERSIGN_CORS_ORIGINS=http://127.0.0.1:8090 npm start. Then, in
// another terminal: node examples/browser.mjs
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const port = Number(process.env.PORT ?? 8090);
const page = readFileSync(new URL('browser.html', import.meta.url));
// One file, which bundlers take by themselves from `countersign/client`.
const client = readFileSync(new URL('browser.js', import.meta.resolve('countersign/client')));

createServer((request, response) => {
  if (request.url === '/client.js') response.setHeader('content-type', 'text/javascript').end(client);
  else if (request.url === '/') response.setHeader('content-type', 'text/html').end(page);
  else response.writeHead(404).end();
}).listen(port, '127.0.0.1', () => console.log(`open http://127.0.0.1:${port}/`));
