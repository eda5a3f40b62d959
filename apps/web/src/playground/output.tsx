import type { ModelVersion } from '@starling/protocol';
import { compact, count, loss } from '../format.ts';
import { ErrorText, Progress } from '../parts.tsx';
import type { Writer } from './use-writer.ts';

const NEWEST = 'newest';

/** What one version of the model has written. */
export function Output(props: {
  label: string;
  writer: Writer;
  version: ModelVersion;
  versions: ModelVersion[];
  /** Follows the run. */
  newest: boolean;
  onChoose: (version: ModelVersion | null) => void;
}) {
  const { label, writer, version, versions, newest, onChoose } = props;
  const { state, version: author, prompt, text, tokens, ms, share, error } = writer.written;
  const isKept = versions.some((known) => known.version === version.version);
  return (
    <section className="panel output" aria-label={label}>
      <div className="output-head">
        <h2>{label}</h2>
        <select
          aria-label={`${label}: version of the model`}
          value={newest ? NEWEST : version.version}
          onChange={(event) => onChoose(versions.find((known) => String(known.version) === event.target.value) ?? null)}
        >
          {label === 'Now' && <option value={NEWEST}>newest: {nameOf(versions.at(-1)!.version)}</option>}
          {!isKept && <option value={version.version}>{nameOf(version.version)}, which is kept no longer</option>}
          {[...versions].reverse().map((known) => (
            <option key={known.version} value={known.version}>
              {nameOf(known.version)}
            </option>
          ))}
        </select>
        <span className="muted">
          {version.loss === null ? '' : `loss ${loss(version.loss)}`}
          {version.tokens ? ` · ${compact(version.tokens)} tokens` : ''}
        </span>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: text that scrolls must be reachable by keyboard. */}
      <section className="output-text" tabIndex={0} aria-label={`${label}: text`} aria-busy={state !== 'idle'}>
        {prompt || text ? (
          <p>
            <span className="given">{prompt}</span>
            {text}
            {state === 'writing' && <span className="caret" />}
          </p>
        ) : (
          <p className="muted">Press Write: the text appears here as the model makes it.</p>
        )}
      </section>
      <div className="output-foot">
        {error ? (
          <ErrorText error={error} />
        ) : state === 'loading' && share > 0 ? (
          <Progress done={Math.round(100 * share)} total={100} label="Fetching the model" />
        ) : (
          <p className="muted">
            {state === 'loading'
              ? 'Reading the beginning…'
              : tokens > 0 && author !== null
                ? `${nameOf(author)} wrote ${speed(tokens, ms)}`
                : ''}
          </p>
        )}
      </div>
    </section>
  );
}

const nameOf = (version: number) => (version === 0 ? 'untrained' : `step ${count(version)}`);
const speed = (tokens: number, ms: number) => `${count(tokens)} bytes, ${count((1000 * tokens) / Math.max(1, ms))} a second`;
