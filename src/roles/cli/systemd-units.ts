import { CONFIG_FOLDER, STATE_FOLDER, type InstallationPlan } from './installation-plan.ts';
import { roleEnvironments, type RoleEnvironment } from './role-environments.ts';

/** The systemd unit of every process, that of Redis too, by its file name. */
export function systemdUnits(plan: InstallationPlan): Map<string, string> {
  const roles = roleEnvironments(plan)
    // A unit is one process: only containers are started in numbers.
    .filter(({ variables }) => variables['COUNTERSIGN_JOIN_TOKEN_FILE'] === undefined)
    .map((environment) => unitOf(environment, plan));
  return new Map([REDIS, ...roles].map((unit) => [`countersign-${unit.folder}.service`, textOf(unit)]));
}

interface Unit {
  readonly folder: string;
  /** What it may write to, under STATE_FOLDER. */
  readonly writes: readonly string[];
  /** The lines of what it runs, and under what. */
  readonly runs: readonly string[];
}

const REDIS: Unit = {
  folder: 'redis',
  writes: ['redis'],
  runs: [`ExecStart=/usr/bin/env redis-server ${CONFIG_FOLDER}/redis/redis.conf`, 'LimitNOFILE=65536'],
};

/** Long enough for a role to give back what it runs. */
const STOP_S = 70;

function unitOf({ folder, role, pool }: RoleEnvironment, { program, objects }: InstallationPlan): Unit {
  const ofPool = `blobs/pools/${pool?.name ?? ''}`;
  const shared = {
    api: ['blobs', 'files'],
    courier: ['blobs', 'files'],
    attestor: ['blobs', 'log'],
    worker: [ofPool],
    gateway: [ofPool],
  }[role];
  const runs = [
    `EnvironmentFile=${CONFIG_FOLDER}/${folder}/${role}.env`,
    `WorkingDirectory=${program}`,
    `ExecStart=/usr/bin/env node dist/roles/${role}/main.js`,
    'ExecReload=/bin/kill -HUP $MAINPID',
  ];
  return { folder, writes: objects === undefined ? shared : [], runs };
}

function textOf({ folder, writes, runs }: Unit): string {
  return `[Unit]
Description=Countersign ${folder}
After=network-online.target
Wants=network-online.target

[Service]
User=countersign
Group=countersign
${runs.join('\n')}
Restart=always
RestartSec=2
TimeoutStopSec=${STOP_S}
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=${writes.map((name) => `${STATE_FOLDER}/${name}`).join(' ')}

[Install]
WantedBy=multi-user.target
`;
}
