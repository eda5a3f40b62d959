/** Amounts and shares of a chain, for people. */
const RAO = 10n ** 9n;
const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** Rao in decimal digits, as alpha or TAO: `1234567890000` → `1,234.568` */
export function coins(rao: string): string {
  const amount = BigInt(rao);
  const thousandths = (amount * 1_000n + RAO / 2n) / RAO;
  return `${grouped.format(thousandths / 1_000n)}.${String(thousandths % 1_000n).padStart(3, '0')}`;
}

/** A part of a whole: 0.1234 → `12.3 %`; nothing → `–` */
export const percent = (part: number, whole: number): string => (whole > 0 && part > 0 ? `${((100 * part) / whole).toFixed(1)} %` : '–');

const U16 = 65_535;
/** A u16 share of 1: 32767 → `0.500` */
export const share = (u16: number): string => (u16 === 0 ? '–' : (u16 / U16).toFixed(3));

/** Floating-point operations: 1.2e12 → `1.20 TFLOP` */
export function work(flops: number): string {
  const units = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
  let value = flops;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return flops === 0 ? '–' : `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${units[unit]}FLOP`;
}

/** Enough of an address to tell it from others: `5Grwva…utQY` */
export const brief = (address: string): string => `${address.slice(0, 6)}…${address.slice(-4)}`;
