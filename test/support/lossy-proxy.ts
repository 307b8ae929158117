import { createServer, connect, type Server, type Socket } from 'node:net';
import { rmSync } from 'node:fs';

/**
 * Stands between a process and Redis on unix sockets, and now and then breaks the connection after a request
 * was passed on and before its reply comes back: what was asked has happened, and whoever asked does not
 * know. It can also be cut: then it takes everything, passes nothing on and says nothing, as a network does
 * that is parted.
 */
export class LossyProxy implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #path: string;
  #requests = 0;
  #isCut = false;
  /** Replies that were swallowed. */
  lost = 0;

  private constructor(path: string, server: Server) {
    this.url = `unix://${path}`;
    this.#path = path;
    this.#server = server;
  }

  /** `every`: of how many scripts one loses its reply; none where it is 0. */
  static async start(path: string, target: string, every: number): Promise<LossyProxy> {
    const server = createServer();
    const proxy = new LossyProxy(path, server);
    server.on('connection', (client) => proxy.#serve(client, connect(target), every));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return proxy;
  }

  /** From here on nothing comes through, and no connection breaks. */
  cut(): void {
    this.#isCut = true;
  }

  /** What was held up meanwhile is lost with its connections; new ones come through. */
  heal(): void {
    this.#isCut = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(client: Socket, redis: Socket, every: number): void {
    let swallowing = false;
    for (const socket of [client, redis]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        client.destroy();
        redis.destroy();
      });
    }
    client.on('data', (bytes) => {
      if (this.#isCut) return;
      if (/evalsha/i.test(bytes.toString('latin1'))) {
        this.#requests += 1;
        swallowing = every > 0 && this.#requests % every === 0;
      }
      redis.write(bytes);
    });
    redis.on('data', (bytes) => {
      if (this.#isCut) return;
      if (!swallowing) {
        client.write(bytes);
        return;
      }
      this.lost += 1;
      client.destroy();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#path, { force: true });
  }
}
