import { useEffect } from 'react';
import { Header } from './header.tsx';
import { MinerPage } from './history/miner-page.tsx';
import { MinePage } from './mine/mine-page.tsx';
import { useInShort } from './mine/use-headline.ts';
import { useSettings } from './mine/use-settings.ts';
import { useWakeLock } from './mine/wake-lock.ts';
import { useNames } from './names.ts';
import { Nowhere } from './nowhere.tsx';
import { onDemand, Part } from './part.tsx';
import type { Page } from './paths.ts';
import { usePage } from './router.tsx';

/** Charts are only loaded by those who look at them. */
const AuditsPage = onDemand(() => import('./audits/audits-page.tsx'));
const ChainPage = onDemand(() => import('./chain/chain-page.tsx'));
const DashboardPage = onDemand(() => import('./dashboard/dashboard-page.tsx'));
const LeaderboardPage = onDemand(() => import('./leaderboard/leaderboard-page.tsx'));
const ReplayPage = onDemand(() => import('./replay/replay-page.tsx'));
const StagePage = onDemand(() => import('./dashboard/stage-page.tsx'));
const PlaygroundPage = onDemand(() => import('./playground/playground-page.tsx'));

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
        {/* Every page is a part of its own: what became of one says nothing of the next. */}
        <Part key={Object.values(page).join(' ')} name="This page" wait={<div className="page-loading" />}>
          {contents(page)}
        </Part>
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
      return <StagePage index={page.index} />;
    case 'playground':
      return <PlaygroundPage />;
    case 'miner':
      return <MinerPage id={page.id} />;
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
