/** Small helpers that make elements. Texts are always set as text, never as markup. */

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** An HTML element with attributes (`on…` for listeners; false and null leave one out) and children. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An icon of the sprite in index.html; decoration only, the text beside it says the same. */
export function icon(name) {
  return s("svg", { class: "icon", "aria-hidden": "true", focusable: "false" }, s("use", { href: `#icon-${name}` }));
}

/** Show or hide an element. */
export function show(element, visible) {
  element.hidden = !visible;
}

let announced = 0;

/** Tell screen readers a sentence; at most one in `seconds`, so that live predictions don't talk without pause. */
export function announce(sentence, seconds = 0) {
  const now = performance.now();
  if (seconds && now - announced < seconds * 1000) return;
  announced = now;
  byId("announcer").textContent = sentence;
}
