import { useEffect, useState } from 'react';
import { bytes, count } from '../format.ts';
import { OUTCOMES } from '../history/receipts.tsx';
import { useLive } from '../live.ts';
import { onDemand, Part } from '../part.tsx';
import { ErrorText, Notice, Stat, Wait } from '../parts.tsx';
import { isInHeadline } from './activity.ts';
import { Control } from './control.tsx';
import { type Device, findDevice, hopeless } from './device.ts';
import { DevicePanel } from './device-panel.tsx';
import { useMiner } from './mining.ts';
import { OwnHistory } from './own-history.tsx';
import { Pipeline } from './pipeline.tsx';
import { Refusals } from './refusals.tsx';
import { SharedRun } from './shared-run.tsx';
import { useToneSilenced } from './tone.ts';
import { useSettings } from './use-settings.ts';

/** Signatures and wallets are larger than the rest of the page, and nobody needs them to start. */
const WalletPanel = onDemand(() => import('../wallet/wallet-panel.tsx'));

export function MinePage() {
  const miner = useMiner();
  const { run, connection } = useLive();
  const device = useDevice();
  return (
    <div className="mine">
      <h1 className="visually-hidden">Mine</h1>
      <Control device={device} />
      {/* Notices come first, once it is known whether there are any: nothing moves when they do. */}
      {device && (run || connection === 'lost') && (
        <>
          <Concerns device={device} />
          <section className="panel yours" aria-labelledby="yours">
            <div className="panel-head">
              <h2 id="yours">This tab’s work</h2>
            </div>
            <dl className="stats thirds">
              <Stat label={OUTCOMES.counted.label} value={count(miner?.microbatches ?? 0)} note={OUTCOMES.counted.meaning} />
              <Stat label={OUTCOMES.surplus.label} value={count(miner?.surplus ?? 0)} note={OUTCOMES.surplus.meaning} />
              <Stat label={OUTCOMES.refused.label} value={count(miner?.rejected ?? 0)} note={OUTCOMES.refused.meaning} />
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
          <DevicePanel />
          <div className={`wallet-slot ${hopeless() ? '' : 'awaited'}`}>
            <Part name="The account">
              <WalletPanel />
            </Part>
          </div>
          <Pipeline stages={run?.stages ?? []} miner={miner} />
          <OwnHistory />
        </>
      )}
    </div>
  );
}

const rate = (n: number) => (n < 100 ? n.toFixed(1) : count(n));

/** Failures, and why a slower backend is used: each with what to do about it. */
function Concerns({ device }: { device: Device | null }) {
  const miner = useMiner();
  const { run } = useLive();
  const silenced = useToneSilenced();
  const { backend } = useSettings();
  /** What there is to say of the GPU only matters where it may be used. */
  const idleGpu = !miner && backend !== 'wasm' && !hopeless() ? device : null;
  return (
    <>
      {miner?.error && !isInHeadline(miner) && (
        <Notice tone="bad" title="Mining is delayed">
          <ErrorText error={miner.error} />
        </Notice>
      )}
      {miner?.fallback && (
        <Notice tone="wait" title="Mining on the CPU (wasm)">
          <ErrorText error={miner.fallback} />
          {device?.fix && <p>{device.fix}</p>}
        </Notice>
      )}
      {silenced && (
        <Notice tone="wait" title="The tone that keeps this tab awake is silent">
          <p>The browser lets a page make a sound only after somebody touched it: any click or key on this page starts the tone.</p>
        </Notice>
      )}
      {idleGpu?.problem && (
        <Notice tone="wait" title={`No WebGPU: this tab ${backend === 'webgpu' ? 'cannot mine on it' : 'would mine on the CPU'}`}>
          <ErrorText error={idleGpu.problem} />
          {idleGpu.fix && <p>{idleGpu.fix}</p>}
        </Notice>
      )}
      {idleGpu?.software && (
        <Notice tone="wait" title="This WebGPU runs in software">
          <p>
            The browser imitates a GPU on the CPU. Mining works, slowly; the CPU backend may be faster. Switch hardware acceleration on if
            there is a GPU.
          </p>
        </Notice>
      )}
      {!miner && device?.watchOnly && (
        <Notice tone="wait" title="This telephone watches">
          <p>
            iOS ends pages that compute for long, without a word, and so what they hold is lost. The dashboard and the playground work; if
            you mine here anyway, keep the page in front.
          </p>
        </Notice>
      )}
      {run?.reason?.code === 'STORE' && (
        <Notice tone="wait" title="The run stands still">
          <Wait wait={run.reason} />
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
