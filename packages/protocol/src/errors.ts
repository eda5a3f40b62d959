/**
 * Every error the system can show, as a closed set. A code says *which*, `message` what happened this
 * time, and `hint` what to do about it. Nothing else is ever sent to a user.
 */

/** For a miner that runs: what is chosen on the page can be chosen only while nothing runs. */
const ON_THE_CPU = 'press Stop, choose CPU under “Compute on”, and press Start (headless: `--backend wasm`)';

/** Code → what to do about it. The hint is shown word for word, on the page as by the headless miner: its words are those of both. */
export const ERROR_HINTS = {
  // Handshake
  PROTOCOL_UNSUPPORTED: 'Reload the page (or update the headless miner): it is older or newer than this server.',
  NOT_JOINED: 'Send `hello` first; the connection was probably resumed after the server restarted.',
  BAD_MESSAGE: 'The message does not fit the protocol; docs/protocol.md shows its fields. Nothing was changed.',
  // Frames and blobs
  FRAME_MALFORMED: 'The tensor frame could not be read; encode it again as docs/protocol.md describes.',
  FRAME_HASH_MISMATCH: 'The bytes do not match their SHA-256: they were damaged on the way. Send them again.',
  TENSOR_SHAPE: 'The tensor has another shape or type than this lease asks for. The lease stays open: send the right one.',
  TENSOR_NOT_FINITE: `The tensor holds NaN, infinity, or numbers far too large. Reload the page; if it happens again, this GPU computes wrongly: ${ON_THE_CPU}. If everybody is told so, the run needs another --boundary.`,
  LOSS_IMPLAUSIBLE: `The loss is no number a model can have. Reload the page; if it happens again, this GPU computes wrongly: ${ON_THE_CPU}.`,
  BLOB_NOT_FOUND: 'The server does not hold these bytes (any more). Ask for a new assignment by reconnecting.',
  BLOB_HASH_MISMATCH: 'The uploaded bytes do not match the SHA-256 in the address. Upload them again.',
  BLOB_TOO_LARGE: 'The upload is larger than this run ever needs. Nothing was stored.',
  UNAUTHORIZED: 'Send the token from `hello` as `Authorization: Bearer …`.',
  BAD_REQUEST: 'The request body or address does not fit; docs/protocol.md shows the form. Nothing was changed.',
  NOT_FOUND: 'Nothing lives at this address; docs/protocol.md lists what does.',
  // Leases and receipts
  BUSY: 'Nothing is wrong and nothing was lost: the other side has its hands full. It is tried again by itself after the time given.',
  LEASE_UNKNOWN: 'No such lease was granted to this miner. Nothing was credited; wait for the next lease.',
  LEASE_NOT_YOURS: 'The lease belongs to another miner. Nothing was changed; send only receipts for your own leases.',
  LEASE_LATE:
    'The deadline passed and others have the lease now; a receipt that comes before theirs still counts. Close other heavy tabs and keep the computer awake.',
  REASSIGNED: 'Nothing to do: the miner fetches its stage, and gets leases again.',
  REMOVED: 'The miner was taken off the run, and what it held went to others. It joins again by itself when it can be reached.',
  LEASE_EXPIRED: 'This lease is over: it was settled without this receipt. Nothing to do: the next lease comes by itself.',
  RECEIPT_DUPLICATE: 'This receipt was already accepted and counts once. Nothing to do.',
  RECEIPT_INPUT:
    'The receipt names another input than this lease carried: input and output were mixed up. Nothing was credited; the lease stays open.',
  MODEL_NOT_LLAMA:
    'Only ordinary Llamas can be written with here or taken home. Start the run with another --boundary: subspace gives one as small.',
  // Merging
  CONTRIBUTION_UNEXPECTED: 'No gradient is being collected from this miner now. Nothing to do: the next step asks again.',
  CONTRIBUTION_LATE:
    'The gradient came after others had computed its microbatches again. Keep the tab in the foreground and the computer awake so that it comes sooner.',
  CONTRIBUTION_MISMATCH:
    'The gradient covers other microbatches than those accepted from this miner. Nothing to do: the miner fetches its stage again by itself.',
  PARAMETERS_DIVERGED: 'This miner’s parameters differ from the swarm’s. It fetches the stage again by itself.',
  MERGE_UNEXPECTED: 'The merge does not await this (any more). Nothing was changed; the next step asks again.',
  SHARD_MALFORMED: 'The shard is not what its codec writes. Encode it again as docs/reduce.md describes; a gradient like this is left out.',
  SHARD_MISMATCH: 'The bytes are not those that were committed. Upload the committed ones before the deadline.',
  CONTRIBUTION_MISSING:
    'The gradient was not here in time and is left out of this merge. Keep the tab in the foreground and the computer awake so that it comes sooner.',
  GRADIENT_FALSE: `An audit found that this gradient is not what its microbatches give. Reload the page; if it happens again, ${ON_THE_CPU}.`,
  AUDIT_FAILED: `What was held of this miner’s pay is lost, and it gets no leases for a while. If its work was honest, its GPU computes wrongly: ${ON_THE_CPU}.`,
  WORK_UNVERIFIED:
    'Pay is for work that can be verified, and this could not be: through no fault of this miner’s, as far as is known. There is nothing to do.',
  REDUCTION_FALSE:
    'The reported sum is not what the uploads give. Reload the page; the arithmetic is the same in every browser, so a changed client is the likely cause.',
  MERGE_EMPTY: 'No gradient came through. The parameters stay as they are, and the next step goes on from them.',
  // Validators
  VALIDATOR_REFUSED:
    'Register the hotkey and stake on it until it holds a validator permit and the stake asked for (on a server’s own chain: `npm start -- --validator HOTKEY=TAO`); it is tried again by itself.',
  ORIGIN_WRONG:
    'Give the validator the address that the server is known by, with --url. A server behind a name or a proxy is told its own with --public-url.',
  VALIDATOR_DISPUTED:
    'Its verdict was not borne out and does not count. If it was honest, its hardware computes wrongly: choose another --backend for it.',
  SECRET_FALSE: 'The validator drew by another secret than it had committed to. Its draws do not count; the server’s own go on.',
  SECRET_WITHHELD: 'Keep the validator connected, or start it again soon: until its secret is told nobody can check its draws.',
  // Identity and chain
  ADDRESS_INVALID: 'Copy the address from the wallet again; it begins with 5 and has 47 or 48 characters.',
  SIGNATURE_INVALID: 'Sign again with the account that is shown. Nothing was changed.',
  DELEGATION_EXPIRED: 'Connect the wallet again: one signature, and this device works for the hotkey for up to 30 days.',
  DELEGATION_REPLAYED: 'Connect the wallet again: every challenge can be signed once, within two minutes.',
  DELEGATION_WRONG_NETWORK: 'Connect the wallet on this page again: what it signed is for another network or subnet.',
  DELEGATION_WRONG_SERVER: 'Connect the wallet on this page again: what it signed is for another server.',
  WALLET_MISSING:
    'Install a wallet such as polkadot{.js}, Talisman or SubWallet in this browser, and load the page again. Mining needs none.',
  WALLET_REFUSED: 'Open the wallet, unlock it, and allow this page there; then try again. Mining goes on meanwhile.',
  DEVICE_KEY_UNSUPPORTED: 'Update the browser (Chrome 137+, Firefox 129+, Safari 17+): it has to make ed25519 keys.',
  CHAIN_UNREACHABLE: 'The chain does not answer. Training goes on; calls that are in no block yet are to be sent again.',
  CHAIN_WRONG_NETWORK: 'Give the address of a node of the chain that is meant, or the genesis hash of the chain that is there.',
  CHAIN_INCOMPATIBLE:
    'The chain was changed in a way this release does not know: update it. Training goes on; weights are not set meanwhile.',
  CHAIN_REFUSED: 'The chain did not take this call, for the reason it names. Nothing was changed.',
  // Miner side
  WEBGPU_UNAVAILABLE:
    'Use a browser with WebGPU (Chrome 113+, Edge, Safari 26+, Firefox 141+ on Windows) and switch hardware acceleration on; or choose CPU under “Compute on” (headless: `--backend wasm`), which needs no GPU.',
  DEVICE_LOST: 'The GPU was reset or taken away. The miner builds it anew and goes on; close other GPU-heavy tabs if it happens often.',
  DEVICE_WRONG:
    'Update the graphics driver or the browser. Until then the CPU computes right; it is taken by itself unless WebGPU is chosen under “Compute on” (headless: `--backend webgpu`).',
  MEMORY_SHORT:
    'Raise the memory cap under Settings, or mine on a device with more memory; another run, or one cut into more stages, needs less.',
  BACKEND_FAILED: 'What computes here, the GPU or the CPU, did not start or has failed. Update the browser or the graphics driver.',
  CODE_MISSING: 'When the server answers, load the page anew: a miner in this tab goes on by itself.',
  INSECURE_CONTEXT: 'Open the page over https:// or on localhost: browsers give WebGPU and SHA-256 to secure pages only.',
  FRAMED: 'Open this page in a tab of its own: in a frame nobody sees what it does to the device.',
  CONNECTION_LOST:
    'The server cannot be reached. A miner tries again by itself and resumes where it was; all else is to be tried again when the server answers.',
  HTTP_FAILED: 'A download or upload failed. The miner tries again by itself.',
  // Operator
  CHECKPOINT_FAILED:
    'Free space (or fix permissions) in the data folder. A run that is under way goes on: the last good checkpoint is kept, and the next one is tried at the next interval.',
  CHECKPOINT_CORRUPT: 'This checkpoint does not match its manifest and is left alone. The newest whole one before it is used.',
  STORE_FAILED:
    'The log of the run cannot be written: free space in the data folder, or bring the database back. Nothing was acknowledged that is not stored; the server goes on by itself as soon as writing works.',
  STORE_CONFLICT: 'Another server wrote to this run’s log. Stop one of the two; the one that goes on is restarted and reads the log anew.',
  LOG_UNREADABLE: 'The log of this run does not fit this release or is damaged. Use the release that wrote it, or another --data.',
  LOG_DAMAGED:
    'Part of the log is gone or was changed. A server goes on from its newest whole checkpoint by itself; what is before the damage can still be read with `npm run replay -- --at N`.',
  CORPUS_UNUSABLE: 'Give --corpus a UTF-8 text file or a folder of them with at least a few thousand characters.',
  CONFIG_INVALID: 'Correct the option; `--help` lists them all.',
  DATA_IN_USE: 'Stop the other server, or give this one a folder of its own with --data.',
  PORT_IN_USE: 'Choose another port with --port, or stop the program that holds it.',
  GPU_MISSING:
    'Install the GPU’s driver (on Linux one for Vulkan) and let this user open /dev/dri (groups `video` and `render`); or mine without: `--backend auto` takes the CPU where there is no GPU, `--allow-software` one that is imitated.',
  CHROMIUM_MISSING:
    'Install Chromium (Debian: `apt-get install chromium`; elsewhere: `npx playwright install chromium`) or set CHROMIUM_PATH.',
  INTERNAL: 'This is a fault in the server; its log holds the details. Nothing that was accepted is lost.',
} as const;

export type ErrorCode = keyof typeof ERROR_HINTS;

/** An error as it crosses the wire and as pages show it. */
export interface WireError {
  code: ErrorCode;
  message: string;
  hint: string;
}

/** The only error class that crosses a package border on purpose. */
export class SwarmError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'SwarmError';
    this.code = code;
  }

  get hint(): string {
    return ERROR_HINTS[this.code];
  }

  toWire(): WireError {
    return { code: this.code, message: this.message, hint: this.hint };
  }

  static fromWire(error: WireError): SwarmError {
    return new SwarmError(Object.hasOwn(ERROR_HINTS, error.code) ? error.code : 'INTERNAL', error.message);
  }

  /** Anything thrown, as a `SwarmError`; an unknown one becomes `INTERNAL` with the original as its cause, and a sentence, since a hint follows. */
  static from(error: unknown, code: ErrorCode = 'INTERNAL'): SwarmError {
    if (error instanceof SwarmError) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new SwarmError(code, message.trimEnd().replace(/[^.!?…]$/, '$&.'), { cause: error });
  }
}
