// How figures are written: an unknown one is a dash, never 0.

const whole = new Intl.NumberFormat("en");

export const DASH = "–";

export const count = (value) => (known(value) ? whole.format(Math.round(value)) : DASH);

/** US dollars with three significant digits. */
export function usd(value) {
  if (!known(value)) return DASH;
  if (value === 0) return "$0";
  const size = Math.abs(value);
  const digits = size >= 1 ? 2 : Math.min(8, 2 - Math.floor(Math.log10(size)));
  return `${value < 0 ? "−" : ""}$${size.toFixed(digits)}`;
}

export function percent(value, digits = 0) {
  return known(value) ? `${(value * 100).toFixed(digits)} %` : DASH;
}

export function milliseconds(value) {
  if (!known(value)) return DASH;
  return value < 1000 ? `${value < 10 ? value.toFixed(1) : Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

/** Up to three significant digits, for rates. */
export function rate(value) {
  if (!known(value)) return DASH;
  return value >= 100 ? whole.format(Math.round(value)) : Number(value.toPrecision(3)).toString();
}

/** Local date and time of an ISO 8601 string. */
export function when(iso) {
  if (!iso) return DASH;
  return new Date(iso).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

/** Sum of the known ones; null when none is. */
export function sum(values) {
  const there = values.filter(known);
  return there.length ? there.reduce((total, value) => total + value, 0) : null;
}
