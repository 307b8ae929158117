import { CONFIG_FOLDER, STATE_FOLDER, type InstallationPlan } from './installation-plan.ts';
import { roleEnvironments, type RoleEnvironment } from './role-environments.ts';

/** The systemd unit of every process, by its file name. */
export function systemdUnits(plan: InstallationPlan): Map<string, string> {
  return new Map(
    roleEnvironments(plan)
      // A unit is one process: only containers are started in numbers.
      .filter(({ variables }) => variables['COUNTERSIGN_JOIN_TOKEN_FILE'] === undefined)
      .map((environment) => [`countersign-${environment.folder}.service`, unitOf(environment, plan.program)]),
  );
}

/** Long enough for a role to give back what it runs. */
const STOP_S = 70;

function unitOf({ folder, role, pool }: RoleEnvironment, program: string): string {
  const writes = {
    api: ['blobs', 'files'],
    courier: ['blobs', 'files'],
    attestor: ['blobs', 'log'],
    worker: [`blobs/pools/${pool?.name ?? ''}`],
    gateway: [`blobs/pools/${pool?.name ?? ''}`],
  }[role].map((name) => `${STATE_FOLDER}/${name}`);
  return `[Unit]
Description=Countersign ${folder}
After=network-online.target
Wants=network-online.target

[Service]
User=countersign
Group=countersign
EnvironmentFile=${CONFIG_FOLDER}/${folder}/${role}.env
WorkingDirectory=${program}
ExecStart=/usr/bin/env node dist/roles/${role}/main.js
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=2
TimeoutStopSec=${STOP_S}
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths=${writes.join(' ')}

[Install]
WantedBy=multi-user.target
`;
}
