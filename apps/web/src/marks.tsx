/** Starling's own drawings. All inherit `currentColor` unless said otherwise. */

const BODY = 'M2.2 20.4 8.1 13.9C7.9 8.2 11.1 4.3 15.4 4.3c2 0 3.4.9 4 2.3l3.4.9-3.2 1.3c.2 5-3.3 8.9-8.8 9L7.6 17.9Z';
const SPECKLES = [
  [12.1, 9.2],
  [14.6, 11.4],
  [11.2, 12.6],
  [13.6, 14.4],
  [15.6, 8.2],
] as const;

/** The bird on its perch, speckled as starlings are. */
export function Bird({ className = 'bird' }: { className?: string }) {
  return (
    <svg className={className} viewBox="0 0 24 24" aria-hidden="true">
      <path d={BODY} fill="currentColor" />
      <path d="M11.6 17.5v4M14.2 16.9v4.6" stroke="currentColor" strokeWidth="1.2" />
    </svg>
  );
}

/** The mark: the bird in the sheen of its plumage. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 24 24" aria-hidden="true">
      <defs>
        <linearGradient id="sheen" x1="0" y1="1" x2="1" y2="0">
          <stop offset="0.15" stopColor="var(--violet)" />
          <stop offset="0.85" stopColor="var(--green)" />
        </linearGradient>
      </defs>
      <path d={BODY} fill="url(#sheen)" />
      {SPECKLES.map(([x, y]) => (
        <circle key={`${x}`} cx={x} cy={y} r="0.75" fill="var(--page)" />
      ))}
    </svg>
  );
}

const THEME_PATHS = {
  system: 'M3 4.5h18v11H3zM8.5 19.5h7M12 15.5v4',
  light:
    'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4',
  dark: 'M20 14.2A8.2 8.2 0 0 1 9.8 4 8.2 8.2 0 1 0 20 14.2Z',
};

export function ThemeIcon({ theme }: { theme: keyof typeof THEME_PATHS }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={THEME_PATHS[theme]} fill="none" stroke="currentColor" strokeWidth="1.7" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}
