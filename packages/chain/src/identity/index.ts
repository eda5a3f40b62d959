export { fromHex, utf8 } from './bytes.ts';
export { type Challenge, Challenges } from './challenges.ts';
export * from './delegation.ts';
export { DeviceKey } from './device.ts';
export { hotkeyFrom } from './hotkey-file.ts';
export { type Signer, Sr25519Key } from './keys.ts';
export { assertFromDevice, unlinkMessage } from './said.ts';
export { isEd25519, isSigned, isSr25519, wrapBytes } from './signature.ts';
export { BITTENSOR_PREFIX, decodeAddress, encodeAddress } from './ss58.ts';
