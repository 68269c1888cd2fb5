/** The prediction of one row: a score on its scale with the band, or a class with its set and probabilities. */

import { h, icon, s } from "./dom.js";
import * as words from "./words.js";

const ICONS = { vision: "camera", audio: "microphone", language: "words" };

/** Name of a modality's icon. */
export const iconName = (modality) => ICONS[modality] ?? "other";

/**
 * Elements that show a row.
 *
 * `reference`: the row of the same clip with everything working, or null. `ignored`: modalities that were made to fail. `remarks`: what the service could not use.
 */
export function resultElements(row, { model, reference, ignored, remarks = [], when }) {
  if (row.prediction === null) {
    return [
      h("p", { class: "verdict" }, h("span", { class: "value" }, "—")),
      h("p", { class: "meaning" }, "Nothing arrives: there is nothing to predict from."),
      modalityList(row, model, ignored, remarks),
    ];
  }
  const parts = model.task === "classification" ? classParts(row, model, reference) : scoreParts(row, model, reference);
  const comparison = reference ? words.compare(row, reference, model, ignored) : "";
  return [
    when ? h("p", { class: "when" }, when) : null,
    ...parts,
    comparison ? h("p", { class: "comparison" }, comparison) : null,
    row.text ? h("blockquote", { class: "spoken" }, row.text) : null,
    modalityList(row, model, ignored, remarks),
  ].filter(Boolean);
}

function scoreParts(row, model, reference) {
  const signed = words.isSigned(model.range);
  return [
    h("p", { class: "verdict" },
      h("span", { class: "value" }, words.number(row.prediction, signed)),
      " ",
      h("span", { class: "word" }, words.describeScore(row.prediction, model.range))),
    model.range ? scale(row, model, reference) : null,
    row.low === undefined ? null
      : h("p", { class: "meaning" }, h("strong", {}, `${words.percent(model.level)} band: `), words.describeBand(row, model)),
  ];
}

/** The scale with the band, the score, and the score with everything working as a ring. */
function scale(row, model, reference) {
  const [lo, hi] = model.range;
  const signed = words.isSigned(model.range);
  const at = (value) => `${(100 * Math.max(0, Math.min(1, (value - lo) / (hi - lo)))).toFixed(2)}%`;
  const ticks = scaleTicks(lo, hi);
  const ends = signed ? ["negative", "positive"] : ["low", "high"];
  return h("div", { class: "scale", "aria-hidden": "true" },
    s("svg", { class: "scale-plot" },
      s("line", { class: "scale-line", x1: 0, x2: "100%", y1: 22, y2: 22 }),
      ...ticks.map((tick) => s("line", { class: tick === 0 ? "tick zero" : "tick", x1: at(tick), x2: at(tick), y1: 16, y2: 28 })),
      row.low === undefined ? null : band(at(row.low), at(row.high)),
      reference && reference.prediction !== null ? s("circle", { class: "ghost", cx: at(reference.prediction), cy: 22, r: 7 }) : null,
      s("circle", { class: "dot", cx: at(row.prediction), cy: 22, r: 7 }),
      ...ticks.map((tick) => s("text", { x: at(tick), y: 50, "text-anchor": tick === lo ? "start" : tick === hi ? "end" : "middle" }, words.number(tick, signed, Number.isInteger(tick) ? 0 : 1)))),
    h("div", { class: "scale-ends" }, h("span", {}, ends[0]), h("span", {}, ends[1])),
    reference ? h("p", { class: "ghost-key" }, "Ring: with everything working") : null);
}

function band(low, high) {
  return s("rect", { class: "band", x: low, y: 12, height: 20, rx: 5, width: `${Math.max(0.5, parseFloat(high) - parseFloat(low))}%` });
}

/** The ends of a scale and round numbers between them. */
export function scaleTicks(lo, hi) {
  const step = [0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 25, 50, 100].find((candidate) => (hi - lo) / candidate <= 6.5) ?? (hi - lo) / 4;
  const inner = [];
  for (let i = Math.ceil(lo / step); i * step <= hi; i++) inner.push(i * step || 0);
  const far = inner.filter((tick) => tick - lo > step / 2 && hi - tick > step / 2);
  return [lo, ...far, hi];
}

function classParts(row, model, reference) {
  const share = row.probabilities?.[row.prediction];
  return [
    h("p", { class: "verdict" },
      h("span", { class: "value" }, row.prediction),
      " ",
      share === undefined ? null : h("span", { class: "word" }, words.percent(share))),
    row.probabilities ? bars(row, model, reference) : null,
    row.set ? h("p", { class: "meaning" }, h("strong", {}, `${words.percent(model.level)} set: `), words.describeSet(row, model)) : null,
  ];
}

function bars(row, model, reference) {
  const classes = [...model.classes].sort((a, b) => model.classes.indexOf(a) - model.classes.indexOf(b));
  return h("ul", { class: "bars", "aria-label": "Probabilities" },
    classes.map((name) => {
      const share = row.probabilities[name] ?? 0;
      const before = reference?.probabilities?.[name];
      const inSet = row.set ? row.set.includes(name) : name === row.prediction;
      return h("li", { class: [inSet ? "in-set" : "", name === row.prediction ? "top" : ""].join(" ").trim() },
        h("span", { class: "bar-name" }, name),
        s("svg", { class: "bar", "aria-hidden": "true" },
          s("rect", { class: "bar-track", width: "100%", height: "100%", rx: 3 }),
          s("rect", { class: "bar-value", width: `${(100 * share).toFixed(1)}%`, height: "100%", rx: 3 }),
          before === undefined ? null : s("line", { class: "bar-ghost", x1: `${(100 * before).toFixed(1)}%`, x2: `${(100 * before).toFixed(1)}%`, y1: 0, y2: "100%" })),
        h("span", { class: "bar-share" }, words.percent(share)),
        inSet && row.set ? h("span", { class: "visually-hidden" }, ", in the set") : null);
    }),
    reference ? h("li", { class: "key", "aria-hidden": "true" }, "Line: with everything working") : null);
}

function modalityList(row, model, ignored, remarks) {
  return h("ul", { class: "modalities", "aria-label": "What the prediction is made from" },
    model.modalities.map((modality) => {
      const { kind, text } = words.describeModality(modality, row, ignored);
      return h("li", { class: `modality ${kind}`, "data-modality": modality },
        icon(iconName(modality)),
        h("span", { class: "modality-name" }, words.modalityName(modality)),
        h("span", { class: "modality-state" }, text,
          remarks.filter((remark) => remark.modality === modality && !ignored.includes(modality)).map(({ remark }) => h("span", { class: "remark" }, words.capitalised(remark)))));
    }));
}
