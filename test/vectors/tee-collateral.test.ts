import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Collateral, CollateralUnavailable } from '../../src/core/attestation/tee/tee-collateral.ts';
import { verifyIntelQuote, type TdxCollateral } from '../../src/core/attestation/tee/tdx.ts';
import { TeeRefused } from '../../src/core/attestation/tee/tee-refused.ts';
import { VECTORS, describeVectors } from '../support/vectors.ts';

describeVectors('collateral that the attestor fetches', () => {
  const captured = JSON.parse(readFileSync(join(VECTORS, 'tdx/tdx_quote_collateral.json')).toString()) as TdxCollateral;
  const quote = readFileSync(join(VECTORS, 'tdx/tdx_quote'));
  const evidence = { version: 1, cpu: { kind: 'tdx', quote: quote.toString('base64') } } as const;
  const asked: string[] = [];
  let server: Server;
  let pcs: string;
  let isDown = false;

  beforeAll(async () => {
    // What Intel captured once, as its service hands it out.
    server = createServer((request, response) => {
      const { pathname, search } = new URL(request.url ?? '', 'http://played');
      asked.push(`${pathname}${search}`);
      const chain = (name: string, pem: string) => ({ [name]: encodeURIComponent(pem) });
      const answers: Record<string, [Record<string, string>, string | Buffer]> = {
        '/sgx/certification/v4/pckcrl': [
          chain('SGX-PCK-CRL-Issuer-Chain', captured.pck_crl_issuer_chain),
          Buffer.from(captured.pck_crl, 'hex'),
        ],
        '/sgx/certification/v4/rootcacrl': [{}, captured.root_ca_crl],
        '/tdx/certification/v4/tcb': [
          chain('TCB-Info-Issuer-Chain', captured.tcb_info_issuer_chain),
          `{"tcbInfo":${captured.tcb_info},"signature":"${captured.tcb_info_signature}"}`,
        ],
        '/tdx/certification/v4/qe/identity': [
          chain('SGX-Enclave-Identity-Issuer-Chain', captured.qe_identity_issuer_chain),
          `{"enclaveIdentity":${captured.qe_identity},"signature":"${captured.qe_identity_signature}"}`,
        ],
      };
      const answer = answers[pathname];
      if (isDown || answer === undefined) response.writeHead(isDown ? 500 : 404).end();
      else response.writeHead(200, answer[0]).end(answer[1]);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    pcs = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  test('is what Intel signed, byte for byte, for the platform that the quote names; fetched once', async () => {
    const collateral = new Collateral({ version: 1, tdx: { pcs } });
    const { tdx } = await collateral.for(evidence);
    const { pck_certificate_chain: _, ...rest } = captured;
    expect(tdx).toEqual(rest);
    expect(await verifyIntelQuote(quote, tdx, Date.parse('2025-07-01T00:00:00Z'))).toMatchObject({
      tcbStatus: 'UpToDate',
    });
    expect(asked.find((path) => path.includes('/tcb?'))).toMatch(/fmspc=[0-9A-F]{12}$/);
    expect(asked).toHaveLength(4);
    await collateral.for(evidence);
    expect(asked).toHaveLength(4);
  });

  test('is not there where its maker is not, and no evidence is refuted for that', async () => {
    isDown = true;
    const collateral = new Collateral({ version: 1, tdx: { pcs } });
    await expect(collateral.for(evidence)).rejects.toBeInstanceOf(CollateralUnavailable);
    isDown = false;
  });

  test('is not asked for where evidence names no platform, or the operator no source', async () => {
    const before = asked.length;
    const cpu = { kind: 'tdx', quote: Buffer.alloc(700, 1).toString('base64') } as const;
    await expect(new Collateral({ version: 1, tdx: { pcs } }).for({ version: 1, cpu })).rejects.toBeInstanceOf(
      TeeRefused,
    );
    await expect(new Collateral({ version: 1 }).for(evidence)).rejects.toBeInstanceOf(TeeRefused);
    expect(asked).toHaveLength(before);
  });
});
