import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { z } from 'zod';

const TOKEN = 'hvs.of-the-test';
const PATH = /^\/v1\/transit\/(?<action>keys|encrypt|decrypt|rewrap)\/countersign$/;
const Asked = z.object({ plaintext: z.base64().optional(), ciphertext: z.string().optional() });

/**
 * A server that speaks what the documentation of Vault's transit engine says: reading a key, encrypt, decrypt
 * and rewrap of one key of AES-GCM, its versions, its token and its errors.
 */
export class PlayedVault {
  readonly #server: Server;
  readonly #versions: Buffer[] = [randomBytes(32)];
  /** The oldest version that still opens something. */
  minDecryptionVersion = 1;
  isSealed = false;
  asked: string[] = [];

  private constructor() {
    this.#server = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => {
        const { action } = PATH.exec(request.url ?? '')?.groups ?? {};
        const { status, body } = this.#answer(
          action,
          request.headers['x-vault-token'],
          Buffer.concat(pieces).toString(),
        );
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      });
    });
  }

  static async start(): Promise<PlayedVault> {
    const vault = new PlayedVault();
    await new Promise<void>((resolve) => vault.#server.listen(0, '127.0.0.1', resolve));
    return vault;
  }

  get place() {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('The server listens.');
    return { url: `http://127.0.0.1:${address.port}`, mount: 'transit', key: 'countersign', token: TOKEN };
  }

  rotate(): void {
    this.#versions.push(randomBytes(32));
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #answer(action: string | undefined, token: unknown, text: string): { status: number; body: unknown } {
    const errors = (status: number, ...all: string[]) => ({ status, body: { errors: all } });
    this.asked.push(action ?? 'unknown');
    if (this.isSealed) return errors(503, 'Vault is sealed');
    if (token !== TOKEN) return errors(403, 'permission denied');
    if (action === undefined) return errors(404);
    const latest = this.#versions.length;
    if (action === 'keys') return { status: 200, body: { data: { type: 'aes256-gcm96', latest_version: latest } } };
    const { plaintext, ciphertext } = Asked.parse(JSON.parse(text));
    if (action === 'encrypt')
      return { status: 200, body: { data: this.#encrypted(Buffer.from(plaintext ?? '', 'base64')) } };
    const opened = this.#decrypted(ciphertext ?? '');
    if (opened === undefined) return errors(400, 'invalid ciphertext');
    return {
      status: 200,
      body: { data: action === 'rewrap' ? this.#encrypted(opened) : { plaintext: opened.toString('base64') } },
    };
  }

  #encrypted(plain: Buffer): { ciphertext: string; key_version: number } {
    const version = this.#versions.length;
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#versions[version - 1] ?? '', nonce);
    const bytes = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    return { ciphertext: `vault:v${version}:${bytes.toString('base64')}`, key_version: version };
  }

  #decrypted(ciphertext: string): Buffer | undefined {
    const { version = '0', text = '' } = /^vault:v(?<version>\d+):(?<text>.+)$/.exec(ciphertext)?.groups ?? {};
    const key = this.#versions[Number(version) - 1];
    const bytes = Buffer.from(text, 'base64');
    if (key === undefined || Number(version) < this.minDecryptionVersion || bytes.length < 28) return undefined;
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
    decipher.setAuthTag(bytes.subarray(-16));
    return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
  }
}
