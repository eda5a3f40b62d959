/** Text from the run's model, computed in this browser; beside an earlier version of itself; and the model to take home. */
import type { ModelVersion, RunConfig } from '@starling/protocol';
import { useCallback, useState } from 'react';
import { getJson, usePolled } from '../api.ts';
import { bytes, compact, count, loss } from '../format.ts';
import { useLive } from '../live.ts';
import { ErrorText, Notice } from '../parts.tsx';
import { Download } from './download.tsx';
import { Output } from './output.tsx';
import { Slider } from './slider.tsx';
import { useWriter } from './use-writer.ts';
import './playground.css';

const VERSIONS_EVERY_MS = 15_000;
const LENGTHS = [100, 200, 400, 800];
/** Of the model before its first step there is nothing to fetch: it follows from the run's seed. */
const UNTRAINED: ModelVersion = { version: 0, loss: null, tokens: 0, time: null };

export default function PlaygroundPage() {
  const { run } = useLive();
  const load = useCallback(
    async (signal: AbortSignal) => [
      UNTRAINED,
      ...(await getJson<ModelVersion[]>('/v1/models', signal)).filter(({ version }) => version > 0),
    ],
    [],
  );
  const { value: versions, error } = usePolled(load, VERSIONS_EVERY_MS);
  return (
    <div className="playground">
      <div className="page-title">
        <h1>Playground</h1>
        <p className="muted">
          The model computes here, in your browser, from the parameters the swarm has merged. What you type stays on this page.
        </p>
      </div>
      {error && (
        <Notice tone="wait" title="The versions of the model are not known">
          <ErrorText error={error} />
        </Notice>
      )}
      {run && run.config.model.vocabulary !== 256 ? (
        <Notice tone="wait" title="This run’s tokens are not bytes">
          <p>The playground writes byte by byte and cannot read this vocabulary of {count(run.config.model.vocabulary)}.</p>
        </Notice>
      ) : run && versions ? (
        <Bench key={run.config.runId} run={run.config} parameters={run.parameters} versions={versions} />
      ) : (
        <p className="panel empty playground-empty">Asking the server for the model…</p>
      )}
    </div>
  );
}

/** Null stands for what there is when Write is pressed: the newest, or the oldest. */
type Chosen = ModelVersion | null;

function Bench({ run, parameters, versions }: { run: RunConfig; parameters: number; versions: ModelVersion[] }) {
  const [prompt, setPrompt] = useState('The ');
  const [temperature, setTemperature] = useState(0.8);
  const [topP, setTopP] = useState(0.95);
  const [tokens, setTokens] = useState(400);
  const [seed, setSeed] = useState(1);
  const [chosen, setChosen] = useState<Chosen>(null);
  const [earlier, setEarlier] = useState<Chosen>(null);
  const main = useWriter();
  const other = useWriter();

  const newest = versions.at(-1)!;
  // What was chosen stays, though the server may keep it no longer.
  const left = chosen ?? newest;
  // Far enough back to see a difference: the oldest that was trained, else the untrained one.
  const right = earlier ?? versions.find(({ version }) => version > 0 && version < newest.version) ?? versions[0]!;
  const busy = [main, other].some(({ written }) => written.state !== 'idle');

  const write = () => {
    const request = { run, prompt, sampling: { temperature, topP }, tokens, seed };
    main.write({ ...request, version: left.version });
    other.write({ ...request, version: right.version });
  };
  const stop = () => [main, other].forEach((writer) => void writer.stop());

  return (
    <>
      <form
        className="panel prompt"
        onSubmit={(event) => {
          event.preventDefault();
          if (busy) stop();
          else write();
        }}
      >
        <label className="prompt-text">
          <span>Beginning of the text</span>
          <textarea value={prompt} rows={3} maxLength={2000} spellCheck={false} onChange={(event) => setPrompt(event.target.value)} />
        </label>
        <Slider
          label="Temperature"
          help="0 always takes the likeliest; more is bolder"
          value={temperature}
          min={0}
          max={1.5}
          step={0.05}
          onChange={setTemperature}
        />
        <Slider label="Top-p" help="only the likeliest, up to this share" value={topP} min={0.05} max={1} step={0.05} onChange={setTopP} />
        <label className="field">
          <span>Length</span>
          <select value={tokens} onChange={(event) => setTokens(Number(event.target.value))}>
            {LENGTHS.map((length) => (
              <option key={length} value={length}>
                {count(length)} bytes
              </option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>Seed</span>
          <input
            type="number"
            value={seed}
            min={0}
            max={2 ** 32 - 1}
            onChange={(event) => setSeed(Math.abs(Math.trunc(Number(event.target.value))) || 0)}
          />
        </label>
        <button type="submit" className={`primary ${busy ? 'stop' : ''}`}>
          {busy ? 'Stop' : 'Write'}
        </button>
      </form>
      <div className="outputs">
        <Output label="Now" writer={main} version={left} versions={versions} newest={chosen === null} onChoose={setChosen} />
        <Output label="Earlier" writer={other} version={right} versions={versions} newest={false} onChoose={setEarlier} />
      </div>
      <Download
        run={run}
        version={left}
        isKept={versions.some(({ version }) => version === left.version)}
        size={bytes(4 * parameters)}
        note={`${compact(parameters)} parameters, loss ${loss(left.loss)}`}
      />
    </>
  );
}
