/** Predictions of one clip under every combination of working sources that was asked for. */

import { predict } from "./api.js";

const LONG = 8; // seconds from which "as fits the clip's length" means over time

export class Clip {
  /** `onChange(clip)` is called when its state changes: waiting, rows, error. */
  constructor(source, onChange) {
    this.source = source;
    this.onChange = onChange;
    this.answers = new Map();
    this.shown = null; // {rows, remarks, ignored, reference}
    this.error = null;
    this.waiting = null; // {text, share}
  }

  /** Predict with `ignored` failing, under `settings` {text, mode, window, hop}. */
  async update(ignored, settings) {
    const request = this.request(ignored, settings);
    const key = JSON.stringify([ignored, settings]);
    if (this.control && this.asking === key) return;
    this.stop();
    this.error = null;
    this.asking = key;
    const wholeKey = JSON.stringify([[], settings]);
    if (!this.answers.has(key)) {
      const control = new AbortController();
      this.control = control;
      this.report("Sending the clip", null);
      try {
        const answer = await predict(request, {
          signal: control.signal,
          onProgress: (share) => (share < 1 ? this.report("Sending the clip", share) : this.report("Reading the clip", null)),
          onWait: (seconds) => this.report(`The service is busy; trying again in ${seconds} s`, null),
        });
        this.answers.set(key, answer);
      } catch (error) {
        if (error.name === "AbortError") return;
        this.error = error;
      } finally {
        if (this.control === control) [this.control, this.waiting] = [null, null];
      }
      if (this.error) {
        this.shown = null;
        this.onChange(this);
        return;
      }
    }
    const whole = ignored.length ? this.answers.get(wholeKey)?.rows : null;
    const { rows, remarks } = this.answers.get(key);
    this.shown = { rows, remarks, ignored, reference: whole?.length === rows.length ? whole : null };
    this.onChange(this);
  }

  request(ignored, { text, mode, window, hop }) {
    const { video, audio, features, seconds } = this.source;
    const overTime = !features && (video || audio) && (mode === "windows" || (mode === "auto" && seconds !== null && seconds > LONG));
    return { video, audio, features, text, ignore: ignored, ...(overTime ? { window, hop } : {}) };
  }

  report(text, share) {
    this.waiting = { text, share };
    this.onChange(this);
  }

  /** Give up what is being asked. */
  stop() {
    this.control?.abort();
    [this.control, this.waiting] = [null, null];
  }
}
