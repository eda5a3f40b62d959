/** What this tab does, told alike on every page. */
import { useIsComplete } from '../live.ts';
import { useNow } from '../now.ts';
import { type Headline, headline, inShort } from './activity.ts';
import { useCheck } from './check.ts';
import { hopeless } from './device.ts';
import { useEnding, useMiner } from './mining.ts';
import { useSettings } from './use-settings.ts';

const CHECKING: Headline = {
  ...{ tone: 'busy', title: 'Checking', remedy: null, code: null, since: null, until: null },
  sentence: 'Measuring this device and its line to the server: three seconds, on a slow one more.',
};

export function useHeadline(): Headline {
  const miner = useMiner();
  const ending = useEnding();
  const now = useNow();
  const { backend } = useSettings();
  const isComplete = useIsComplete();
  return useCheck(backend).phase === 'running' ? CHECKING : headline(miner, ending, now, hopeless(), isComplete);
}

export function useInShort(): ReturnType<typeof inShort> {
  return inShort(useHeadline(), useMiner());
}
