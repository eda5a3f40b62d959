import { lazy, Suspense, useEffect } from 'react';
import { Header } from './header.tsx';
import { MinerPage } from './history/miner-page.tsx';
import { MinePage } from './mine/mine-page.tsx';
import { useInShort } from './mine/use-headline.ts';
import { useSettings } from './mine/use-settings.ts';
import { useWakeLock } from './mine/wake-lock.ts';
import { useNames } from './names.ts';
import { Nowhere } from './nowhere.tsx';
import type { Page } from './paths.ts';
import { usePage } from './router.tsx';

/** Charts are only loaded by those who look at them. */
const AuditsPage = lazy(() => import('./audits/audits-page.tsx'));
const ChainPage = lazy(() => import('./chain/chain-page.tsx'));
const DashboardPage = lazy(() => import('./dashboard/dashboard-page.tsx'));
const LeaderboardPage = lazy(() => import('./leaderboard/leaderboard-page.tsx'));
const ReplayPage = lazy(() => import('./replay/replay-page.tsx'));
const StagePage = lazy(() => import('./dashboard/stage-page.tsx'));
const PlaygroundPage = lazy(() => import('./playground/playground-page.tsx'));

export function App() {
  const page = usePage();
  return (
    <>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <Title page={page} />
      <Awake />
      <Header />
      <main id="main" tabIndex={-1}>
        <Suspense fallback={<div className="page-loading" />}>{contents(page)}</Suspense>
      </main>
    </>
  );
}

const TITLES: Record<Exclude<Page['name'], 'miner' | 'stage'>, string> = {
  mine: 'Mine',
  dashboard: 'Dashboard',
  audits: 'Audits',
  chain: 'Chain',
  playground: 'Playground',
  miners: 'Miners',
  replay: 'Replay',
  nowhere: 'No such page',
};

function contents(page: Page) {
  switch (page.name) {
    case 'mine':
      return <MinePage />;
    case 'dashboard':
      return <DashboardPage />;
    case 'audits':
      return <AuditsPage />;
    case 'chain':
      return <ChainPage />;
    case 'miners':
      return <LeaderboardPage />;
    case 'replay':
      return <ReplayPage />;
    case 'stage':
      return <StagePage key={page.index} index={page.index} />;
    case 'playground':
      return <PlaygroundPage />;
    case 'miner':
      return <MinerPage key={page.id} id={page.id} />;
    case 'nowhere':
      return <Nowhere />;
  }
}

/** A sleeping screen stops most tabs from computing. Paused, it may sleep. */
function Awake() {
  const short = useInShort();
  const { awake } = useSettings();
  useWakeLock(awake && short !== null && short.tone !== 'idle' && short.tone !== 'bad');
  return null;
}

/** The tab's title tells from afar whether it earns its keep. */
function Title({ page }: { page: Page }) {
  const nameOf = useNames(page.name === 'miner' ? [page.id] : []);
  const status = useInShort()?.text;
  const title = status ? `${status[0]!.toUpperCase()}${status.slice(1)}` : titleOf(page, nameOf);
  useEffect(() => {
    document.title = `${title} · Starling`;
  }, [title]);
  return null;
}

function titleOf(page: Page, nameOf: (id: string) => string): string {
  if (page.name === 'miner') return nameOf(page.id);
  return page.name === 'stage' ? `Stage ${page.index}` : TITLES[page.name];
}
