/** Camera and microphone: opened together or one alone, errors in words, recordings. */

import { listed } from "./words.js";

export class DeviceError extends Error {}

const KINDS = { vision: ["video", "camera"], audio: ["audio", "microphone"] };
const VIDEO = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 25 }, facingMode: "user" };
const AUDIO = { channelCount: 1, echoCancellation: false, autoGainControl: false };
const TYPES = {
  video: ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4"],
  audio: ["audio/webm;codecs=opus", "audio/webm", "audio/mp4"],
};

/**
 * Open the devices of `modalities` ("vision", "audio"). If only one of them works, go on with that one: the problems of the
 * others are returned as sentences.
 */
export async function openDevices(modalities) {
  const wanted = modalities.filter((modality) => modality in KINDS);
  if (!wanted.length) return { stream: new MediaStream(), problems: [] };
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new DeviceError("Browsers give the camera and the microphone only to pages from this computer (localhost) or over HTTPS. Open this page that way, or choose a file.");
  }
  try {
    return { stream: await open(wanted), problems: [] };
  } catch (error) {
    if (wanted.length === 1) throw new DeviceError(problem(error, wanted[0]));
  }
  const stream = new MediaStream();
  const problems = [];
  for (const modality of wanted) {
    try {
      (await open([modality])).getTracks().forEach((track) => stream.addTrack(track));
    } catch (error) {
      problems.push(problem(error, modality));
    }
  }
  if (!stream.getTracks().length) throw new DeviceError(problems.join(" "));
  return { stream, problems };
}

function open(modalities) {
  return navigator.mediaDevices.getUserMedia({
    video: modalities.includes("vision") ? VIDEO : false,
    audio: modalities.includes("audio") ? AUDIO : false,
  });
}

function problem(error, modality) {
  const device = KINDS[modality][1];
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return `The browser does not let this page use the ${device}. Allow it in the settings of this page, beside the address, and try again.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${device} was found.`;
    case "NotReadableError":
    case "AbortError":
      return `The ${device} cannot be used; another program may hold it.`;
    default:
      return `The ${device} cannot be opened (${error.name}).`;
  }
}

/** Names of the devices that a stream has, for messages. */
export function deviceNames(stream) {
  return listed(Object.values(KINDS).filter(([kind]) => stream.getTracks().some((track) => track.kind === kind)).map(([, name]) => name));
}

export function closeStream(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}

/** A recording of a stream: `stop()` resolves to {blob, kind, seconds}. */
export class Recording {
  constructor(stream) {
    this.kind = stream.getVideoTracks().length ? "video" : "audio";
    const type = TYPES[this.kind].find((candidate) => MediaRecorder.isTypeSupported(candidate));
    this.recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
    this.parts = [];
    this.recorder.ondataavailable = (event) => { if (event.data.size) this.parts.push(event.data); };
    this.stopped = new Promise((resolve) => { this.recorder.onstop = resolve; });
    this.recorder.start(500);
    this.started = performance.now();
  }

  get seconds() {
    return (performance.now() - this.started) / 1000;
  }

  async stop() {
    const seconds = this.seconds;
    if (this.recorder.state !== "inactive") this.recorder.stop();
    await this.stopped;
    return { blob: new Blob(this.parts, { type: this.recorder.mimeType }), kind: this.kind, seconds };
  }
}
