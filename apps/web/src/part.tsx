/** Parts of the page of which each may fail alone: the others stay, and the miner goes on. */
import { ERROR_HINTS, loaded, SwarmError, type WireError } from '@starling/protocol';
import { Component, type ComponentType, lazy, type ReactNode, Suspense, useState } from 'react';
import { getJson } from './api.ts';
import { ErrorText, Notice } from './parts.tsx';

/** A component that only those who look at it load; shown inside a `Part`. */
export const onDemand = <P,>(load: () => Promise<{ default: ComponentType<P> }>) => lazy(() => loaded(load));

interface Props {
  /** What is missing if it fails: the subject of a sentence. */
  name: string;
  /** Stands there until the part is loaded. */
  wait?: ReactNode;
  children: ReactNode;
}

interface State {
  thrown: { error: unknown } | null;
}

/** Instead of a part that cannot be loaded or shown, why, and a way to try again. */
export class Part extends Component<Props, State> {
  override state: State = { thrown: null };
  static getDerivedStateFromError = (error: unknown): State => ({ thrown: { error } });

  override render() {
    const { name, wait, children } = this.props;
    const { thrown } = this.state;
    if (thrown) return <Failed name={name} error={thrown.error} />;
    return <Suspense fallback={wait}>{children}</Suspense>;
  }
}

function Failed({ name, error }: { name: string; error: unknown }) {
  const missing = error instanceof SwarmError && error.code === 'CODE_MISSING';
  const [told, tell] = useState<WireError>(() => (missing ? error.toWire() : faultOf(error)));
  /** Only when the server is there: a page that is loaded anew in vain is gone, and its miner with it. */
  const again = () =>
    getJson('/v1/run').then(
      () => location.reload(),
      (reason: unknown) => tell({ ...SwarmError.from(reason).toWire(), hint: ERROR_HINTS.CODE_MISSING }),
    );
  return (
    <Notice
      tone={missing ? 'wait' : 'bad'}
      title={missing ? `${name} could not be loaded.` : `${name} cannot be shown.`}
      action={
        <button type="button" className="quiet" onClick={again}>
          Try again
        </button>
      }
    >
      <ErrorText error={told} />
    </Notice>
  );
}

const faultOf = (error: unknown): WireError => ({
  ...SwarmError.from(error).toWire(),
  hint: 'This is a fault in the page. When it is loaded anew, a miner in this tab goes on by itself. If the fault comes back, tell who runs this server.',
});
