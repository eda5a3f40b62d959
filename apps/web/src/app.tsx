import { lazy, Suspense, useEffect } from 'react';
import { compact } from './format.ts';
import { Header } from './header.tsx';
import { MinerPage } from './history/miner-page.tsx';
import { TONES } from './mine/activity.ts';
import { MinePage } from './mine/mine-page.tsx';
import { useMiner } from './mine/mining.ts';
import { useSettings } from './mine/use-settings.ts';
import { useWakeLock } from './mine/wake-lock.ts';
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
  useTitle(TITLES[page.name]);
  useAwake();
  return (
    <>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <Header />
      <main id="main" tabIndex={-1}>
        <Suspense fallback={<div className="page-loading" />}>{contents(page)}</Suspense>
      </main>
    </>
  );
}

const TITLES: Record<Page['name'], string> = {
  mine: 'Mine',
  dashboard: 'Dashboard',
  audits: 'Audits',
  chain: 'Chain',
  playground: 'Playground',
  miners: 'Miners',
  replay: 'Replay',
  stage: 'Stage',
  miner: 'Miner',
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
  }
}

/** A sleeping screen stops most tabs from computing. */
function useAwake(): void {
  const miner = useMiner();
  const { awake } = useSettings();
  useWakeLock(awake && miner !== null && miner.activity !== 'stopped');
}

/** The tab's title tells from afar whether it earns its keep. */
function useTitle(page: string): void {
  const miner = useMiner();
  const tone = miner ? TONES[miner.activity] : 'idle';
  const status = tone === 'work' || tone === 'wait' ? `${compact(miner!.tokensPerSecond)} tok/s` : page;
  useEffect(() => {
    document.title = `${status} · Starling`;
  }, [status]);
}
