import type { PayView } from '@starling/protocol';
import { Fragment, useMemo } from 'react';
import { useLive } from '../live.ts';
import { minerPath } from '../paths.ts';
import { Link } from '../router.tsx';
import { type ByDevice, called } from './called.ts';

/** Miners of the run by the device that signs for them: the tabs of a browser have one. */
export function useByDevice(): ByDevice {
  const { run } = useLive();
  return useMemo(() => Map.groupBy(run?.stages.flatMap(({ miners }) => miners) ?? [], ({ device }) => device), [run]);
}

/** Who mines for an account, by name; those in the run lead to their pages. Nothing where no name is known. */
export function Who({ account, byDevice }: { account: PayView | undefined; byDevice: ByDevice }) {
  const all = account ? called(account, byDevice) : [];
  if (all.length === 0) return null;
  return (
    <span className="who" title={all.map(({ name }) => name).join(', ')}>
      {all.map(({ name, id }, i) => (
        <Fragment key={id ?? name}>
          {i > 0 && ', '}
          {id === null ? name : <Link to={minerPath(id)}>{name}</Link>}
        </Fragment>
      ))}
    </span>
  );
}
