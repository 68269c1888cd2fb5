/** Predictions over time, with a strip for each modality: what was there, what was recovered, and whether that counted. */

import { h, s } from "./dom.js";
import { scaleTicks } from "./result.js";
import * as words from "./words.js";

const PLOT = 150;
const CLASS_ROW = 20;
const STRIP = 20;
const GAP = 10;
const AXIS = 26;
const TOP = 10;

export class Timeline {
  /** `onSelect(index)` is called when a visitor chooses a window. */
  constructor(figure, { onSelect }) {
    this.figure = figure;
    this.onSelect = onSelect;
    this.rows = [];
    this.table = figure.querySelector("tbody");
    this.head = figure.querySelector("thead");
    this.plot = figure.querySelector(".plot");
    this.numbers = figure.querySelector(".numbers");
    this.numbers.addEventListener("toggle", () => this.fillTable());
    new ResizeObserver(() => this.draw()).observe(this.plot);
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("pointerdown", (event) => { if (this.choosable) this.pointer(event, true); });
    this.plot.addEventListener("pointermove", (event) => { if (this.choosable && event.buttons) this.pointer(event, false); });
  }

  /**
   * Show rows. `live`: the latest minute, drawn at the ends of windows, nothing to choose. `length`: seconds of the clip.
   * `reference`: rows with everything working, or null.
   */
  show(rows, { model, ignored, live = false, length = null, reference = null }) {
    Object.assign(this, { model, ignored, live, length, reference });
    this.rows = rows;
    this.choosable = !live && rows.length > 1;
    this.selected = live ? rows.length - 1 : Math.min(this.selected ?? 0, rows.length - 1);
    this.draw();
    this.fillTable();
  }

  select(index, tell = true) {
    this.selected = Math.max(0, Math.min(this.rows.length - 1, index));
    this.draw();
    if (tell) this.onSelect(this.selected);
  }

  /** The window whose share of the time line holds this second. */
  indexAt(second) {
    const index = this.cells().findIndex(([, end]) => second < end);
    return index < 0 ? this.rows.length - 1 : index;
  }

  /** Begin and end of each row's share of the time line. */
  cells() {
    const { rows } = this;
    const end = (row) => row.end ?? this.length ?? 1;
    const start = (row) => row.start ?? 0;
    if (this.live) return rows.map((row, i) => [i ? Math.max(start(row), end(rows[i - 1])) : start(row), end(row)]);
    const centres = rows.map((row) => (start(row) + end(row)) / 2);
    const between = (i) => (centres[i] + centres[i + 1]) / 2;
    return rows.map((row, i) => [i ? between(i - 1) : start(row), i < rows.length - 1 ? between(i) : end(row)]);
  }

  draw() {
    const { model, rows } = this;
    const width = this.plot.clientWidth;
    if (!model || !width) return;
    const left = width < 500 ? 88 : 108;
    const cells = this.cells();
    const last = cells.length ? cells.at(-1)[1] : 0;
    const from = this.live ? Math.max(0, last - 60) : 0;
    const to = this.live ? Math.max(60, last) : Math.max(last, this.length ?? 0, 0.1);
    const x = (second) => left + ((width - left - 8) * (second - from)) / (to - from);
    const classes = model.task === "classification" ? model.classes : null;
    const series = this.live || rows.length > 1; // one prediction needs no plot, the strips say what it is made from
    const plotHeight = classes ? classes.length * CLASS_ROW : PLOT;
    const stripsTop = series ? TOP + plotHeight + 18 : TOP;
    const bottom = stripsTop + model.modalities.length * (STRIP + GAP);
    const svg = s("svg", { width, height: bottom + AXIS, viewBox: `0 0 ${width} ${bottom + AXIS}`, "aria-hidden": "true" });
    svg.append(patterns(model.modalities));
    svg.append(...timeAxis(from, to, x, bottom));
    const visible = rows.map((row, i) => [row, cells[i], i]).filter(([, [, end]]) => end > from);
    if (series && classes) svg.append(...this.classRows(visible, x, left, width));
    else if (series) svg.append(...this.scorePlot(visible, x, left, width));
    model.modalities.forEach((modality, k) => {
      const top = stripsTop + k * (STRIP + GAP);
      svg.append(s("text", { class: "label", x: 0, y: top + STRIP - 5 }, words.modalityName(modality)));
      svg.append(s("line", { class: "strip-base", x1: left, x2: width - 8, y1: top + STRIP, y2: top + STRIP }));
      for (const [row, [start, end]] of visible) svg.append(strip(modality, row, this.ignored, Math.max(left, x(start)), x(end), top));
    });
    if (this.choosable && this.selected >= 0) {
      const [start, end] = cells[this.selected];
      svg.append(s("rect", { class: "cursor", x: x(start), y: 2, width: Math.max(2, x(end) - x(start)), height: bottom, rx: 4 }));
    }
    this.x = { left, right: width - 8, from, to };
    this.plot.replaceChildren(svg);
    this.describe();
  }

