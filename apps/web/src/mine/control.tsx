import type { MinerState } from '@starling/miner';
import { ACTIVITIES } from '@starling/protocol';
import { useNow } from '../now.ts';
import { Announce, Choice, type Option, State } from '../parts.tsx';
import type { BackendChoice } from '../worker-messages.ts';
import { ACTIVITY_WORDS, headline } from './activity.ts';
import type { Device } from './device.ts';
import { start, stop, useMiner, useStopping } from './mining.ts';
import { MAX_NAME } from './settings.ts';
import { changeSettings, useSettings } from './use-settings.ts';

const BACKENDS: Option<BackendChoice>[] = [
  { value: 'auto', label: 'Auto', title: 'WebGPU where it works, else the CPU' },
  { value: 'webgpu', label: 'WebGPU', title: 'The graphics card' },
  { value: 'wasm', label: 'CPU', title: 'WebAssembly on the processor: works everywhere, slower' },
];

/** Start and Stop, what happens now, and the few choices there are. */
export function Control({ device }: { device: Device | null }) {
  const miner = useMiner();
  const stopping = useStopping();
  const now = useNow();
  const settings = useSettings();
  const running = miner !== null && miner.activity !== 'stopped';
  const head = headline(miner, stopping, now);

  return (
    <section className={`panel control ${head.tone}`} aria-label="Mining">
      <div className="control-state">
        <State head={head} now={now} />
        <Announce head={head} />
        <Lamps miner={miner} />
      </div>
      <StartButton
        running={running}
        stopping={stopping}
        impossible={device?.problem?.code === 'INSECURE_CONTEXT'}
        onClick={() => (running ? stop('Stop was pressed.') : void start(settings))}
      />
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
            disabled={running}
            onChange={(backend) => changeSettings({ backend })}
          />
        </div>
        <label className="field">
          <span>Screen</span>
          <span className="check">
            <input type="checkbox" checked={settings.awake} onChange={(event) => changeSettings({ awake: event.target.checked })} />
            Keep awake
          </span>
        </label>
        <div className="field found">
          <span>{running && miner.backend ? 'In use' : 'Found'}</span>
          <Found device={device} miner={running ? miner : null} />
        </div>
      </div>
    </section>
  );
}

function StartButton(props: { running: boolean; stopping: boolean; impossible: boolean; onClick: () => void }) {
  const { running, stopping, impossible, onClick } = props;
  const label = stopping ? 'Stopping…' : running ? 'Stop' : 'Start';
  return (
    <button type="button" className={`start ${running ? 'stop' : ''}`} disabled={stopping || (impossible && !running)} onClick={onClick}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        {running ? <rect x="3" y="3" width="10" height="10" rx="1.5" /> : <path d="M4 2.5v11l9-5.5Z" />}
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
  if (!device) return <p className="muted">Asking the browser…</p>;
  if (!device.adapter) {
    return (
      <p>
        <b>CPU (wasm)</b> {navigator.hardwareConcurrency} threads
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

/** One lamp per activity; the present one is lit. Screen readers hear the headline instead. */
function Lamps({ miner }: { miner: MinerState | null }) {
  return (
    <ul className="lamps" aria-hidden="true">
      {SHOWN.map((name) => (
        <li key={name} className={name === miner?.activity ? 'lit' : ''}>
          {ACTIVITY_WORDS[name]}
        </li>
      ))}
    </ul>
  );
}
