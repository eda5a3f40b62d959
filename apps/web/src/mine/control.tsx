import type { MinerState } from '@starling/miner';
import { ACTIVITIES, type Activity, MAX_NAME } from '@starling/protocol';
import { useState } from 'react';
import { plural } from '../format.ts';
import { useIsComplete } from '../live.ts';
import { useNow } from '../now.ts';
import { Announce, Choice, type Option, State } from '../parts.tsx';
import { Link } from '../router.tsx';
import type { BackendChoice } from '../worker-messages.ts';
import { ACTIVITY_WORDS, lampOf } from './activity.ts';
import { mustCheck, runCheck, stopCheck, useCheck } from './check.ts';
import { type Device, hopeless } from './device.ts';
import { finish, setPaused, start, stop, useEnding, useMiner, usePaused } from './mining.ts';
import { ownThreads, type Settings } from './settings.ts';
import { SettingsPanel } from './settings-panel.tsx';
import { playTone } from './tone.ts';
import { useHeadline } from './use-headline.ts';
import { changeSettings, useSettings } from './use-settings.ts';

const BACKENDS: Option<BackendChoice>[] = [
  { value: 'auto', label: 'Auto', title: 'WebGPU where it works, else the CPU' },
  { value: 'webgpu', label: 'WebGPU', title: 'The graphics card' },
  { value: 'wasm', label: 'CPU', title: 'WebAssembly on the processor: works everywhere, slower' },
];

/** Start, Finish, Pause and Stop, what happens now, and the few choices there are. */
export function Control({ device }: { device: Device | null }) {
  const miner = useMiner();
  const ending = useEnding();
  const paused = usePaused();
  const [anyway, setAnyway] = useState(false);
  const now = useNow();
  const settings = useSettings();
  const checking = useCheck(settings.backend).phase === 'running';
  const running = miner !== null && miner.activity !== 'stopped';
  const head = useHeadline();
  const isComplete = useIsComplete();
  const watchOnly = device?.watchOnly === true && !anyway && !running;

  return (
    <section className={`panel control ${head.tone}`} aria-label="Mining">
      <div className="control-state">
        <State head={head} now={now} />
        <Announce head={head} />
        <Lamps lit={miner && lampOf(miner, head)} />
      </div>
      <div className="control-buttons">
        {watchOnly ? (
          <div className="watch-only">
            <Link to="/dashboard" className="start">
              Watch
            </Link>
            {!isComplete && (
              <button type="button" className="quiet" onClick={() => setAnyway(true)}>
                Mine here anyway
              </button>
            )}
          </div>
        ) : (
          <StartButton
            running={running}
            stopping={ending === 'stop'}
            checking={checking}
            impossible={hopeless() !== null || isComplete}
            onClick={() => (checking ? stopCheck() : running ? stop('Stop was pressed.') : void checkAndStart(settings))}
          />
        )}
        {running && (
          <div className="control-more">
            <button type="button" className="quiet" disabled={ending !== null} onClick={() => setPaused(!paused)}>
              {paused ? 'Resume' : 'Pause'}
            </button>
            <button
              type="button"
              className="quiet"
              disabled={ending !== null}
              title="Completes what is under way, then stops: nobody has to compute anything again"
              onClick={() => finish('Finish was pressed.')}
            >
              {ending === 'finish' ? 'Finishing…' : 'Finish'}
            </button>
          </div>
        )}
      </div>
      <div className="control-options">
        <label className="field">
          <span>Name</span>
          <input
            type="text"
            value={settings.name}
            maxLength={MAX_NAME}
            placeholder="shown to others, optional"
            autoComplete="nickname"
            disabled={running}
            onChange={(event) => changeSettings({ name: event.target.value })}
          />
        </label>
        <div className="field">
          <span>Compute on</span>
          <Choice
            name="backend"
            legend="Compute on"
            options={BACKENDS}
            value={settings.backend}
            disabled={running || checking}
            onChange={(backend) => changeSettings({ backend })}
          />
        </div>
        <div className="field found">
          <span>{running && miner.backend ? 'In use' : 'Found'}</span>
          <Found device={device} miner={running ? miner : null} />
        </div>
      </div>
      <SettingsPanel />
    </section>
  );
}

/** Where it is not known what this device can do, that is measured first. */
async function checkAndStart(settings: Settings): Promise<void> {
  // Still in the click, or the browser would keep it silent.
  playTone(settings.tone);
  if (!mustCheck(settings.backend) || (await runCheck(settings))) await start();
  else playTone(false);
}

function StartButton(props: { running: boolean; stopping: boolean; checking: boolean; impossible: boolean; onClick: () => void }) {
  const { running, stopping, checking, impossible, onClick } = props;
  const label = stopping ? 'Stopping…' : running || checking ? 'Stop' : 'Start';
  return (
    <button
      type="button"
      className={`start ${running || checking ? 'stop' : ''}`}
      disabled={stopping || (impossible && !running && !checking)}
      onClick={onClick}
    >
      <svg viewBox="0 0 16 16" aria-hidden="true">
        {running || checking ? <rect x="3" y="3" width="10" height="10" rx="1.5" /> : <path d="M4 2.5v11l9-5.5Z" />}
      </svg>
      {label}
    </button>
  );
}

function Found({ device, miner }: { device: Device | null; miner: MinerState | null }) {
  if (miner?.backend) {
    return (
      <p>
        {miner.backend === 'webgpu' && 'WebGPU '}
        <b>{miner.adapter}</b>
      </p>
    );
  }
  if (hopeless()) return <p className="muted">nothing that this page may use</p>;
  if (!device) return <p className="muted">Asking the browser…</p>;
  if (!device.adapter) {
    return (
      <p>
        <b>CPU (wasm)</b> {plural(ownThreads(), 'thread')}
      </p>
    );
  }
  return (
    <p>
      WebGPU <b>{device.adapter}</b>
      {device.features.length > 0 && <span className="muted"> · {device.features.join(', ')}</span>}
    </p>
  );
}

const SHOWN = ACTIVITIES.filter((activity) => activity !== 'stopped');

/** One lamp per activity. Screen readers hear the headline instead. */
function Lamps({ lit }: { lit: Activity | null }) {
  return (
    <ul className="lamps" aria-hidden="true">
      {SHOWN.map((name) => (
        <li key={name} className={name === lit ? 'lit' : ''}>
          {ACTIVITY_WORDS[name]}
        </li>
      ))}
    </ul>
  );
}