  scorePlot(visible, x, left, width) {
    const [lo, hi] = this.model.range ?? dataRange(this.rows);
    const y = (value) => TOP + (PLOT * (hi - Math.max(lo, Math.min(hi, value)))) / (hi - lo);
    const signed = words.isSigned([lo, hi]);
    const parts = scaleTicks(lo, hi).flatMap((tick) => [
      s("line", { class: tick === 0 ? "grid zero" : "grid", x1: left, x2: width - 8, y1: y(tick), y2: y(tick) }),
      s("text", { class: "tick-label", x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, words.number(tick, signed, Number.isInteger(tick) ? 0 : 1)),
    ]);
    parts.push(s("text", { class: "label", x: 0, y: TOP + PLOT / 2 + 4 }, "Score"));
    for (const run of runs(visible)) {
      if (run[0][0].low !== undefined) parts.push(s("path", { class: "band", d: area(run, x, y, left) }));
      parts.push(s("path", { class: "curve", d: line(run.map(([row, cell]) => [cell, row.prediction]), x, y, left) }));
    }
    if (this.reference?.length === this.rows.length) {
      const points = visible.filter(([, , i]) => this.reference[i].prediction !== null);
      parts.push(s("path", { class: "curve ghost", d: line(points.map(([, cell, i]) => [cell, this.reference[i].prediction]), x, y, left) }));
    }
    return parts;
  }

  classRows(visible, x, left, width) {
    return this.model.classes.flatMap((name, c) => {
      const top = TOP + c * CLASS_ROW;
      return [
        s("text", { class: "label", x: 0, y: top + CLASS_ROW - 6 }, shorten(name, left)),
        s("rect", { class: "class-track", x: left, y: top + 1, width: width - 8 - left, height: CLASS_ROW - 3, rx: 3 }),
        ...visible.filter(([row]) => row.probabilities || row.prediction === name).flatMap(([row, [start, end]]) => {
          const from = Math.max(left, x(start));
          const cell = { x: from, width: Math.max(1, x(end) - from) };
          const share = row.probabilities?.[name] ?? 1;
          return [
            s("rect", { class: "class-cell", ...cell, y: top + 1, height: CLASS_ROW - 3, "fill-opacity": (0.04 + 0.96 * share ** 0.7).toFixed(3) }),
            row.prediction === name && s("rect", { class: "class-top", ...cell, y: top + CLASS_ROW - 5, height: 3 }),
          ].filter(Boolean);
        }),
      ];
    });
  }

  /** Role and words of the figure for assistive technology. */
  describe() {
    const { plot, rows } = this;
    if (this.choosable) {
      const row = rows[this.selected];
      const attributes = {
        role: "slider", tabindex: 0, "aria-label": "Time line; choose a part of the clip", "aria-valuemin": 1, "aria-valuemax": rows.length,
        "aria-valuenow": this.selected + 1, "aria-valuetext": `${this.span(row)}: ${words.summary(row, this.model, this.ignored)}`,
      };
      for (const [name, value] of Object.entries(attributes)) plot.setAttribute(name, value);
      return;
    }
    for (const name of ["tabindex", "aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext"]) plot.removeAttribute(name);
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", this.live ? "Predictions of the last minute; the table below has the numbers" : "Prediction of the whole clip; the table below has the numbers");
  }

  span(row) {
    const end = row.end ?? this.length;
    return end === null ? "whole clip" : `${(row.start ?? 0).toFixed(1)}–${end.toFixed(1)} s`;
  }

  key(event) {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
    if (!this.choosable || !(event.key in steps)) return;
    event.preventDefault();
    const target = this.selected + steps[event.key];
    this.select(target === -Infinity ? 0 : target === Infinity ? this.rows.length - 1 : target);
  }

  pointer(event, first) {
    const { left, right, from, to } = this.x;
    const at = event.clientX - this.plot.getBoundingClientRect().left;
    if (first && at < left) return;
    this.select(this.indexAt(from + ((to - from) * (at - left)) / (right - left)));
  }

  /** Fill the table while it is open: a live stream would otherwise make hundreds of hidden rows each second. */
  fillTable() {
    const { model } = this;
    if (!this.numbers.open || !model) return;
    const columns = model.task === "classification" ? ["Prediction", "Set"] : ["Score", "Band"];
    this.head.replaceChildren(h("tr", {}, ["Time", ...columns, ...model.modalities.map(words.modalityName)].map((name) => h("th", { scope: "col" }, name))));
    const signed = words.isSigned(model.range);
    this.table.replaceChildren(...this.rows.slice(-600).map((row) => {
      const values = row.prediction === null ? ["–", "–"]
        : model.task === "classification" ? [row.prediction, row.set?.join(", ") ?? ""]
          : [words.number(row.prediction, signed), row.low === undefined ? "" : `${words.number(row.low, signed)} to ${words.number(row.high, signed)}`];
      const states = model.modalities.map((modality) => words.describeModality(modality, row, this.ignored).short);
      return h("tr", {}, h("th", { scope: "row" }, this.span(row)), [...values, ...states].map((text) => h("td", {}, text)));
    }));
  }
}

function dataRange(rows) {
  const values = rows.flatMap((row) => [row.low, row.high, row.prediction]).filter((value) => typeof value === "number");
  const [lo, hi] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  return lo < hi ? [lo, hi] : [lo - 1, hi + 1];
}

/** Rows with a prediction, cut where one has none. */
function runs(visible) {
  const found = [[]];
  for (const entry of visible) {
    if (entry[0].prediction === null) found.push([]);
    else found.at(-1).push(entry);
  }
  return found.filter((run) => run.length);
}

function line(points, x, y, left) {
  if (points.length === 1) {
    const [[start, end], value] = points[0];
    return `M${Math.max(left, x(start))},${y(value)}H${x(end)}`;
  }
  return points.map(([[start, end], value], i) => {
    const at = i === 0 ? Math.max(left, x(start)) : i === points.length - 1 ? x(end) : (Math.max(left, x(start)) + x(end)) / 2;
    return `${i ? "L" : "M"}${at.toFixed(1)},${y(value).toFixed(1)}`;
  }).join("");
}

function area(run, x, y, left) {
  const upper = line(run.map(([row, cell]) => [cell, row.high]), x, y, left);
  const lower = line(run.map(([row, cell]) => [cell, row.low]), x, y, left);
  if (run.length === 1) {
    const [[row, [start, end]]] = run;
    return `${upper}V${y(row.low)}H${Math.max(left, x(start))}Z`;
  }
  return `${upper}L${lower.slice(1).split("L").reverse().join("L")}Z`;
}

function strip(modality, row, ignored, from, to, top) {
  const { kind, text } = words.describeModality(modality, row, ignored);
  const share = kind === "present" ? Math.max(0.15, row.coverage?.[modality] ?? 1) : kind === "recovered" ? 1 : 0.1;
  const height = STRIP * share;
  const attributes = { class: `strip ${kind}`, "data-modality": modality, x: from, y: top + STRIP - height, width: Math.max(1, to - from - 1), height };
  if (kind === "recovered") attributes.fill = `url(#hatch-${modality})`;
  return s("rect", attributes, s("title", {}, `${words.modalityName(modality)}: ${text}`));
}

function patterns(modalities) {
  return s("defs", {}, modalities.map((modality) =>
    s("pattern", { id: `hatch-${modality}`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      s("rect", { class: "hatch-ground", "data-modality": modality, width: 6, height: 6 }), s("rect", { class: "hatch", "data-modality": modality, width: 2.5, height: 6 }))));
}

function timeAxis(from, to, x, y) {
  const most = Math.max(2, (x(to) - x(from)) / 50); // labels that fit
  const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800].find((candidate) => (to - from) / candidate <= most) ?? 3600;
  const parts = [];
  for (let i = Math.ceil(from / step); i * step <= to + 1e-9; i++) {
    const at = x(i * step);
    const text = to < 90 ? `${i * step} s` : words.clock(i * step);
    const close = x(to) - at < 16;
    parts.push(s("line", { class: "tick", x1: at, x2: at, y1: y, y2: y + 5 }), s("text", { class: "tick-label", x: at, y: y + 19, "text-anchor": close ? "end" : "middle" }, text));
  }
  return parts;
}

function shorten(name, left) {
  const most = Math.floor(left / 7.4);
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}
