// Prometheus's text format, as far as the gateway's own series need it.

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*?)\})? ([^ ]+)(?: .*)?$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPES = { n: "\n", '"': '"', "\\": "\\" };

/** `Map` from a series' name to its samples `{labels, value}`. */
export function parse(text) {
  const series = new Map();
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : SAMPLE.exec(line.trimEnd());
    if (!found) continue;
    const labels = Object.fromEntries([...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value.replace(/\\(.)/g, (_, one) => ESCAPES[one] ?? one)]));
    if (!series.has(found[1])) series.set(found[1], []);
    series.get(found[1]).push({ labels, value: Number(found[3]) });
  }
  return series;
}

/** Sum of a series' samples whose labels are as given; null when there is none at all. */
export function total(series, name, labels = {}) {
  const there = series.get(name);
  if (!there) return null;
  return there.filter((one) => Object.entries(labels).every(([key, value]) => one.labels[key] === value)).reduce((sum, one) => sum + one.value, 0);
}

/**
 * A quantile of what a histogram counted between two readings (`before` may be null), by linear interpolation in its
 * bucket as PromQL's histogram_quantile does; null when nothing was counted.
 */
export function quantile(now, before, name, q, labels = {}) {
  const bounds = buckets(now, name, labels);
  const earlier = before ? buckets(before, name, labels) : new Map();
  const counted = [...bounds].map(([bound, value]) => [bound, value - (earlier.get(bound) ?? 0)]).sort((a, b) => a[0] - b[0]);
  const all = counted.at(-1)?.[1] ?? 0;
  if (!all) return null;
  const wanted = q * all;
  let [low, below] = [0, 0];
  for (const [bound, value] of counted) {
    if (value >= wanted) return bound === Infinity ? low : low + ((bound - low) * (wanted - below)) / Math.max(1e-9, value - below);
    [low, below] = [bound, value];
  }
  return low;
}

/** Upper bound → cumulated count, over all samples whose labels are as given. */
export function buckets(series, name, labels = {}) {
  const found = new Map();
  for (const one of series.get(`${name}_bucket`) ?? []) {
    if (!Object.entries(labels).every(([key, value]) => one.labels[key] === value)) continue;
    const bound = one.labels.le === "+Inf" ? Infinity : Number(one.labels.le);
    found.set(bound, (found.get(bound) ?? 0) + one.value);
  }
  return found;
}
