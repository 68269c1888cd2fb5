/** "What the numbers mean": a few sentences that depend on the model. */

import { h } from "./dom.js";
import { isSigned, number, percent } from "./words.js";

/** Elements for the section. */
export function explanation(model) {
  const level = model.level === null ? null : percent(model.level);
  const items = model.task === "classification" ? classItems(model, level) : scoreItems(model, level);
  items.push(
    ["Recovered", "Where a source fails, systems like IMDer draw what it may have held, given the sources that work, and average over such draws. How much that counts was chosen on validation data; where recovery did not help there, it counts 0 %, and the rest decides."],
    ["Covered", "The share of the time in which a source gave something usable: a face in the picture, sound, words. Under a tenth counts as missing."],
    ["Not meant for", "Decisions about people: in hiring, school, policing, health or at borders. The model learned how raters perceived clips like those it was trained on; faces, voices and languages unlike those make it wrong more often than its band says."],
  );
  return [h("dl", {}, items.filter(Boolean).map(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]))];
}

function scoreItems(model, level) {
  const [lo, hi] = model.range ?? [];
  const scale = model.range
    ? `The score is on the scale of the training labels, ${number(lo, isSigned(model.range), 1)} to ${number(hi, isSigned(model.range), 1)}${isSigned(model.range) ? ": below zero is negative, above is positive, the further the stronger" : ""}.`
    : "The score is on the scale of the training labels.";
  return [
    ["Score", scale],
    level && [`${level} band`, `The band was widened on validation data until it held the true score of ${level} of clips, for each combination of working sources by itself. A wide band means: this clip, with these sources, leaves it open.`],
  ];
}

function classItems(model, level) {
  return [
    ["Probabilities", `How likely each of the ${model.classes.length} classes is, in the model’s view; they add up to 100 %.`],
    level && [`${level} set`, `The smallest set of classes that, on validation data, held the true class of ${level} of clips, for each combination of working sources by itself. A large set means: this clip, with these sources, leaves it open.`],
  ];
}
