/** The tab "Record": a clip from the camera and the microphone. */

import { announce, byId, show } from "./dom.js";
import { closeStream, deviceNames, openDevices, Recording } from "./devices.js";
import { capitalised, clock } from "./words.js";

const LONGEST = 120; // seconds, where the service allows more

export class Recorder {
  /** `onStart()`; `onClip(source, problems)` with what was recorded; `onProblem(error)`. */
  constructor(stage, model, switches, { onStart, onClip, onProblem, onNotice }) {
    Object.assign(this, { stage, model, switches, onStart, onClip, onProblem, onNotice });
    this.button = byId("record");
    this.timer = byId("timer");
    this.limit = Math.min(LONGEST, model.limits?.seconds ?? LONGEST);
    this.button.addEventListener("click", () => (this.recording ? this.finish() : this.begin()));
  }

  async begin() {
    if (this.opening) return;
    this.opening = true;
    this.button.disabled = true;
    try {
      const wanted = this.model.modalities.filter((modality) => ["vision", "audio"].includes(modality));
      const { stream, problems } = await openDevices(wanted.length ? wanted : ["audio"]);
      this.stream = stream;
      this.onStart();
      this.stage.showCamera(stream);
      this.stage.mark("recording");
      this.recording = new Recording(stream);
      if (problems.length) this.onNotice(`${problems.join(" ")} Recording the ${deviceNames(stream)} alone.`);
      this.button.textContent = "Stop";
      this.button.classList.add("stop");
      announce(`${capitalised(deviceNames(stream))} recording.`);
      this.ticking = setInterval(() => this.tick(), 200);
      this.tick();
    } catch (error) {
      this.cleanUp();
      this.onProblem(error);
    } finally {
      this.opening = false;
      this.button.disabled = false;
    }
  }

  tick() {
    const { seconds } = this.recording;
    this.timer.textContent = `${clock(seconds)} of at most ${clock(this.limit)}`;
    show(this.timer, true);
    if (seconds >= this.limit - 0.3) this.finish();
  }

  async finish() {
    const recording = this.recording;
    if (!recording) return;
    this.recording = null;
    const { blob, kind, seconds } = await recording.stop();
    this.cleanUp();
    if (blob.size === 0) {
      this.onProblem(new Error("Nothing was recorded. Try again."));
      return;
    }
    this.button.textContent = "Record again";
    this.onClip({ video: kind === "video" ? blob : null, audio: kind === "audio" ? blob : null, text: null, features: null, seconds, playable: true, pictures: true });
  }

  /** Leave the tab: what is being recorded is thrown away. */
  abandon() {
    this.recording?.stop();
    this.recording = null;
    this.cleanUp();
  }

  cleanUp() {
    clearInterval(this.ticking);
    closeStream(this.stream);
    this.stream = null;
    this.stage.mark("");
    show(this.timer, false);
    this.button.textContent = "Record";
    this.button.classList.remove("stop");
  }
}
