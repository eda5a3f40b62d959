import './styles/chain.css';
import type { ReactNode } from 'react';

/** A column's head; `number`: set to the right, as its cells are. */
export type Column = string | { number: string };

/** A panel of one table, or of a sentence where it is empty. Rows are `tr`s. */
export function TablePanel({
  id,
  title,
  note,
  caption,
  columns,
  empty,
  className,
  after,
  children,
}: {
  id: string;
  title: string;
  note?: ReactNode;
  /** For screen readers: what a row is. */
  caption: string;
  columns: readonly Column[];
  /** Said instead of a table without rows. */
  empty: string;
  className?: string;
  /** Below the table. */
  after?: ReactNode;
  children: readonly ReactNode[];
}) {
  return (
    <section className="panel" aria-labelledby={id}>
      <div className="panel-head">
        <h2 id={id}>{title}</h2>
        {note && <p className="muted">{note}</p>}
      </div>
      {children.length === 0 ? (
        <p className="empty chain-empty">{empty}</p>
      ) : (
        <ScrollBox label={caption}>
          <table className={className ? `chain-table ${className}` : 'chain-table'}>
            <caption className="visually-hidden">{caption}</caption>
            <thead>
              <tr>
                {columns.map((column) =>
                  typeof column === 'string' ? (
                    <th key={column} scope="col">
                      {column}
                    </th>
                  ) : (
                    <th key={column.number} scope="col" className="number">
                      {column.number}
                    </th>
                  ),
                )}
              </tr>
            </thead>
            <tbody>{children}</tbody>
          </table>
        </ScrollBox>
      )}
      {after}
    </section>
  );
}

/** A table that may be wider than the page: it scrolls by itself, with the keyboard too. */
export function ScrollBox({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
    <section className="table-scroll" tabIndex={0} aria-label={`${label}, a table`}>
      {children}
    </section>
  );
}
