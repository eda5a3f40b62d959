import { crc32 as zlibCrc32 } from 'node:zlib';
import { expect, test } from 'vitest';
import { crc32, zip } from './zip.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

test('CRC-32 over parts is zlib’s over all of them', () => {
  expect(crc32([bytes('12345'), bytes('6789')])).toBe(0xcbf43926);
});

/** As a program that unpacks does it: from the end, through the directory, to each file. */
function unzip(archive: Buffer): Map<string, Buffer> {
  const end = archive.length - 22;
  expect(archive.readUInt32LE(end)).toBe(0x06054b50);
  const files = new Map<string, Buffer>();
  let at = archive.readUInt32LE(end + 16);
  expect(at + archive.readUInt32LE(end + 12), 'the directory ends where its end begins').toBe(end);
  for (let i = 0; i < archive.readUInt16LE(end + 10); i++) {
    expect(archive.readUInt32LE(at)).toBe(0x02014b50);
    const [crc, size, nameLength, start] = [16, 24, 28, 42].map((field) =>
      field === 28 ? archive.readUInt16LE(at + field) : archive.readUInt32LE(at + field),
    ) as [number, number, number, number];
    const name = archive.toString('utf8', at + 46, at + 46 + nameLength);
    // Everything from the version to the extra field's length is said twice.
    expect(archive.subarray(start + 4, start + 30)).toEqual(archive.subarray(at + 6, at + 32));
    const data = archive.subarray(start + 30 + nameLength, start + 30 + nameLength + size);
    expect(zlibCrc32(data)).toBe(crc);
    files.set(name, data);
    at += 46 + nameLength;
  }
  expect(at).toBe(end);
  return files;
}

test('every file is found again, whole', () => {
  const noise = Uint8Array.from({ length: 70_000 }, (_, i) => i * 31);
  const files = unzip(
    Buffer.concat(
      zip([
        { name: 'a.txt', parts: [bytes('one, '), bytes('two')] },
        { name: 'empty', parts: [] },
        { name: 'é.bin', parts: [noise] },
      ]),
    ),
  );
  expect([...files].map(([name, data]) => [name, data.length])).toEqual([
    ['a.txt', 8],
    ['empty', 0],
    ['é.bin', 70_000],
  ]);
  expect(files.get('a.txt')!.toString()).toBe('one, two');
  expect(files.get('é.bin')!.equals(noise)).toBe(true);
});
