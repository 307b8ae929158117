import type { JSX } from 'preact';
import { Empty, Head } from './parts.tsx';
import { place } from './route.ts';
import { AuditPage, StuckPage } from './pages/audit.tsx';
import { BatchesPage } from './pages/batches.tsx';
import { JobPage } from './pages/job.tsx';
import { JobsPage } from './pages/jobs.tsx';
import { LogPage } from './pages/log.tsx';
import { MemoryPage } from './pages/memory.tsx';
import { ModelsPage } from './pages/models.tsx';
import { OverviewPage } from './pages/overview.tsx';
import { PlaygroundPage } from './pages/playground.tsx';
import { TenantsPage } from './pages/tenants.tsx';
import { UsagePage } from './pages/usage.tsx';
import { WebhooksPage } from './pages/webhooks.tsx';
import { WorkersPage } from './pages/workers.tsx';

/** The page of a name. */
export function Page({ name }: { readonly name: string }): JSX.Element {
  const [, about] = place.value.parts;
  switch (name) {
    case 'overview':
      return <OverviewPage />;
    case 'jobs':
      return about === undefined ? <JobsPage /> : <JobPage id={about} key={about} />;
    case 'workers':
      return <WorkersPage />;
    case 'log':
      return <LogPage />;
    case 'playground':
      return <PlaygroundPage />;
    case 'memory':
      return <MemoryPage />;
    case 'models':
      return <ModelsPage />;
    case 'batches':
      return <BatchesPage />;
    case 'tenants':
      return <TenantsPage />;
    case 'usage':
      return <UsagePage />;
    case 'webhooks':
      return <WebhooksPage />;
    case 'audit':
      return <AuditPage />;
    case 'stuck':
      return <StuckPage />;
    default:
      return (
        <>
          <Head title="There is no such page" />
          <Empty icon="find" title="Nothing is at this address">
            <p>The address may be of another version of the dashboard.</p>
            <a class="btn" href="#/">
              Go to the first page
            </a>
          </Empty>
        </>
      );
  }
}
