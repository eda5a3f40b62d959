/** A zip archive without compression: model parameters are noise to a compressor. Format: PKWARE's APPNOTE 6.3, sections 4.3.7 to 4.3.16. */

export interface Entry {
  name: string;
  parts: readonly Uint8Array<ArrayBuffer>[];
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 as zip, gzip and PNG use it. */
export function crc32(parts: readonly Uint8Array[]): number {
  let crc = 0xffffffff;
  for (const part of parts) for (let i = 0; i < part.length; i++) crc = TABLE[(crc ^ part[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** 1980-01-01, the first day a zip can name: the same model gives the same bytes. */
const DAY = (1 << 5) | 1;

/** Parts of the archive, in order. Under 4 GiB in all. */
export function zip(entries: readonly Entry[]): Uint8Array<ArrayBuffer>[] {
  const body: Uint8Array<ArrayBuffer>[] = [];
  const directory: Uint8Array<ArrayBuffer>[] = [];
  let offset = 0;
  for (const { name, parts } of entries) {
    const label = new TextEncoder().encode(name);
    const size = sizeOf(parts);
    // Version 2.0, UTF-8 names, stored, time, day, CRC, both sizes, lengths of name and extra field.
    const facts = [u16(20), u16(0x800), u16(0), u16(0), u16(DAY), u32(crc32(parts)), u32(size), u32(size), u16(label.length), u16(0)];
    const header = [u32(0x04034b50), ...facts, label];
    directory.push(u32(0x02014b50), u16(20), ...facts, u16(0), u16(0), u16(0), u32(0), u32(offset), label);
    body.push(...header, ...parts);
    offset += sizeOf(header) + size;
  }
  const count = u16(entries.length);
  const end = [u32(0x06054b50), u16(0), u16(0), count, count, u32(sizeOf(directory)), u32(offset), u16(0)];
  return [...body, ...directory, ...end];
}

const sizeOf = (parts: readonly Uint8Array[]) => parts.reduce((sum, part) => sum + part.length, 0);
const u16 = (value: number) => Uint8Array.of(value & 0xff, value >>> 8);
const u32 = (value: number) => Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
