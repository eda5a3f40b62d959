import { Link } from './router.tsx';

/** For an address that is no page's. */
export function Nowhere() {
  return (
    <section className="panel standing idle">
      <div className="unknown">
        <h1 className="state-title">No such page</h1>
        <p className="nowhere-at">
          Nothing is at <code>{location.pathname}</code>: the address may be mistyped, or of another release.
        </p>
        <p className="hint">
          The pages stand above; most come for the <Link to="/dashboard">dashboard</Link>. <code className="code">NOT_FOUND</code>
        </p>
      </div>
    </section>
  );
}
