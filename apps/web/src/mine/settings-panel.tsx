import type { ReactNode } from 'react';
import { bytes } from '../format.ts';
import { useWholeDevice, watchWholeDevice } from './conditions.ts';
import { useCharging } from './mining.ts';
import { clockOf, minutesOf } from './policy.ts';
import { LEAST_INTENSITY, MEMORY_CAPS } from './settings.ts';
import { changeSettings, useSettings } from './use-settings.ts';

/** When and how much this device may work. All but the memory cap holds at once, and everything over reloads. */
export function SettingsPanel() {
  const settings = useSettings();
  const { intensity, memoryCap, onlyOnMains, onlyWhenIdle, hours, awake, tone } = settings;
  const wholeDevice = useWholeDevice();
  const charging = useCharging();
  const idle = (wanted: boolean) => {
    changeSettings({ onlyWhenIdle: wanted });
    if (wanted) void watchWholeDevice();
  };
  return (
    <details className="settings">
      <summary>Settings</summary>
      <div className="settings-grid">
        <label className="field">
          <span>
            Intensity: <b>{Math.round(100 * intensity)} %</b> of the time{' '}
            {intensity < 1 && <small>(it rests after each microbatch, for 10 s at most)</small>}
          </span>
          <input
            type="range"
            min={LEAST_INTENSITY}
            max={1}
            step={0.05}
            value={intensity}
            aria-label="Intensity"
            onChange={(event) => changeSettings({ intensity: Number(event.target.value) })}
          />
        </label>
        <label className="field">
          <span>
            Memory on the device <small>(at the next Start)</small>
          </span>
          <select
            value={memoryCap ?? 0}
            onChange={(event) => changeSettings({ memoryCap: Number(event.target.value) || null })}
            title="A stage that needs more is refused."
          >
            <option value={0}>no cap</option>
            {MEMORY_CAPS.map((cap) => (
              <option key={cap} value={cap}>
                {bytes(cap * 2 ** 20)}
              </option>
            ))}
          </select>
        </label>
        <Check checked={onlyOnMains} onChange={(checked) => changeSettings({ onlyOnMains: checked })}>
          Only on mains power{charging === null && <small> (this browser does not tell)</small>}
        </Check>
        <Check checked={onlyWhenIdle} onChange={idle}>
          Only while nobody uses the device
          {onlyWhenIdle && (
            <small>
              {wholeDevice
                ? ' The whole device is watched.'
                : ' This browser tells of this page only: a minute without input counts as idle.'}
            </small>
          )}
        </Check>
        <div className="field">
          <Check
            checked={hours !== null}
            onChange={(checked) => changeSettings({ hours: checked ? { from: 22 * 60, until: 7 * 60 } : null })}
          >
            Only at these hours{hours && hours.from === hours.until && <small> (all day: both are the same)</small>}
          </Check>
          {hours && (
            <span className="hours">
              <Clock label="From" value={hours.from} onChange={(from) => changeSettings({ hours: { ...hours, from } })} />
              <Clock label="Until" value={hours.until} onChange={(until) => changeSettings({ hours: { ...hours, until } })} />
            </span>
          )}
        </div>
        <Check checked={awake} onChange={(checked) => changeSettings({ awake: checked })}>
          Keep the screen awake while it mines and this page is seen
        </Check>
        <Check checked={tone} onChange={(checked) => changeSettings({ tone: checked })}>
          Keep this tab awake when it is hidden, by a tone too quiet to hear
        </Check>
      </div>
    </details>
  );
}

function Check(props: { checked: boolean; onChange: (checked: boolean) => void; children: ReactNode }) {
  const { checked, onChange, children } = props;
  return (
    <label className="check">
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.target.checked)} />
      <span>{children}</span>
    </label>
  );
}

function Clock({ label, value, onChange }: { label: string; value: number; onChange: (minutes: number) => void }) {
  const change = (text: string) => {
    const minutes = minutesOf(text);
    if (minutes !== null) onChange(minutes);
  };
  return <input type="time" aria-label={label} value={clockOf(value)} onChange={(event) => change(event.target.value)} />;
}
