import { useId } from 'react';
import { ALL, isVain, type Range, type XAxis } from '../chart-data.ts';

const UNITS: Record<XAxis, string> = { step: 'step', tokens: 'tokens', time: 'seconds' };

/**
 * The range of all charts of a page, for those who do not drag. An empty field goes along with the data. `x`: where the points are on the
 * axis.
 */
export function RangeFields(props: { axis: XAxis; x: readonly number[]; range: Range; onRange: (range: Range) => void }) {
  const { axis, x, range, onRange } = props;
  const vain = isVain(x, range);
  const why = useId();
  const field = (end: 'from' | 'to', label: string, placeholder: string) => (
    <label>
      {label}
      <input
        type="number"
        min="0"
        step="any"
        placeholder={placeholder}
        aria-label={`${label}, ${UNITS[axis]}`}
        aria-invalid={vain && range[end] !== null}
        aria-describedby={vain ? why : undefined}
        value={range[end] ?? ''}
        onChange={({ target }) => onRange({ ...range, [end]: target.value === '' ? null : target.valueAsNumber })}
      />
    </label>
  );
  return (
    <fieldset className="range">
      <legend className="visually-hidden">Range of the horizontal axis</legend>
      {field('from', 'From', 'first')}
      {field('to', 'to', 'newest')}
      <button type="button" className="quiet" disabled={range.from === null && range.to === null} onClick={() => onRange(ALL)}>
        All
      </button>
      <output id={why}>{vain && 'Nothing lies there: all is shown.'}</output>
    </fieldset>
  );
}
