// Elements without markup in strings: whatever a model or a user wrote becomes text, never HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `props`: attributes, `class`, `on…` listeners, `style` as an object; null and false are left out. */
export function h(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Replaces what is in `element`. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A message in place of content: what is missing, and what to do. */
export function note(text, kind = "note") {
  return h("p", { class: kind, role: kind === "error" ? "alert" : "status" }, text);
}

/** A label above its control. */
export function field(label, control) {
  return h("label", { class: "field" }, h("span", {}, label), control);
}

/** A drop-down of `[value, text]` pairs. */
export function select(options, value, props = {}) {
  const element = h("select", props, ...options.map(([one, text]) => h("option", { value: one }, text)));
  if (value !== undefined && options.some(([one]) => one === value)) element.value = value;
  return element;
}
