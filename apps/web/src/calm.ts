/** What a screen reader is told of something that changes often: only what lasts, and not too often. */
import { useEffect, useEffectEvent, useRef, useState } from 'react';
import type { Tone } from './mine/activity.ts';

/** Between two microbatches a miner waits for an instant; only what holds for so long is news. */
export const SETTLE_MS = 3_000;
/** More often than this nobody can listen and do something else. */
export const QUIET_MS = 15_000;

/** From bad to good. */
const TONES: readonly Tone[] = ['bad', 'wait', 'idle', 'busy', 'work'];

/** One piece of news, and since when it is (or was) so. */
export interface News {
  key: string;
  tone: Tone;
  at: number;
}

/** When `news` is to be said if it still holds then; null when it was what was said last. The end of a trouble is not kept back. */
export function dueAt(news: News, last: News | null): number | null {
  if (news.key === last?.key) return null;
  const better = last !== null && TONES.indexOf(news.tone) > TONES.indexOf(last.tone);
  return Math.max(news.at + SETTLE_MS, last && !better ? last.at + QUIET_MS : 0);
}

/**
 * The text for a live region. The news is `key`: a sentence whose numbers change under the same key is not said again.
 * What is bad is said at once.
 */
export function useCalm(key: string, text: string, tone: Tone): string {
  const [said, setSaid] = useState('');
  const last = useRef<News | null>(null);
  const say = useEffectEvent(() => {
    last.current = { key, tone, at: Date.now() };
    setSaid(text);
  });
  useEffect(() => {
    const now = Date.now();
    const at = dueAt({ key, tone, at: now }, last.current);
    if (at === null) return;
    const timer = setTimeout(say, tone === 'bad' ? 0 : at - now);
    return () => clearTimeout(timer);
  }, [key, tone]);
  return said;
}
