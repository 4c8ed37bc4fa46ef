// Runs where the sound is: the microphone's samples, as 16-bit PCM in pieces of 40 ms.
const PIECE = 640;

class Microphone extends AudioWorkletProcessor {
  piece = new Int16Array(PIECE);
  filled = 0;

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.piece[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.filled === PIECE) {
        this.port.postMessage(this.piece.buffer, [this.piece.buffer]);
        this.piece = new Int16Array(PIECE);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
