/** The switches that make sources fail, one for each modality of the model. */

import { h, icon } from "./dom.js";
import { iconName } from "./result.js";
import { inSentence, listed, modalityName } from "./words.js";

export class Switches {
  /** `onChange(ignored, modality)` is called when a visitor turns one. */
  constructor(container, modalities, onChange) {
    this.failing = new Set();
    this.modalities = modalities;
    this.onChange = onChange;
    this.buttons = new Map(modalities.map((modality) => [modality, this.button(modality)]));
    container.replaceChildren(...this.buttons.values());
  }

  /** Modalities that fail, in the order of the model. */
  get ignored() {
    return this.modalities.filter((modality) => this.failing.has(modality));
  }

  get allFail() {
    return this.failing.size === this.modalities.length;
  }

  button(modality) {
    return h("button", { class: "switch", type: "button", role: "switch", "aria-checked": "true", "data-modality": modality, onclick: () => this.turn(modality) },
      icon(iconName(modality)),
      h("span", { class: "switch-name" }, modalityName(modality)),
      h("span", { class: "switch-state" }, "working"),
      h("span", { class: "track", "aria-hidden": "true" }));
  }

  turn(modality) {
    const works = this.failing.has(modality);
    if (works) this.failing.delete(modality);
    else this.failing.add(modality);
    const button = this.buttons.get(modality);
    button.setAttribute("aria-checked", String(works));
    button.querySelector(".switch-state").textContent = works ? "working" : "failing";
    this.onChange(this.ignored, modality);
  }

  /** "Without the camera and the words." */
  get sentence() {
    return this.failing.size ? `Without ${listed(this.ignored.map(inSentence))}.` : "Everything works.";
  }
}
