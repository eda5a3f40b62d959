import { useId } from 'react';

/** A number between two ends, with what it means. */
export function Slider(props: {
  label: string;
  help: string;
  value: number;
  min: number;
  max: number;
  step: number;
  /** The value in words; default: two decimals. */
  shown?: string;
  disabled?: boolean;
  onChange: (value: number) => void;
}) {
  const { label, help, value, min, max, step, shown = value.toFixed(2), disabled, onChange } = props;
  const id = useId();
  return (
    <div className="slider">
      <label htmlFor={id}>{label}</label>
      <output htmlFor={id}>{shown}</output>
      <input
        id={id}
        type="range"
        value={value}
        min={min}
        max={max}
        step={step}
        disabled={disabled}
        aria-describedby={`${id} help`}
        aria-valuetext={shown}
        onChange={(event) => onChange(Number(event.target.value))}
      />
      <small id={`${id} help`}>{help}</small>
    </div>
  );
}
