import { useEffect, useRef, useState } from 'react';

/** Copies the address of what is shown, and says so. Where the browser gives no clipboard, the address is there to be copied by hand. */
export function CopyLink({ address }: { address: string }) {
  const [outcome, setOutcome] = useState<{ address: string; copied: boolean } | null>(null);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), [outcome]);
  const copy = async () => {
    // Insecure pages have no clipboard, and a browser may refuse it.
    const copied = await Promise.resolve(navigator.clipboard?.writeText(address).then(() => true)).catch(() => false);
    setOutcome({ address, copied: copied ?? false });
  };
  const told = outcome?.address === address ? outcome : null;
  return (
    <>
      <button type="button" className="quiet" onClick={() => void copy()}>
        Copy link
      </button>
      <output className="replay-copied">
        {told?.copied && 'Copied.'}
        {told && !told.copied && (
          <label>
            This browser does not copy; the link is <input ref={field} type="text" readOnly value={address} />
          </label>
        )}
      </output>
    </>
  );
}
