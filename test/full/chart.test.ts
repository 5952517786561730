/** The Helm chart, drawn by Helm itself. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { parseConfig } from '../../src/config.js';
import { provideHelm } from '../../src/stack/programs/index.js';
import { pathOf, read } from '../documents/generated.js';
import { describeWith } from '../support/services.js';

interface KubernetesObject {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly replicas?: number;
    readonly groups?: readonly { readonly rules: readonly object[] }[];
    readonly template?: { readonly spec: Pod };
    readonly jobTemplate?: { readonly spec: { readonly template: { readonly spec: Pod } } };
  };
}

interface Pod {
  readonly securityContext: object;
  readonly containers: readonly { readonly args: readonly string[]; readonly securityContext: object }[];
}

const CHART = pathOf('charts/keymend');
/** Everything that can be switched on. */
const ALL = {
  existingSecret: 'keymend-secrets',
  env: [{ name: 'TEMPORAL_NAMESPACE', value: 'keymend' }],
  volumes: [{ name: 'ca', secret: { secretName: 'ca' } }],
  volumeMounts: [{ name: 'ca', mountPath: '/etc/ca', readOnly: true }],
  bridge: { replicas: null, nodeSelector: { disk: 'ssd' }, podAnnotations: { a: 'b' } },
  worker: { minAvailable: null, tolerations: [{ key: 'k', operator: 'Exists' }] },
  sweeps: [{ link: 'east-to-west', schedule: '0 3 * * *', args: ['--repair'] }],
  serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  prometheusRule: { enabled: true },
  dashboard: { enabled: true },
  networkPolicy: { enabled: true, metricsFrom: [{ podSelector: {} }], egress: [{ to: [{ podSelector: {} }] }] },
  extraObjects: ['{ apiVersion: v1, kind: ConfigMap, metadata: { name: "{{ .Release.Name }}-extra" } }'],
};

await describeWith('the chart', provideHelm, (helm) => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'keymend-chart-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = (verb: string[], values: object) => {
    const file = join(folder, 'values.yaml');
    writeFileSync(file, stringify(values));
    return promisify(execFile)(helm, [...verb, CHART, '--values', file], { maxBuffer: 16 * 1024 * 1024 });
  };
  const draw = async (values: object): Promise<KubernetesObject[]> => {
    // A Helm that Go has built takes an old one for granted.
    const { stdout } = await run(['template', 'keymend', '--kube-version', '1.31.0'], values);
    return parseAllDocuments(stdout).map((document) => {
      expect(document.errors).toEqual([]);
      return document.toJS();
    });
  };

  it('has nothing that Helm would complain of', async () => {
    for (const values of [{ existingSecret: 's' }, ALL]) await run(['lint', '--strict'], values);
  });

  it('runs bridge and worker, and no process of them may write or gain a right', async () => {
    const objects = await draw(ALL);
    const nameOf = ({ kind, metadata: { name } }: KubernetesObject) =>
      kind === 'CronJob' ? name.replace(/-[0-9a-f]{8}$/, '') : name;
    const kinds = objects.map((object) => `${object.kind} ${nameOf(object)}`).sort();
    expect(kinds).toEqual([
      'ConfigMap keymend',
      'ConfigMap keymend-dashboard',
      'ConfigMap keymend-extra',
      'CronJob keymend-sweep-east-to-west',
      'Deployment keymend-bridge',
      'Deployment keymend-worker',
      'NetworkPolicy keymend',
      'PodDisruptionBudget keymend-bridge',
      'PrometheusRule keymend',
      'Service keymend',
      'ServiceAccount keymend',
      'ServiceMonitor keymend',
    ]);
    const pods = objects.flatMap(({ spec }) => spec?.template?.spec ?? spec?.jobTemplate?.spec.template.spec ?? []);
    expect(pods.map(({ containers }) => containers[0]!.args)).toEqual([
      ['bridge'],
      ['worker'],
      ['sweep', '--link', 'east-to-west', '--repair'],
    ]);
    for (const { securityContext, containers } of pods) {
      expect(securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 65532 });
      expect(containers[0]!.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
    }
    // What KEDA decides, nobody else may.
    expect(objects.find(({ metadata }) => metadata.name === 'keymend-bridge')!.spec!.replicas).toBeUndefined();
  });

  it('gives them a configuration that keymend takes, and Prometheus the rules of monitoring/', async () => {
    const objects = await draw(ALL);
    const { data } = objects.find(({ kind }) => kind === 'ConfigMap')!;
    const secrets = { SOURCE_URL: 'redis://east', TARGET_URL: 'redis://west', KEYMEND_HTTP_TOKEN: 'secret' };
    expect(parseConfig(data!['keymend.yaml']!, 'keymend.yaml', secrets).http).toMatchObject({ token: 'secret' });
    const { groups } = objects.find(({ kind }) => kind === 'PrometheusRule')!.spec!;
    const files = ['monitoring/rules.yaml', 'monitoring/alerts.yaml'].map((file) => parse(read(file)));
    expect(groups).toEqual(files.flatMap((file) => file.groups));
  });

  it('gives each sweep a CronJob of its own, with a name that Kubernetes takes', async () => {
    const [long, schedule] = ['a-link-with-a-name-that-is-far-too-long-for-a-cronjob', '0 3 * * *'];
    const sweeps = [
      ...['a.b', 'a_b', 'A_b', `${long}-1`, `${long}-2`].map((link) => ({ link, schedule })),
      { link: 'a.b', schedule: '0 4 * * 0', args: ['--repair'] },
    ];
    const objects = await draw({ existingSecret: 's', sweeps });
    const names = objects.filter(({ kind }) => kind === 'CronJob').map(({ metadata }) => metadata.name);
    expect(new Set(names).size).toBe(sweeps.length);
    for (const name of names) expect(name).toMatch(/^(?=.{1,52}$)[a-z0-9]([a-z0-9-]*[a-z0-9])$/);
  });

  it('lets sweeps go where workers may go', async () => {
    const worker = { tolerations: [{ key: 'k' }], nodeSelector: { disk: 'ssd' }, affinity: { nodeAffinity: {} } };
    const objects = await draw({ existingSecret: 's', worker, sweeps: [{ link: 'l', schedule: '0 3 * * *' }] });
    const { spec } = objects.find(({ kind }) => kind === 'CronJob')!;
    expect(spec!.jobTemplate!.spec.template.spec).toMatchObject(worker);
  });

  it.each([
    ['without a Secret', {}, /existingSecret is missing/],
    ['with a value that it does not know', { ...ALL, brigde: {} }, /brigde/],
    ['with an http of its own', { ...ALL, config: { http: {} } }, /http/],
  ])('is refused %s', async (_, values, problem) => {
    await expect(draw(values)).rejects.toThrow(problem);
  });
});
