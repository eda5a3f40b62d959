import { useEffect, useRef } from 'react';
import { useLive } from './live.ts';
import { Mark, ThemeIcon } from './marks.tsx';
import { useInShort } from './mine/use-headline.ts';
import { Link, usePage } from './router.tsx';
import { nextTheme, useTheme } from './theme.ts';

export function Header() {
  const nav = useRef<HTMLElement>(null);
  const page = usePage();
  // On a narrow screen the pages scroll, and the one that is open may be out of sight. The page itself stays where it is.
  useEffect(() => {
    const current = nav.current!.querySelector<HTMLElement>('[aria-current]');
    if (current) nav.current!.scrollLeft = current.offsetLeft - (nav.current!.clientWidth - current.offsetWidth) / 2;
  }, [page.name]);
  return (
    <header className="header">
      <div className="header-inner">
        <Link to="/" className="brand" label="Starling">
          <Mark />
          <span>Starling</span>
        </Link>
        <nav aria-label="Pages" ref={nav}>
          <Link to="/">Mine</Link>
          <Link to="/dashboard">Dashboard</Link>
          <Link to="/replay">Replay</Link>
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
  const short = useInShort();
  if (!short) return null;
  return (
    <Link to="/" className={`pill mining ${short.tone}`} title={short.text}>
      <span className="visually-hidden">This tab’s miner: </span>
      <span className="pill-text">{short.text}</span>
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
