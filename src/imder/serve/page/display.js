/** The right-hand side: progress, the prediction, the time line, the table for download. */

import { announce, byId, h, show } from "./dom.js";
import { resultElements } from "./result.js";
import { Timeline } from "./timeline.js";
import { summary } from "./words.js";

export class Display {
  constructor(model, video) {
    this.model = model;
    this.video = video;
    this.result = byId("result");
    this.figure = byId("timeline");
    this.timeline = new Timeline(this.figure, { onSelect: (index) => this.selected(index) });
    byId("download").addEventListener("click", () => this.download());
    video.addEventListener("timeupdate", () => this.follow());
  }

  /** A sentence, or an element, instead of a prediction. */
  empty(sentence) {
    this.rows = [];
    this.result.replaceChildren(typeof sentence === "string" ? h("p", { class: "placeholder" }, sentence) : sentence);
    show(this.figure, false);
  }

  progress(waiting) {
    show(byId("progress"), waiting !== null);
    this.result.classList.toggle("stale", waiting !== null);
    if (waiting === null) return;
    const bar = byId("progress-bar");
    if (waiting.share === null) bar.removeAttribute("value");
    else bar.value = waiting.share;
    if (byId("progress-text").textContent !== waiting.text) byId("progress-text").textContent = waiting.text;
  }

  clip({ rows, remarks, ignored, reference }, seconds) {
    const windows = rows.length > 1;
    Object.assign(this, { rows, remarks, ignored, reference, streaming: false });
    show(this.figure, true);
    byId("timeline-title").textContent = windows ? "Over time" : "What was there";
    show(byId("legend-classes"), windows && this.model.task === "classification");
    show(byId("legend-ghost"), Boolean(reference) && windows && this.model.task !== "classification");
    this.timeline.show(rows, { model: this.model, ignored, reference, length: seconds });
    this.selected(this.timeline.selected, false);
    announce(summary(rows[this.timeline.selected], this.model, ignored));
  }

  /** `remarks`: why sources are not used, each shown while its source is missing. */
  live(rows, ignored, remarks = []) {
    Object.assign(this, { rows, ignored, reference: null, streaming: true });
    show(this.figure, true);
    byId("timeline-title").textContent = "The last minute";
    show(byId("legend-classes"), this.model.task === "classification");
    show(byId("legend-ghost"), false);
    this.timeline.show(rows, { model: this.model, ignored, live: true });
    const row = rows.at(-1);
    const missing = remarks.filter(({ modality }) => row.available[modality] === false);
    this.result.replaceChildren(...resultElements(row, { model: this.model, reference: null, ignored, remarks: missing, when: null }));
    announce(summary(row, this.model, ignored), 6);
  }

  selected(index, seek = true) {
    const row = this.rows[index];
    const when = this.rows.length > 1 ? this.timeline.span(row) : null;
    this.result.replaceChildren(...resultElements(row, { model: this.model, reference: this.reference?.[index] ?? null, ignored: this.ignored, remarks: this.remarks, when }));
    if (seek && this.video.paused && this.video.readyState > 0 && this.video.currentSrc) {
      const [start, end] = this.timeline.cells()[index];
      this.seeking = true;
      this.video.currentTime = (start + end) / 2;
    }
  }

  /** While the clip plays, the window under the playhead is shown. */
  follow() {
    if (this.seeking) {
      this.seeking = false;
      return;
    }
    if (this.streaming || !this.rows || this.rows.length < 2 || this.video.srcObject) return;
    const index = this.timeline.indexAt(this.video.currentTime);
    if (index === this.timeline.selected) return;
    this.timeline.select(index, false);
    this.selected(index, false);
  }

  download() {
    const url = URL.createObjectURL(new Blob([csv(this.rows, this.model)], { type: "text/csv" }));
    h("a", { href: url, download: "predictions.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}

/** Rows as CSV with all digits. */
export function csv(rows, model) {
  const classes = model.classes ?? [];
  const head = ["start", "end", "prediction", ...(model.task === "classification" ? ["set", ...classes.map((name) => `p_${name}`)] : ["low", "high"]),
    ...model.modalities.flatMap((name) => [`${name}_available`, `${name}_coverage`, `${name}_recovery_weight`])];
  const lines = rows.map((row) => [row.start, row.end, row.prediction,
    ...(model.task === "classification" ? [row.set?.join("|"), ...classes.map((name) => row.probabilities?.[name])] : [row.low, row.high]),
    ...model.modalities.flatMap((name) => [row.available[name], row.coverage?.[name], row.recovered?.[name]?.weight])]);
  return [head, ...lines].map((cells) => cells.map(cell).join(",")).join("\n") + "\n";
}

function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
