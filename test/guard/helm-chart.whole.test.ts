import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1';
import { Deployment, StatefulSet, type IDeployment, type IStatefulSet } from 'kubernetes-models/apps/v1';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { Service } from 'kubernetes-models/v1';
import { InstallationPlan } from '../../src/roles/cli/installation-plan.ts';
import { roleEnvironments } from '../../src/roles/cli/role-environments.ts';
import { chartSchema, chartValues, renderedChart, type Manifest } from '../support/helm-chart.ts';
import { ROOT } from '../support/redis.ts';

const MODELS = { Deployment, StatefulSet, Service, PodDisruptionBudget, NetworkPolicy, ScaledObject };
const isKnown = (kind: string): kind is keyof typeof MODELS => kind in MODELS;

/** What a pod is made of, of a Deployment or a StatefulSet. */
type PodSpec = NonNullable<NonNullable<(IDeployment | IStatefulSet)['spec']>['template']['spec']>;

let manifests: Manifest[];
beforeAll(async () => {
  manifests = await renderedChart(chartValues());
});
const podsOf = (all: readonly Manifest[]) =>
  all
    .filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet')
    .map(({ metadata, spec }) => ({
      name: metadata.name,
      spec: (spec as { template: { spec: PodSpec } }).template.spec,
    }));
const pods = () => podsOf(manifests);
const podOf = (name: string) => {
  const pod = pods().find((one) => one.name === name);
  if (pod === undefined) throw new Error(`The chart has no ${name}.`);
  return pod.spec;
};

