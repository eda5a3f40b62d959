/** Small pieces that all pages use. */
import type { Explained, WireError } from '@starling/protocol';
import type { ReactNode } from 'react';
import { useCalm } from './calm.ts';
import { type Headline, type Tone, times } from './mine/activity.ts';

/** What a miner does or waits for, since when, and what helps. Numbers that change move nothing. */
export function State({ head, now }: { head: Headline; now: number }) {
  return (
    <div className="state">
      <div className="state-title">
        <span className="lamp" />
        <strong>{head.title}</strong>
        <span className="since">{times(head, now)}</span>
      </div>
      <div className="state-why">
        <p>{head.sentence}</p>
        {head.remedy && (
          <p className="hint">
            {head.remedy} {head.code && <code className="code">{head.code}</code>}
          </p>
        )}
      </div>
    </div>
  );
}

/** The same for those who listen: said when it lasts, and not again when only its numbers change. */
export function Announce({ head: { tone, title, sentence, remedy, code } }: { head: Headline }) {
  const text = useCalm(`${title} ${code}`, tone === 'work' ? title : [`${title}.`, sentence, remedy].filter(Boolean).join(' '), tone);
  return (
    <p className="visually-hidden" role="status">
      {text}
    </p>
  );
}

export function Stat({ label, value, note, title }: { label: string; value: ReactNode; note?: ReactNode; title?: string }) {
  return (
    <div className="stat" title={title}>
      <dt>{label}</dt>
      <dd>
        <span className="stat-value">{value}</span>
        <span className="stat-note">{note}</span>
      </dd>
    </div>
  );
}

/** A bar whose width tells a share; `label` is what a screen reader hears. */
export function Progress({ done, total, label }: { done: number; total: number; label: string }) {
  const share = total > 0 ? Math.min(1, done / total) : 0;
  return (
    <div className="progress" role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={total} aria-valuenow={done}>
      <div style={{ transform: `scaleX(${share})` }} />
    </div>
  );
}

export interface Option<T extends string> {
  value: T;
  label: string;
  title?: string;
}

/** A row of radio buttons that looks like one switch. */
export function Choice<T extends string>(props: {
  name: string;
  legend: string;
  options: readonly Option<T>[];
  value: T;
  disabled?: boolean;
  onChange: (value: T) => void;
}) {
  const { name, legend, options, value, disabled, onChange } = props;
  return (
    <fieldset className="choice" disabled={disabled}>
      <legend className="visually-hidden">{legend}</legend>
      {options.map((option) => (
        <label key={option.value} title={option.title}>
          <input type="radio" name={name} checked={option.value === value} onChange={() => onChange(option.value)} />
          <span>{option.label}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** Says what is the matter and what to do about it. */
export function Notice(props: { tone: Tone; title: string; children?: ReactNode; action?: ReactNode }) {
  const { tone, title, children, action } = props;
  return (
    <div className={`notice ${tone}`} role={tone === 'bad' ? 'alert' : 'status'}>
      <div>
        <strong>{title}</strong>
        {children}
      </div>
      {action}
    </div>
  );
}

export function Wait({ wait: { code, message, remedy } }: { wait: Explained }) {
  return (
    <p>
      {message} <span className="hint">{remedy}</span> <code className="code">{code}</code>
    </p>
  );
}

export function ErrorText({ error }: { error: WireError }) {
  return (
    <p>
      {error.message} <span className="hint">{error.hint}</span> <code className="code">{error.code}</code>
    </p>
  );
}
