// A stand-in for an inference server of OpenAI's kind, in a process of its own. A prompt says how long it
// takes (`number=7 ms=412`), in how many pieces it comes (`pieces=10`), and the server notes when it worked
// on it. It has as many places as it is asked at once: workers have the limit.
import { createServer } from 'node:http';

/** Requests that ended: number, when (ms since the epoch) it began and ended, whether it was broken off. */
let worked = [];

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://engine');
  if (pathname === '/worked') return json(response, worked.splice(0));
  if (pathname === '/v1/models') return json(response, { data: [{ id: 'stand-in' }] });
  let body = '';
  request.setEncoding('utf8').on('data', (piece) => (body += piece));
  request.on('end', () => answer(JSON.parse(body), response));
});

function json(response, value) {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function answer({ prompt }, response) {
  const said = (name, fallback) => Number(new RegExp(`${name}=([\\d.]+)`).exec(prompt)?.[1] ?? fallback);
  const [number, ms, pieces] = [said('number', -1), said('ms', 100), said('pieces', 1)];
  const beganMs = performance.timeOrigin + performance.now();
  let timer;
  response.once('close', () => {
    clearTimeout(timer);
    worked.push([number, beganMs, performance.timeOrigin + performance.now(), !response.writableFinished]);
  });
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (frame) => response.write(`data: ${JSON.stringify(frame)}\n\n`);
  const next = (piece) => {
    const untilMs = beganMs + (ms * piece) / pieces;
    timer = setTimeout(
      () => {
        send({ choices: [{ index: 0, text: 'word ', finish_reason: piece === pieces ? 'stop' : null }] });
        if (piece < pieces) return next(piece + 1);
        send({ choices: [], usage: { prompt_tokens: 8, completion_tokens: pieces } });
        response.end('data: [DONE]\n\n');
      },
      Math.max(0, untilMs - performance.timeOrigin - performance.now()),
    );
  };
  next(1);
}

server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ ready: true, url: `http://127.0.0.1:${server.address().port}` })}\n`);
});
