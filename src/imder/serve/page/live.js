/** A live stream to the service: sound and pictures go up, predictions come back as events. */

import { getToken } from "./api.js";

const RATE = 16000;
const MOST_WAITING = 2_000_000; // bytes not yet sent; beyond this pictures are left out
const WIDTH = 480;
const QUALITY = 0.85;
const SOUND = 1;
const PICTURE = 2;

/**
 * Events: "open"; "prediction" (detail: row); "remark" (detail: {modality, remark}); "problem" (detail: {message, fatal, unauthorized, retryAfter}); "slow"; "end".
 */
export class LiveStream extends EventTarget {
  /** `video`: the element that shows the camera. */
  constructor({ video, window, hop, framesPerSecond, ignore }) {
    super();
    this.video = video;
    this.settings = { window, hop };
    this.framesPerSecond = framesPerSecond;
    this.ignore = ignore;
    this.counts = { sound: 0, pictures: 0 };
    this.finished = false;
  }

  /** Seconds since the start. */
  get time() {
    return (performance.now() - this.started) / 1000;
  }

  start() {
    const url = new URL("v1/stream", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      const token = getToken();
      this.send({ type: "start", ...this.settings, rate: RATE, ignore: this.ignore, ...(token ? { token } : {}) });
      this.started = performance.now();
      this.timer = setInterval(() => this.takePicture(), 1000 / this.framesPerSecond);
      this.clock = setInterval(() => this.send({ type: "time", time: this.time }), 1000); // words alone don't make time pass
      this.emit("open");
    };
    this.socket.onmessage = (event) => this.receive(event.data);
    this.socket.onclose = (event) => this.closed(event);
  }

  receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.type === "prediction") this.emit("prediction", message);
    if (message.type === "remark") this.emit("remark", message);
    if (message.type === "error") {
      this.lastError = { message: message.error, retryAfter: message.retry_after ?? null };
      this.emit("problem", { ...this.lastError, fatal: false });
    }
    if (message.type === "end") {
      this.finished = true;
      this.socket.close();
    }
  }

  closed(event) {
    clearInterval(this.timer);
    clearInterval(this.clock);
    clearTimeout(this.patience);
    this.node?.disconnect();
    this.context?.close();
    this.context = null;
    if (!this.finished) {
      const lost = "The connection to the service was lost.";
      const message = this.lastError?.message ?? lost;
      this.emit("problem", { message, retryAfter: this.lastError?.retryAfter ?? null, fatal: true, unauthorized: [1008, 4401].includes(event.code) && /token/i.test(message) });
    }
    this.emit("end");
  }

  /** Send the sound of a stream; may be called again when the microphone comes back. */
  async listen(stream) {
    if (!stream.getAudioTracks().length) return;
    this.context ??= new AudioContext();
    const context = this.context;
    await context.resume();
    if (!this.loaded) {
      await context.audioWorklet.addModule(new URL("pcm-worklet.js", import.meta.url));
      this.loaded = true;
    }
    this.node?.disconnect();
    this.node = new AudioWorkletNode(context, "pcm", { numberOfOutputs: 0, processorOptions: { rate: RATE } });
    const offset = performance.now() / 1000 - context.currentTime; // both clocks count seconds
    this.node.port.onmessage = ({ data }) => {
      if (this.ignore.includes("audio")) return;
      const time = data.time + offset - this.started / 1000;
      if (time >= 0) this.sendBlock(SOUND, time, new Uint8Array(data.samples));
      this.counts.sound++;
    };
    context.createMediaStreamSource(stream).connect(this.node);
  }

  takePicture() {
    const { video } = this;
    if (this.ignore.includes("vision") || this.encoding || !video.srcObject?.getVideoTracks().length || video.readyState < 2) return;
    if (this.socket.bufferedAmount > MOST_WAITING) {
      this.emit("slow");
      return;
    }
    const time = this.time;
    const scale = Math.min(1, WIDTH / video.videoWidth);
    this.canvas ??= document.createElement("canvas");
    this.canvas.width = Math.round(video.videoWidth * scale);
    this.canvas.height = Math.round(video.videoHeight * scale);
    this.canvas.getContext("2d").drawImage(video, 0, 0, this.canvas.width, this.canvas.height);
    this.encoding = true;
    this.canvas.toBlob(async (blob) => {
      if (blob && !this.ignore.includes("vision")) {
        this.sendBlock(PICTURE, time, new Uint8Array(await blob.arrayBuffer()));
        this.counts.pictures++;
      }
      this.encoding = false;
    }, "image/jpeg", QUALITY);
  }

  /** Words that were just said, with times that end now. */
  say(text) {
    const words = text.split(/\s+/).filter(Boolean);
    if (!words.length || this.ignore.includes("language")) return;
    const length = 0.3;
    const first = Math.max(0, this.time - length * words.length);
    this.send({
      type: "words",
      words: words.map((word, i) => ({ text: word, start: first + i * length, end: first + (i + 1) * length })),
    });
  }

  /** Modalities that fail from now on. */
  setIgnored(modalities) {
    this.ignore = modalities;
    this.send({ type: "ignore", modalities });
  }

  /** No more input: the service answers the last windows, then "end" comes. */
  stop() {
    clearInterval(this.timer);
    clearInterval(this.clock);
    this.node?.disconnect();
    this.send({ type: "stop" });
    this.finished = true;
    this.patience = setTimeout(() => this.socket.close(), 3000);
    if (this.socket.readyState === WebSocket.CONNECTING) this.socket.close();
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  sendBlock(kind, time, bytes) {
    if (this.socket.readyState !== WebSocket.OPEN || this.finished) return;
    const block = new Uint8Array(9 + bytes.length);
    const view = new DataView(block.buffer);
    view.setUint8(0, kind);
    view.setFloat64(1, time, true);
    block.set(bytes, 9);
    this.socket.send(block);
  }

  emit(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
