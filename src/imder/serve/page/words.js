/** Words for numbers: what a prediction, its band or set, and the state of a modality mean. */

const NAMES = { vision: "Camera", audio: "Microphone", language: "Words" };

const SIGNED = [
  "strongly negative", "negative", "weakly negative", "neutral", "weakly positive", "positive", "strongly positive",
];
const UNSIGNED = ["at the low end of the scale", "low on the scale", "in the middle of the scale", "high on the scale", "at the high end of the scale"];

/** What a visitor calls the source of a modality. */
export const modalityName = (modality) => NAMES[modality] ?? modality.replaceAll("_", " ");

/** The same inside a sentence. */
export const inSentence = (modality) => (modality in NAMES ? `the ${NAMES[modality].toLowerCase()}` : modality.replaceAll("_", " "));

/** "a", "a and b", "a, b and c". */
export function listed(words, last = "and") {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

export const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Whether a scale has a negative and a positive half of about the same length, as the scales of sentiment do. */
export function isSigned(range) {
  return range !== null && range[0] < 0 && range[1] > 0 && Math.abs(range[0] + range[1]) <= 0.2 * (range[1] - range[0]);
}

/** A number with a true minus sign, and a plus sign on a signed scale. */
export function number(value, signed = false, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  const zero = Number(text) === 0;
  return (value < 0 && !zero ? "−" : signed && !zero ? "+" : "") + text;
}

export const percent = (share) => `${Math.round(100 * share)} %`;

/** "0:07.5" is harder to read than "7.5 s" for clips, but minutes need a colon. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function duration(seconds) {
  return seconds < 90 ? `${seconds.toFixed(1).replace(/\.0$/, "")} s` : `${(seconds / 60).toFixed(1).replace(/\.0$/, "")} minutes`;
}

export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let i = 0;
  while (bytes >= 1000 && i < units.length - 1) [bytes, i] = [bytes / 1000, i + 1];
  return `${bytes < 10 && i ? bytes.toFixed(1) : Math.round(bytes)} ${units[i]}`;
}

/** Words for a score on the scale of the training labels. */
export function describeScore(value, range) {
  if (range === null) return "";
  if (isSigned(range)) {
    const half = Math.max(-range[0], range[1]);
    return SIGNED[Math.max(0, Math.min(6, Math.round((3 * value) / half) + 3))];
  }
  const share = (value - range[0]) / (range[1] - range[0]);
  return UNSIGNED[Math.max(0, Math.min(4, Math.floor(5 * share)))];
}

/** What the band says, in one or two sentences. */
export function describeBand(row, model) {
  const signed = isSigned(model.range);
  const ends = `${number(row.low, signed)} to ${number(row.high, signed)}`;
  const kept = model.level === null ? "" : `Bands like this hold the true score of ${percent(model.level)} of clips.`;
  if (!signed) return `${ends}. ${kept}`;
  if (row.low > 0) return `${ends}: on the positive side throughout. ${kept}`;
  if (row.high < 0) return `${ends}: on the negative side throughout. ${kept}`;
  return `${ends}: it may be negative or positive. ${kept}`;
}

/** What the prediction set says. */
export function describeSet(row, model) {
  const count = row.set.length;
  const kept = model.level === null ? "" : `Sets like this hold the true class of ${percent(model.level)} of clips.`;
  if (count === 0) return `No class fits well. ${kept}`;
  if (count === 1) return `Only ${row.set[0]} remains. ${kept}`;
  if (count === model.classes.length) return `No class can be ruled out. ${kept}`;
  return `It may be ${listed(row.set, "or")}. ${kept}`;
}

/** State of a modality in a prediction: its kind (for colour and pattern), words for a list, and fewer words for a table. */
export function describeModality(modality, row, ignored) {
  const coverage = row.coverage?.[modality];
  if (row.available[modality]) {
    if (ignored.includes(modality)) return { kind: "present", text: "failing; what came just before still counts", short: "used" };
    if (coverage === undefined || coverage >= 0.995) return { kind: "present", text: "used", short: "used" };
    return { kind: "present", text: `used; covers ${percent(coverage)} of the time`, short: `used, ${percent(coverage)}` };
  }
  const why = ignored.includes(modality) ? "failing" : "missing";
  const weight = row.recovered?.[modality]?.weight;
  if (weight === undefined) return { kind: "missing", text: `${why}; the rest decides`, short: why };
  if (weight === 0) return { kind: "missing", text: `${why}; its recovery does not count`, short: `${why}, recovery counts 0 %` };
  return { kind: "recovered", text: `${why}; recovered from the rest, counts ${percent(weight)}`, short: `${why}, recovery counts ${percent(weight)}` };
}

/** One sentence for a whole row: for screen readers. */
export function summary(row, model, ignored) {
  if (row.prediction === null) return "Nothing to predict from.";
  const signed = isSigned(model.range);
  let text;
  if (model.task === "classification") {
    const share = row.probabilities?.[row.prediction];
    text = `${row.prediction}${share === undefined ? "" : `, ${percent(share)}`}`;
    if (row.set && row.set.length > 1) text += `; the set holds ${listed(row.set)}`;
  } else {
    text = `${number(row.prediction, signed)}, ${describeScore(row.prediction, model.range)}`;
    if (row.low !== undefined) text += `; band ${number(row.low, signed)} to ${number(row.high, signed)}`;
  }
  const absent = model.modalities.filter((modality) => !row.available[modality]);
  if (absent.length) text += `; without ${listed(absent.map(inSentence))}`;
  return `${capitalised(text)}.`;
}

/** How a prediction differs from the one with everything working. */
export function compare(row, reference, model, ignored) {
  if (row.prediction === null || reference.prediction === null) return "";
  const without = `Without ${listed(ignored.map(inSentence))}`;
  if (model.task === "classification") {
    const same = row.prediction === reference.prediction;
    const before = reference.probabilities?.[row.prediction];
    const now = row.probabilities?.[row.prediction];
    let text = same ? `${without}, it is still ${row.prediction}` : `${without}, ${reference.prediction} became ${row.prediction}`;
    if (before !== undefined && now !== undefined && same) text += `, at ${percent(now)} instead of ${percent(before)}`;
    if (row.set && reference.set) {
      const [a, b] = [row.set.length, reference.set.length];
      text += a === b ? "; the set is as large as before" : `; the set has ${a} ${a === 1 ? "class" : "classes"} instead of ${b}`;
    }
    return `${text}.`;
  }
  const change = row.prediction - reference.prediction;
  let text = Math.abs(change) < 0.005 ? `${without}, the score stays` : `${without}, the score is ${number(Math.abs(change))} ${change > 0 ? "higher" : "lower"}`;
  if (row.low !== undefined && reference.low !== undefined) {
    const ratio = (row.high - row.low) / (reference.high - reference.low);
    if (ratio > 1.02) text += ` and the band ${number(ratio, false, 1)} times as wide`;
    else if (ratio < 0.98) text += ` and the band narrower, ${percent(ratio)} of its width`;
    else text += " and the band as wide as before";
  }
  return `${text}.`;
}
