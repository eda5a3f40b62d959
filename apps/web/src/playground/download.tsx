import type { ModelVersion, RunConfig } from '@starling/protocol';
import { count } from '../format.ts';
import { ErrorText } from '../parts.tsx';
import { useWriter } from './use-writer.ts';

const SNIPPET = `from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("folder")
tokenizer = AutoTokenizer.from_pretrained("folder")`;

/** The model as files that others can load. */
export function Download(props: {
  run: RunConfig;
  version: ModelVersion;
  /** The server still has it. */
  isKept: boolean;
  size: string;
  note: string;
}) {
  const { run, version, isKept, size, note } = props;
  const packer = useWriter();
  const { state, error } = packer.written;
  const label = version.version === 0 ? 'the untrained model' : `step ${count(version.version)}`;
  return (
    <section className="panel take-home" aria-labelledby="take-home">
      <div>
        <h2 id="take-home">Take it home</h2>
        <p>
          A zip with <code>model.safetensors</code>, <code>config.json</code> and <code>tokenizer.json</code>, as Hugging Face’s Llama
          loader takes them: {note}.
        </p>
        {error && <ErrorText error={error} />}
        <button
          type="button"
          className="quiet"
          disabled={state !== 'idle' || !isKept}
          onClick={() =>
            packer.download({ run, version: version.version, loss: version.loss }, `starling-${run.preset}-step-${version.version}.zip`)
          }
        >
          {state !== 'idle' ? 'Packing…' : isKept ? `Download ${label} (${size})` : `No download: ${label} is kept no longer`}
        </button>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: code that scrolls must be reachable by keyboard. */}
      <pre tabIndex={0}>{SNIPPET}</pre>
    </section>
  );
}
