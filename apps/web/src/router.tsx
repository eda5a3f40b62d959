/** The pages on the History API. The server answers every path with `index.html`. */
import { type MouseEvent, type ReactNode, useSyncExternalStore } from 'react';
import { type Path, pageAt } from './paths.ts';

const listeners = new Set<() => void>();
const notify = () => {
  for (const listener of listeners) listener();
};
addEventListener('popstate', notify);

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const usePath = (): string => useSyncExternalStore(subscribe, () => location.pathname.replace(/\/+$/, '') || '/');
export const usePage = () => pageAt(usePath());
/** From the `?` on. */
export const useSearch = (): string => useSyncExternalStore(subscribe, () => location.search);

/** Another address for what is shown, without a step in the browser's history. */
export function readdress(path: Path): void {
  history.replaceState(null, '', path);
  notify();
}

export function navigate(path: Path): void {
  history.pushState(null, '', path);
  scrollTo(0, 0);
  notify();
  document.getElementById('main')?.focus({ preventScroll: true }); // Readers go on at the new page.
}

/** A real link (opens in new tabs, shows its address) that changes the page without a reload. */
export function Link({
  to,
  className,
  title,
  label,
  children,
}: {
  to: Path;
  className?: string;
  title?: string;
  /** Instead of what is seen, for those who do not see it. */
  label?: string;
  children: ReactNode;
}) {
  const current = usePath() === to;
  const onClick = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a href={to} className={className} title={title} aria-label={label} aria-current={current ? 'page' : undefined} onClick={onClick}>
      {children}
    </a>
  );
}
