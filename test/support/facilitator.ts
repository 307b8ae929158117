import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { verifyTypedData, type Hex } from 'viem';

const CHAIN = 84532;
const PERMIT2 = '0x000000000022D473030F116dDEE9F6B43aC78BA3';
const TRANSFER = {
  TransferWithAuthorization: [
    { name: 'from', type: 'address' },
    { name: 'to', type: 'address' },
    { name: 'value', type: 'uint256' },
    { name: 'validAfter', type: 'uint256' },
    { name: 'validBefore', type: 'uint256' },
    { name: 'nonce', type: 'bytes32' },
  ],
} as const;
const PERMIT = {
  PermitWitnessTransferFrom: [
    { name: 'permitted', type: 'TokenPermissions' },
    { name: 'spender', type: 'address' },
    { name: 'nonce', type: 'uint256' },
    { name: 'deadline', type: 'uint256' },
    { name: 'witness', type: 'Witness' },
  ],
  TokenPermissions: [
    { name: 'token', type: 'address' },
    { name: 'amount', type: 'uint256' },
  ],
  Witness: [
    { name: 'to', type: 'address' },
    { name: 'facilitator', type: 'address' },
    { name: 'validAfter', type: 'uint256' },
  ],
} as const;

type Words = Record<string, string>;
interface Asked {
  paymentPayload: { payload: { signature: Hex; authorization?: Words; permit2Authorization?: Permit } };
  paymentRequirements: { scheme: string; asset: Hex; payTo: string; amount: string; extra: Words };
}
type Permit = { from: Hex; spender: Hex; nonce: string; deadline: string; permitted: Words; witness: Words };

export interface Transfer {
  readonly from: string;
  readonly to: string;
  readonly amount: bigint;
}

/**
 * A facilitator with a chain in memory: it verifies signatures as a real one does, knows balances, and lets
 * each nonce through once. It can be told to misbehave.
 */
export class LocalFacilitator implements AsyncDisposable {
  static readonly network = `eip155:${CHAIN}`;
  readonly address = '0x00000000000000000000000000000000000fac11';
  readonly balances = new Map<string, bigint>();
  readonly transfers: Transfer[] = [];
  readonly calls: string[] = [];
  /** What it does instead, as long as it stands here. */
  mood: 'well' | 'broken' | 'settles-and-hangs-up' | 'names-another-payer' = 'well';
  readonly #used = new Set<string>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request: IncomingMessage, response) => {
      void this.#answer(request).then(
        ({ status, body }) => {
          if (body === undefined) request.socket.destroy();
          else response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
        },
        (error: unknown) => response.writeHead(500).end(String(error)),
      );
    });
  }

  static async start(): Promise<LocalFacilitator> {
    const server = createServer();
    const facilitator = new LocalFacilitator(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return facilitator;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  fund(address: string, units: bigint): void {
    this.balances.set(address.toLowerCase(), units);
  }

  async #answer(request: IncomingMessage): Promise<{ status: number; body?: object }> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const asked = JSON.parse(Buffer.concat(pieces).toString()) as Asked;
    const what = request.url ?? '';
    this.calls.push(what);
    if (this.mood === 'broken') return { status: 502, body: { oops: true } };
    const payment = await this.#read(asked);
    const payer = this.mood === 'names-another-payer' ? `0x${'7'.repeat(40)}` : payment.from;
    if (what === '/verify')
      return payment.problem === undefined
        ? { status: 200, body: { isValid: true, payer } }
        : { status: 200, body: { isValid: false, invalidReason: payment.problem, payer } };
    const amount = BigInt(asked.paymentRequirements.amount);
    if (payment.problem !== undefined || amount > payment.most)
      return {
        status: 200,
        body: {
          success: false,
          errorReason: payment.problem ?? 'settlement_exceeds_amount',
          transaction: '',
          network: LocalFacilitator.network,
        },
      };
    this.#used.add(payment.nonce);
    this.balances.set(payment.from, (this.balances.get(payment.from) ?? 0n) - amount);
    this.transfers.push({ from: payment.from, to: asked.paymentRequirements.payTo, amount });
    if (this.mood === 'settles-and-hangs-up') return { status: 0 };
    const transaction = `0x${String(this.transfers.length).padStart(64, '0')}`;
    return { status: 200, body: { success: true, transaction, network: LocalFacilitator.network, payer } };
  }

  async #read({ paymentPayload: { payload }, paymentRequirements: wanted }: Asked) {
    const { authorization, permit2Authorization: permit, signature } = payload;
    const now = Math.floor(Date.now() / 1_000);
    const signed =
      authorization !== undefined
        ? {
            from: authorization['from'] ?? '',
            to: authorization['to'],
            nonce: authorization['nonce'] ?? '',
            most: BigInt(authorization['value'] ?? 0),
            until: Number(authorization['validBefore']),
            isSigned: await verifyTypedData({
              address: authorization['from'] as Hex,
              domain: {
                name: wanted.extra['name'] ?? '',
                version: wanted.extra['version'] ?? '',
                chainId: CHAIN,
                verifyingContract: wanted.asset,
              },
              types: TRANSFER,
              primaryType: 'TransferWithAuthorization',
              message: {
                from: authorization['from'] as Hex,
                to: authorization['to'] as Hex,
                value: BigInt(authorization['value'] ?? 0),
                validAfter: BigInt(authorization['validAfter'] ?? 0),
                validBefore: BigInt(authorization['validBefore'] ?? 0),
                nonce: authorization['nonce'] as Hex,
              },
              signature,
            }),
          }
        : await this.#readPermit(permit as Permit, signature);
    const from = signed.from.toLowerCase();
    const isExact = wanted.scheme === 'exact';
    const problem = !signed.isSigned
      ? 'invalid_signature'
      : signed.to?.toLowerCase() !== wanted.payTo.toLowerCase()
        ? 'recipient_mismatch'
        : isExact && signed.most !== BigInt(wanted.amount)
          ? 'value_mismatch'
          : signed.until <= now
            ? 'expired'
            : this.#used.has(signed.nonce)
              ? 'nonce_already_used'
              : (this.balances.get(from) ?? 0n) < BigInt(wanted.amount)
                ? 'insufficient_funds'
                : undefined;
    return { from, most: signed.most, nonce: signed.nonce, problem };
  }

  async #readPermit(permit: Permit, signature: Hex) {
    const { from, spender, nonce, deadline, permitted, witness } = permit;
    return {
      from: from as string,
      to: witness['to'],
      nonce,
      most: BigInt(permitted['amount'] ?? 0),
      until: Number(deadline),
      isSigned: await verifyTypedData({
        address: from,
        domain: { name: 'Permit2', chainId: CHAIN, verifyingContract: PERMIT2 },
        types: PERMIT,
        primaryType: 'PermitWitnessTransferFrom',
        message: {
          permitted: { token: permitted['token'] as Hex, amount: BigInt(permitted['amount'] ?? 0) },
          spender,
          nonce: BigInt(nonce),
          deadline: BigInt(deadline),
          witness: {
            to: witness['to'] as Hex,
            facilitator: witness['facilitator'] as Hex,
            validAfter: BigInt(witness['validAfter'] ?? 0),
          },
        },
        signature,
      }),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
