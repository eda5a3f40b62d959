/** The memory that tfjs keeps its tensors in on wasm, for programs of our own to work on. */
import * as tf from '@tensorflow/tfjs-core';

interface Backend {
  /** Emscripten's exports; the threaded build imports its memory, which all threads share. */
  wasm: { asm?: { memory?: WebAssembly.Memory }; wasmMemory?: WebAssembly.Memory };
  dataIdMap: { get(id: tf.DataId): { memoryOffset: number } };
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
}

export class Heap {
  readonly memory: WebAssembly.Memory;
  private readonly backend: Backend;

  private constructor(backend: Backend, memory: WebAssembly.Memory) {
    this.backend = backend;
    this.memory = memory;
  }

  /** Null where the memory of the present backend cannot be reached. */
  static find(): Heap | null {
    const backend = tf.backend() as unknown as Backend;
    const memory = backend.wasm.wasmMemory ?? backend.wasm.asm?.memory;
    return memory instanceof WebAssembly.Memory ? new Heap(backend, memory) : null;
  }

  /** A tensor of float32 whose elements are yet to be written. */
  make(shape: readonly number[]): tf.Tensor {
    return tf.engine().makeTensorFromTensorInfo(this.backend.makeOutput([...shape], 'float32'));
  }

  /** Its address in bytes, for as long as it lives. */
  address({ dataId }: tf.Tensor): number {
    return this.backend.dataIdMap.get(dataId).memoryOffset;
  }

  /** Its elements where they lie: until the next tensor is made, which may move the memory. */
  view(tensor: tf.Tensor): Float32Array {
    return new Float32Array(this.memory.buffer, this.address(tensor), tensor.size);
  }
}
