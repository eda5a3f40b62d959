import { useEffect, useState } from 'react';
import { bytes, count } from '../format.ts';
import { useLive } from '../live.ts';
import { ErrorText, Notice, Stat } from '../parts.tsx';
import { Control } from './control.tsx';
import { type Device, findDevice } from './device.ts';
import { useMiner } from './mining.ts';
import { Pipeline } from './pipeline.tsx';
import { Refusals } from './refusals.tsx';
import { SharedRun } from './shared-run.tsx';

export function MinePage() {
  const miner = useMiner();
  const { run } = useLive();
  const device = useDevice();
  return (
    <div className="mine">
      <h1 className="visually-hidden">Mine</h1>
      <Control device={device} />
      <Concerns device={device} />
      <section className="panel yours" aria-labelledby="yours">
        <div className="panel-head">
          <h2 id="yours">This tab’s work</h2>
        </div>
        <dl className="stats">
          <Stat label="Microbatches" value={count(miner?.microbatches ?? 0)} note="accepted" />
          <Stat label="Tokens" value={count(miner?.tokens ?? 0)} note="trained on" />
          <Stat label="Tokens per second" value={rate(miner?.tokensPerSecond ?? 0)} note="last 30 s" />
          <Stat
            label="Memory"
            value={miner ? bytes(miner.memory.bytes) : '–'}
            note={miner ? `${count(miner.memory.tensors)} tensors` : 'on the device'}
          />
        </dl>
        <Refusals miner={miner} />
      </section>
      <SharedRun />
      <Pipeline stages={run?.stages ?? []} miner={miner} />
    </div>
  );
}

const rate = (n: number) => (n < 100 ? n.toFixed(1) : count(n));

/** Failures, and why a slower backend is used: each with what to do about it. */
function Concerns({ device }: { device: Device | null }) {
  const miner = useMiner();
  const { run } = useLive();
  return (
    <>
      {miner?.error && (
        <Notice tone="bad" title={miner.activity === 'stopped' ? 'Mining stopped' : 'Mining is delayed'}>
          <ErrorText error={miner.error} />
        </Notice>
      )}
      {miner?.fallback && (
        <Notice tone="wait" title="Mining on the CPU (wasm)">
          <ErrorText error={miner.fallback} />
          {device?.fix && <p>{device.fix}</p>}
        </Notice>
      )}
      {!miner && device?.problem && (
        <Notice
          tone="wait"
          title={device.problem.code === 'INSECURE_CONTEXT' ? 'This page cannot mine here' : 'No WebGPU: this tab would mine on the CPU'}
        >
          <ErrorText error={device.problem} />
          {device.fix && <p>{device.fix}</p>}
        </Notice>
      )}
      {!miner && device?.software && (
        <Notice tone="wait" title="This WebGPU runs in software">
          <p>
            The browser imitates a GPU on the CPU. Mining works, slowly; the CPU backend may be faster. Switch hardware acceleration on if
            there is a GPU.
          </p>
        </Notice>
      )}
      {run?.phase === 'complete' && (
        <Notice tone="work" title="The run is complete">
          <p>All {count(run.step)} steps are done, so there is nothing to mine until the next run. The dashboard keeps the curves.</p>
        </Notice>
      )}
    </>
  );
}

/** Null while the browser is asked. */
function useDevice(): Device | null {
  const [device, setDevice] = useState<Device | null>(null);
  useEffect(() => {
    void findDevice().then(setDevice);
  }, []);
  return device;
}
