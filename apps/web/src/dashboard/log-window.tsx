/**
 * Lines of one height, of which only those in sight are there. A line has its place and what stands in it changes, so that nothing
 * moves however fast news comes; while somebody reads (points at it, has scrolled, or is in it by keyboard) nothing changes, either.
 */
import { type ReactNode, useEffect, useEffectEvent, useRef, useState } from 'react';
import { textScale } from '../text-scale.ts';

/** As in dashboard.css. */
const LINE_REM = 8.5;
/** Lines out of sight, above and below, for who scrolls or tabs on. */
const BEYOND = 8;

interface Keyed {
  key: string;
}

export function LogWindow<T extends Keyed>({ lines, children }: { lines: readonly T[]; children: (line: T) => ReactNode }) {
  const list = useRef<HTMLDivElement>(null);
  /** The lines as they were when somebody began to read; null: the newest. */
  const [held, setHeld] = useState<readonly T[] | null>(null);
  const reading = useRef({ pointed: false, within: false });
  const [sight, setSight] = useState({ from: 0, to: 3 * BEYOND });
  const shown = held ?? lines;

  const look = () => {
    if (!list.current) return; // the pointer or the focus leaves as the page does
    const { scrollTop, clientHeight } = list.current;
    const line = LINE_REM * 10 * textScale();
    setSight({ from: Math.max(0, Math.floor(scrollTop / line) - BEYOND), to: Math.ceil((scrollTop + clientHeight) / line) + BEYOND });
    const isRead = reading.current.pointed || reading.current.within || scrollTop > 0;
    setHeld(isRead ? (held ?? lines) : null);
  };
  const onResize = useEffectEvent(look);
  useEffect(() => {
    const resized = new ResizeObserver(() => onResize());
    resized.observe(list.current!);
    return () => resized.disconnect();
  }, []);
  const reads = (change: Partial<(typeof reading)['current']>) => {
    Object.assign(reading.current, change);
    look();
  };
  const newest = () => {
    list.current!.scrollTop = 0;
    list.current!.focus();
    reads({ pointed: false, within: false });
  };

  return (
    <div
      className="log-body"
      onPointerEnter={({ pointerType }) => pointerType === 'mouse' && reads({ pointed: true })}
      onPointerLeave={() => reads({ pointed: false })}
    >
      <section
        ref={list}
        aria-label="Lines, the newest first"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a list that scrolls must be reachable by keyboard.
        tabIndex={0}
        className="log-list"
        onScroll={look}
        onFocus={({ target }) => reads({ within: target !== list.current })}
        onBlur={() => reads({ within: false })}
      >
        <ol style={{ height: `${shown.length * LINE_REM}rem` }}>
          {shown.slice(sight.from, sight.to).map((line, i) => {
            const place = sight.from + i;
            return (
              <li key={place} style={{ top: `${place * LINE_REM}rem` }} aria-setsize={shown.length} aria-posinset={place + 1}>
                {/* Made anew for another line: text that is changed in place counts as moved. */}
                <div key={line.key}>{children(line)}</div>
              </li>
            );
          })}
        </ol>
      </section>
      {held && held[0]?.key !== lines[0]?.key && (
        <button type="button" className="quiet log-newer" onClick={newest}>
          Newer lines
        </button>
      )}
    </div>
  );
}
