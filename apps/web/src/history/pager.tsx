import { NEWEST, newer, older, type Page, type Place } from './paging.ts';

/** Newest, Newer and Older, beside a sentence on what is shown. `label`: of what these are pages. */
export function Pager<T extends { id: number }>(props: {
  label: string;
  status: string;
  place: Place;
  page: Page<T>;
  pending: boolean;
  onPlace: (place: Place) => void;
}) {
  const { label, status, place, page, pending, onPlace } = props;
  return (
    <nav className="pager" aria-label={label}>
      <p role="status">{status}</p>
      <PagerButton label="Newest" possible={place.length > 1} onClick={() => onPlace(NEWEST)} />
      <PagerButton label="Newer" possible={place.length > 0} onClick={() => onPlace(newer(place))} />
      <PagerButton label="Older" possible={page.next !== null} onClick={() => !pending && onPlace(older(place, page))} />
    </nav>
  );
}

/** Stays where it is, and keeps the focus, when there is nothing in its direction. */
function PagerButton({ label, possible, onClick }: { label: string; possible: boolean; onClick: () => void }) {
  return (
    <button type="button" className="quiet" aria-disabled={!possible} onClick={possible ? onClick : undefined}>
      {label}
    </button>
  );
}
