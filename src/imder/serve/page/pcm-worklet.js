/**
 * Sound of the microphone as 16-bit samples at a fixed rate, in blocks of a tenth of a second, each with the time of its first
 * sample on the audio clock. Resampling is a Hann-windowed sinc below the lower of both Nyquist frequencies.
 */

const CROSSINGS = 16;
const STEPS = 128; // table entries for each input sample

class PcmProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions: { rate } }) {
    super();
    this.rate = rate;
    this.step = sampleRate / rate;
    const cutoff = Math.min(1, rate / sampleRate) * 0.94;
    this.half = CROSSINGS / cutoff;
    this.kernel = new Float32Array(Math.ceil(this.half * STEPS) + 2);
    for (let i = 0; i < this.kernel.length; i++) {
      const x = i / STEPS;
      const sinc = x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x);
      this.kernel[i] = x < this.half ? cutoff * sinc * (0.5 + 0.5 * Math.cos((Math.PI * x) / this.half)) : 0;
    }
    this.block = new Int16Array(Math.round(rate / 10));
    this.begin(0);
  }

  /** Start anew at a frame of the audio clock, with silence before it. */
  begin(frame) {
    const lead = Math.ceil(this.half) + 1;
    this.input = new Float32Array(lead);
    this.first = frame - lead; // frame of input[0]
    this.position = frame; // frame of the next output sample
    this.filled = 0;
    this.expected = frame;
  }

  process(inputs) {
    const channels = inputs[0];
    if (!channels.length) return true;
    if (currentFrame !== this.expected) this.begin(currentFrame);
    const length = channels[0].length;
    this.expected = currentFrame + length;
    const joined = new Float32Array(this.input.length + length);
    joined.set(this.input);
    for (const channel of channels) {
      for (let i = 0; i < length; i++) joined[this.input.length + i] += channel[i] / channels.length;
    }
    this.input = joined;
    while (this.position + this.half < this.first + this.input.length) this.emit();
    const unused = Math.max(0, Math.floor(this.position - this.half) - this.first);
    this.input = this.input.slice(unused);
    this.first += unused;
    return true;
  }

  emit() {
    const centre = this.position - this.first;
    let sum = 0;
    for (let i = Math.ceil(centre - this.half); i <= centre + this.half; i++) {
      const at = Math.abs(i - centre) * STEPS;
      const low = Math.floor(at);
      sum += this.input[i] * (this.kernel[low] + (at - low) * (this.kernel[low + 1] - this.kernel[low]));
    }
    if (this.filled === 0) this.blockTime = this.position / sampleRate;
    this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sum * 32767)));
    this.position += this.step;
    if (this.filled === this.block.length) {
      const samples = this.block.slice();
      this.port.postMessage({ time: this.blockTime, samples: samples.buffer }, [samples.buffer]);
      this.filled = 0;
    }
  }
}

registerProcessor("pcm", PcmProcessor);
