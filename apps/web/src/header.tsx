import { compact } from './format.ts';
import { useLive } from './live.ts';
import { Mark, ThemeIcon } from './marks.tsx';
import { TONES } from './mine/activity.ts';
import { useMiner } from './mine/mining.ts';
import { Link } from './router.tsx';
import { nextTheme, useTheme } from './theme.ts';

export function Header() {
  return (
    <header className="header">
      <div className="header-inner">
        <Link to="/" className="brand" label="Starling">
          <Mark />
          <span>Starling</span>
        </Link>
        <nav aria-label="Pages">
          <Link to="/">Mine</Link>
          <Link to="/dashboard">Dashboard</Link>
          <Link to="/miners">Miners</Link>
          <Link to="/audits">Audits</Link>
          <Link to="/chain">Chain</Link>
          <Link to="/playground">Playground</Link>
        </nav>
        <MiningPill />
        <ConnectionPill />
        <ThemeButton />
      </div>
    </header>
  );
}

/** Says on every page what this tab is doing. */
function MiningPill() {
  const miner = useMiner();
  const tone = miner ? TONES[miner.activity] : 'idle';
  if (tone === 'idle') return null;
  const text = tone === 'busy' ? 'starting' : `${compact(miner!.tokensPerSecond)} tok/s`;
  return (
    <Link to="/" className={`pill mining ${tone === 'wait' ? 'work' : tone}`}>
      <span className="visually-hidden">This tab is mining: </span>
      {text}
    </Link>
  );
}

const CONNECTION = {
  connecting: ['busy', 'connecting'],
  open: ['work', 'live'],
  lost: ['wait', 'reconnecting'],
} as const;

function ConnectionPill() {
  const { connection } = useLive();
  const [tone, text] = CONNECTION[connection];
  return (
    <span className={`pill connection ${tone}`} role="status">
      <span className="visually-hidden">Run data: </span>
      <span className="pill-text">{text}</span>
    </span>
  );
}

function ThemeButton() {
  const theme = useTheme();
  const label = `Theme: ${theme}. Change`;
  return (
    <button type="button" className="icon-button" onClick={nextTheme} aria-label={label} title={label}>
      <ThemeIcon theme={theme} />
    </button>
  );
}