describe('the chart', () => {
  test('every document is one of its kind, by the schemas of Kubernetes and KEDA', () => {
    for (const manifest of manifests) {
      const { kind } = manifest;
      if (!isKnown(kind)) throw new Error(`Nothing is known of ${kind}.`);
      const made = new MODELS[kind](manifest as never);
      expect(() => made.validate()).not.toThrow();
    }
    expect(new Set(manifests.map(({ kind }) => kind))).toEqual(new Set(Object.keys(MODELS)));
  });

  test('and has no field that they do not know', () => {
    const imports = [
      "import type { IScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1';",
      "import type { IDeployment, IStatefulSet } from 'kubernetes-models/apps/v1';",
      "import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';",
      "import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1';",
      "import type { IService } from 'kubernetes-models/v1';",
    ];
    const values = manifests.map((one, at) => `export const m${at}: I${one.kind} = ${JSON.stringify(one, null, 1)};`);
    const folder = mkdtempSync(join(tmpdir(), 'cs-chart-'));
    try {
      symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
      writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
      const file = join(folder, 'chart.ts');
      writeFileSync(file, [...imports, ...values].join('\n'));
      const tsc = join(ROOT, 'node_modules', 'typescript-native', 'bin', 'tsc');
      const options = ['--ignoreConfig', '--noEmit', '--strict', '--module', 'nodenext', '--skipLibCheck', file];
      const checked = spawnSync(process.execPath, [tsc, ...options], { encoding: 'utf8' });
      expect(checked.stdout + checked.stderr).toBe('');
      expect(checked.status).toBe(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('its values fit their schema, and no secret has a place among them', () => {
    const fits = new Ajv({ strict: false }).compile(chartSchema());
    const values = chartValues();
    expect([fits(values), fits.errors]).toEqual([true, null]);
    const redis = values['redis'] as object;
    expect(fits({ ...values, redis: { ...redis, url: 'redis://worker:pass@redis:6379' } })).toBe(false);
    expect(fits({ ...values, redis: { ...redis, password: 'pass' } })).toBe(false);
    const text = JSON.stringify(manifests);
    expect(text).not.toMatch(/PRIVATE KEY|secretKeyRef|stringData/);
  });

  test('every process runs without rights, and reads its keys alone', () => {
    expect(pods().map(({ name }) => name.replace('cs-', ''))).toEqual([
      'api',
      'attestor',
      'courier',
      'gateway-default',
      'registrar',
      'worker-default',
    ]);
    for (const { spec } of pods()) {
      expect(spec).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
      expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      expect(spec.securityContext).toMatchObject({ fsGroupChangePolicy: 'OnRootMismatch' });
      for (const { securityContext, resources } of [...(spec.initContainers ?? []), ...spec.containers]) {
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        });
        expect(resources?.limits?.['memory']).toBeDefined();
      }
    }
    const secrets = pods().map(({ spec }) => spec.volumes?.find(({ name }) => name === 'secret')?.secret?.secretName);
    expect(new Set(secrets).size).toBe(pods().length);
    // Who confirms shares no volume of a worker but the blobs, and no key with anybody.
    const claims = (name: string) => podOf(name).volumes?.flatMap((one) => one.persistentVolumeClaim?.claimName ?? []);
    expect(claims('cs-worker-default')).toEqual(['countersign-blobs', 'countersign-models']);
    expect(podOf('cs-worker-default').containers[0]?.image).toContain('countersign-worker');
  });

  test.each([
    ['', undefined],
    ['s3://bucket/prefix', { place: 's3://bucket/prefix', endpoint: 'https://s3.example', region: 'eu-1' }],
  ])('each process is told what an installation of `countersign init` tells it (%p)', async (place, objects) => {
    const values = chartValues();
    const given = { ...(values['objects'] as object), ...objects };
    const pods = podsOf(await renderedChart({ ...values, objects: given }));
    expect(new Ajv({ strict: false }).compile(chartSchema())({ ...values, objects: given })).toBe(true);
    const plan = InstallationPlan.parse({
      version: 1,
      pools: [{ name: 'default', workers: 1, invited: 1, gateway: true, gpu: false, outside: false }],
      attestorOutside: false,
      redisUrl: 'redis://redis:6379',
      url: 'http://127.0.0.1:8181',
      shard: 'cs',
      witnesses: [],
      operator: 'self',
      tenant: 'acme',
      owner: '1000:1000',
      program: '/opt/countersign',
      objects,
    });
    const specOf = (name: string) => pods.find((one) => one.name === name)?.spec;
    const told = (name: string) =>
      new Map((specOf(name)?.containers[0]?.env ?? []).map((one) => [one.name, one.value ?? '']));
    for (const { folder, variables } of roleEnvironments(plan)) {
      const name = `cs-${folder.startsWith('join-') ? folder.replace('join-', 'worker-') : folder}`;
      if (folder.startsWith('worker-')) continue;
      const own = told(name);
      for (const [variable, value] of Object.entries(variables)) {
        expect([name, variable, own.has(variable)]).toEqual([name, variable, true]);
        if (/KEY|PASSWORD|TOKEN|CATALOG|KEYRING/.test(variable))
          expect([variable, own.get(variable)?.split('/').at(-1)]).toEqual([variable, value.split('/').at(-1)]);
        if (/BLOBS|FILES|TLOG$|S3_ENDPOINT|S3_REGION/.test(variable) && !/KEY/.test(variable))
          expect([variable, own.get(variable)]).toEqual([variable, value]);
      }
    }
    // What is in S3 stands in no volume.
    const claims = pods.flatMap(({ spec }) =>
      (spec.volumes ?? []).flatMap((one) => one.persistentVolumeClaim?.claimName ?? []),
    );
    expect(claims.includes('countersign-blobs')).toBe(place === '');
    for (const { spec } of pods) {
      const volumes = new Set(spec.volumes?.map(({ name }) => name));
      for (const { name } of spec.containers[0]?.volumeMounts ?? [])
        if (name !== 'own') expect([...volumes]).toContain(name);
    }
  });

  test('a worker that is taken away ends its jobs: it is scaled by all work, drains, and has the time', () => {
    const worker = podOf('cs-worker-default');
    expect(worker.terminationGracePeriodSeconds).toBe(86_460);
    expect(worker.containers[0]?.env).toContainEqual({ name: 'COUNTERSIGN_DRAIN_ON', value: 'SIGTERM' });
    const scaled = manifests.find(({ kind }) => kind === 'ScaledObject')?.spec;
    expect(scaled).toMatchObject({
      scaleTargetRef: { kind: 'StatefulSet', name: 'cs-worker-default' },
      minReplicaCount: 1,
      triggers: [{ metadata: { query: 'max(countersign_pool_work_jobs{pool="default"})', ignoreNullValues: 'false' } }],
    });
    const set = manifests.find(({ kind }) => kind === 'StatefulSet')?.spec;
    expect(set).not.toHaveProperty('replicas');
  });

  test('who may speak to whom: Redis for all, the world for the courier, callers for api and gateway', () => {
    const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy');
    const opens = policies.map(({ metadata, spec }) => {
      const { ingress = [], egress = [] } = spec as Partial<
        Record<'ingress' | 'egress', { ports: { port: number }[] }[]>
      >;
      const portsOf = (rules: { ports: { port: number }[] }[]) =>
        rules.flatMap(({ ports }) => ports.map((one) => one.port));
      return [metadata.name, portsOf(ingress), portsOf(egress)];
    });
    expect(opens).toEqual([
      ['cs-all', [9464], [53, 53, 6379]],
      ['cs-api', [8181], []],
      ['cs-courier', [], [443]],
      ['cs-gateway-default', [8282], []],
    ]);
  });
});
