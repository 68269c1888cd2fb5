/** The tab "Live": the camera and the microphone go to the service, a prediction comes back each hop. */

import { announce, byId, show } from "./dom.js";
import { closeStream, DeviceError, deviceNames, openDevices } from "./devices.js";
import { LiveStream } from "./live.js";
import { clock } from "./words.js";

const DEVICES = ["vision", "audio"];
const MOST_ROWS = 3600;
const MOST_PICTURES = 10; // a second

export class Broadcast {
  /** `onRows(rows, remarks)`, `onProblem(error)`, `onNotice(sentence)`, `onState()`. */
  constructor(stage, model, switches, callbacks) {
    Object.assign(this, { stage, model, switches, ...callbacks });
    this.rows = [];
    this.remarks = [];
    this.button = byId("start");
    this.button.addEventListener("click", () => (this.running ? this.stop() : this.start()));
  }

  get running() {
    return Boolean(this.live) || Boolean(this.opening);
  }

  async start() {
    if (this.running) return;
    this.opening = true;
    this.button.disabled = true;
    try {
      const devices = this.working();
      const { stream, problems } = await openDevices(devices);
      this.media = stream;
      this.rows = [];
      this.remarks = [];
      this.onState();
      this.stage.showCamera(stream);
      if (problems.length) this.onNotice(`${problems.join(" ")} Going on with the ${deviceNames(stream)} alone.`);
      this.connect();
    } catch (error) {
      this.close();
      this.onProblem(error);
    } finally {
      this.opening = false;
      this.button.disabled = false;
    }
  }

  /** Devices that the model reads and that are not made to fail. */
  working() {
    return DEVICES.filter((name) => this.model.modalities.includes(name) && !this.switches.ignored.includes(name));
  }

  connect() {
    const { window, hop } = this.settings();
    const live = new LiveStream({
      video: this.stage.video, window, hop, ignore: this.switches.ignored,
      framesPerSecond: Math.min(MOST_PICTURES, this.model.limits?.frames_per_second ?? MOST_PICTURES),
    });
    this.live = live;
    live.addEventListener("open", async () => {
      this.stage.mark("live");
      announce("Live.");
      this.ticking = setInterval(() => this.tick(), 500);
      try {
        await live.listen(this.media);
      } catch (error) {
        this.onNotice(`The sound cannot be read (${error.name}). Going on without it.`);
      }
    });
    live.addEventListener("prediction", ({ detail }) => {
      this.rows = [...this.rows, detail].slice(-MOST_ROWS);
      this.onRows(this.rows, this.remarks);
    });
    live.addEventListener("remark", ({ detail }) => this.remarks.push(detail));
    live.addEventListener("problem", ({ detail }) => {
      if (detail.fatal) this.onProblem(Object.assign(new Error(detail.message), { status: detail.unauthorized ? 401 : 0, retryAfter: detail.retryAfter }));
      else this.onNotice(detail.message);
    });
    live.addEventListener("slow", () => this.onNotice("The connection is slow: some pictures are left out."));
    live.addEventListener("end", () => { if (this.live === live) this.close(); });
    this.button.textContent = "Stop";
    this.button.classList.add("stop");
    live.start();
  }

  tick() {
    const timer = byId("timer");
    timer.textContent = clock(this.live?.time ?? 0);
    show(timer, true);
  }

  /** A switch was turned: stop sending, or open the device that works again. */
  async switched(modality) {
    const { ignored } = this.switches;
    if (!this.live) return;
    this.live.setIgnored(ignored);
    const kind = { vision: "video", audio: "audio" }[modality];
    const tracks = kind ? this.media.getTracks().filter((track) => track.kind === kind) : [];
    for (const track of tracks) track.enabled = !ignored.includes(modality);
    this.shade();
    if (kind && !tracks.length && !ignored.includes(modality)) await this.openLate(modality);
  }

  /** A device that failed when the stream began, and works now. */
  async openLate(modality) {
    try {
      const { stream } = await openDevices([modality]);
      if (!this.live) {
        closeStream(stream);
        return;
      }
      stream.getTracks().forEach((track) => this.media.addTrack(track));
      this.stage.showCamera(this.media);
      this.stage.mark("live");
      this.shade();
      if (modality === "audio") await this.live.listen(this.media);
    } catch (error) {
      this.onNotice(error instanceof DeviceError ? error.message : String(error));
    }
  }

  /** Darken the preview of a camera that fails. */
  shade() {
    const fails = this.switches.ignored.includes("vision");
    this.stage.element.classList.toggle("dark", fails);
    this.stage.say(fails ? "The camera fails: no pictures are sent" : this.media.getVideoTracks().length ? "" : "Sound alone");
  }

  say(text) {
    this.live?.say(text);
  }

  stop() {
    this.live?.stop();
  }

  /** Leave the tab, or the connection ended. */
  close() {
    const { live } = this;
    this.live = null;
    if (live) live.stop();
    clearInterval(this.ticking);
    closeStream(this.media);
    this.media = null;
    this.button.textContent = "Start";
    this.button.classList.remove("stop");
    show(byId("timer"), false);
    this.stage.clear();
    this.onState();
  }
}
