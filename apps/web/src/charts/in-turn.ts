/** Draws one chart at a time: all of a page at once would keep it from answering for as long as that takes. */
const waiting = new Set<() => void>();

/** Has the task done after those that wait already, each by itself. Returns what ends its waiting. */
export function inTurn(task: () => void): () => void {
  waiting.add(task);
  if (waiting.size === 1) setTimeout(next);
  return () => waiting.delete(task);
}

function next(): void {
  const [task] = waiting;
  if (!task) return;
  waiting.delete(task);
  if (waiting.size > 0) setTimeout(next);
  task();
}
