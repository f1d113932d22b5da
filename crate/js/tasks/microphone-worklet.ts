// Runs on the audio thread: collects samples and posts them, some 20 ms at a time.
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new () => AudioWorkletProcessor): void;

const BLOCK = 1024;

registerProcessor(
  "homefire-microphone",
  class extends AudioWorkletProcessor {
    private block = new Float32Array(BLOCK);
    private filled = 0;

    process([input]: Float32Array[][]): boolean {
      const samples = input?.[0];
      if (!samples) return true;
      for (const sample of samples) {
        this.block[this.filled++] = sample;
        if (this.filled < BLOCK) continue;
        this.port.postMessage(this.block, [this.block.buffer]);
        this.block = new Float32Array(BLOCK);
        this.filled = 0;
      }
      return true;
    }
  },
);
