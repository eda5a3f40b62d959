/** Passes values on at most once per `intervalMs`, and always the last one. */
export function pace<T>(deliver: (value: T) => void, intervalMs: number): (value: T) => void {
  let resting = false;
  let held: { value: T } | null = null;

  const rest = () => {
    resting = true;
    setTimeout(() => {
      resting = false;
      if (held === null) return;
      const { value } = held;
      held = null;
      deliver(value);
      rest();
    }, intervalMs);
  };

  return (value) => {
    if (resting) {
      held = { value };
      return;
    }
    deliver(value);
    rest();
  };
}
