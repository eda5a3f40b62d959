import { useNow } from '../now.ts';
import { headline } from './activity.ts';
import { useEnding, useMiner } from './mining.ts';

/** `?lean=1`: a tab that nobody looks at shows one line, once a second, and follows no feed; all of the device is for mining. */
export function Lean() {
  const now = useNow();
  const { title, sentence } = headline(useMiner(), useEnding(), now);
  return (
    <main>
      <h1>{title}</h1>
      <p>{sentence}</p>
    </main>
  );
}
