import { describe, expect, it } from 'vitest';
import { ERROR_HINTS, type ErrorCode, SwarmError } from './errors.ts';

const codes = Object.keys(ERROR_HINTS) as ErrorCode[];

describe('an error', () => {
  it.each(codes)('%s says what to do, and crosses the wire whole', (code) => {
    const error = new SwarmError(code, 'What happened.');
    expect(error.hint).toMatch(/^[A-Z].{20,}\.$/);
    const back = SwarmError.fromWire(JSON.parse(JSON.stringify(error.toWire())));
    expect(back).toBeInstanceOf(SwarmError);
    expect(back.toWire()).toEqual({ code, message: 'What happened.', hint: error.hint });
  });

  it.each(codes)('%s names what is chosen by its name on the page and by the option of the command', (code) => {
    expect(ERROR_HINTS[code]).not.toMatch(/(?<!--)backend/);
    if (ERROR_HINTS[code].includes('“Compute on”')) expect(ERROR_HINTS[code]).toMatch(/\(headless: `--backend (wasm|webgpu)`\)/);
  });

  it.each(codes)('%s tells a person nothing that only the program can do', (code) => {
    expect(ERROR_HINTS[code]).not.toMatch(/discard it/i);
  });

  it('of a code nobody knows, from a newer server, becomes INTERNAL and keeps its message', () => {
    for (const code of ['NEW_CODE', 'toString', '__proto__']) {
      const error = SwarmError.fromWire({ code: code as ErrorCode, message: 'm', hint: 'h' });
      expect(error.toWire()).toEqual({ code: 'INTERNAL', message: 'm', hint: ERROR_HINTS.INTERNAL });
    }
  });

  it('made of anything thrown keeps it as its cause, and is a sentence', () => {
    const cause = new TypeError('x is undefined');
    expect(SwarmError.from(cause)).toMatchObject({ code: 'INTERNAL', message: 'x is undefined.', cause });
    expect(SwarmError.from('text', 'HTTP_FAILED')).toMatchObject({ code: 'HTTP_FAILED', message: 'text.' });
    for (const said of ['Done.', 'Why?\n']) expect(SwarmError.from(said).message).toBe(said.trim());
    const coded = new SwarmError('BAD_REQUEST', 'm');
    expect(SwarmError.from(coded, 'INTERNAL')).toBe(coded);
  });
});
