/** What a spreadsheet would compute instead of show; a number it may. */
const FORMULA = /^[=+\-@\t\r](?!\d*\.?\d+(e[+-]?\d+)?$)/i;

/** Rows for a spreadsheet (RFC 4180); nothing where there is no value. A text that would be a formula gets an apostrophe. */
export function csvOf(head: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const cell = (value: string | number | null) => {
    const plain = String(value ?? '');
    const text = FORMULA.test(plain) ? `'${plain}` : plain;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [head, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}
