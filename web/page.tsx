import type { JSX } from 'preact';
import { Empty, Head } from './parts.tsx';
import { place } from './route.ts';
import { JobPage } from './pages/job.tsx';
import { JobsPage } from './pages/jobs.tsx';
import { OverviewPage } from './pages/overview.tsx';

/** The page of a name. */
export function Page({ name }: { readonly name: string }): JSX.Element {
  const [, about] = place.value.parts;
  switch (name) {
    case 'overview':
      return <OverviewPage />;
    case 'jobs':
      return about === undefined ? <JobsPage /> : <JobPage id={about} key={about} />;
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
