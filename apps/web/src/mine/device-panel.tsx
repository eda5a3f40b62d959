import { moment } from '../format.ts';
import { ErrorText } from '../parts.tsx';
import type { BackendChoice } from '../worker-messages.ts';
import { findingsOf, runCheck, useCheck } from './check.ts';
import { hopeless, webgpuFix } from './device.ts';
import { useMiner } from './mining.ts';
import { useSettings } from './use-settings.ts';

const WHAT: Record<BackendChoice, string> = {
  auto: 'GPU, memory and line',
  webgpu: 'GPU, memory and line',
  wasm: 'processor and line',
};

/** What this device was found to be capable of, in sentences, and what to do where something is missing. */
export function DevicePanel() {
  const settings = useSettings();
  const { backend } = settings;
  const check = useCheck(backend);
  const miner = useMiner();
  const mining = miner !== null && miner.activity !== 'stopped';
  return (
    <section className="panel device" aria-labelledby="device">
      <div className="panel-head">
        <h2 id="device">This device</h2>
        <button
          type="button"
          className="quiet"
          disabled={check.phase === 'running' || mining || hopeless() !== null}
          title={mining ? 'While it mines, it would measure itself.' : 'Takes three seconds.'}
          onClick={() => void runCheck(settings)}
        >
          {check.phase === 'running' ? 'Checking…' : check.phase === 'none' ? 'Check' : 'Check again'}
        </button>
      </div>
      <div aria-live="polite">
        {check.phase === 'none' && (
          <p className="empty device-empty">
            {hopeless() ? 'This page cannot mine: the top says why.' : `The first Start checks ${WHAT[backend]}, for three seconds.`}
          </p>
        )}
        {check.phase === 'running' && (
          <p className="empty device-empty">Measuring arithmetic, memory and the line to the server: three seconds.</p>
        )}
        {check.phase === 'failed' && <ErrorText error={check.error} />}
        {check.phase === 'done' && (
          <ul className="findings">
            {findingsOf(check.checked, webgpuFix(navigator.userAgent)).map(({ good, sentence, fix }) => (
              <li key={sentence} className={`findings-line ${good ? 'good' : 'lacking'}`}>
                <span aria-hidden="true">{good ? '✓' : '!'}</span>
                <div>
                  <p>{sentence}</p>
                  {fix && <p className="hint">{fix}</p>}
                </div>
              </li>
            ))}
            <li className="muted device-when">Checked {moment(check.at, Date.now())}.</li>
          </ul>
        )}
      </div>
    </section>
  );
}
