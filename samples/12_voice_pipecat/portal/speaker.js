// Runs where the sound is: plays what came, in its order; anything that is no sound empties the queue.
class Speaker extends AudioWorkletProcessor {
  pieces = [];
  at = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) {
        this.pieces.push(new Int16Array(data));
      } else {
        this.pieces = [];
        this.at = 0;
      }
    };
  }

  process(_, [[out]]) {
    for (let index = 0; index < out.length && this.pieces.length; index++) {
      out[index] = this.pieces[0][this.at++] / 32768;
      if (this.at === this.pieces[0].length) {
        this.pieces.shift();
        this.at = 0;
      }
    }
    return true;
  }
}

registerProcessor("speaker", Speaker);
