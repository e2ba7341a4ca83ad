// Numbers as text.

/** Three significant digits; small ones in the usual notation. */
export function short(value) {
  if (value === null || value === undefined) return "";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return value.toFixed(0);
  return size < 0.001 ? value.toExponential(1).replace("e-", "\u00d710^\u2212") : String(+value.toPrecision(3));
}

/** A share as percent: 12%, 3.4%, 0.21%. */
export function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.005) return "<0.01%";
  const digits = value >= 9.95 || value === 0 ? 0 : value >= 0.995 ? 1 : 2;
  return `${value.toFixed(digits)}%`;
}

/** A difference of shares in percentage points, with its sign. */
export function points(difference) {
  const value = 100 * difference;
  const digits = Math.abs(value) >= 9.95 ? 0 : 1;
  const text = Math.abs(value).toFixed(digits);
  return +text === 0 ? "0" : `${value < 0 ? "\u2212" : "+"}${text}`;
}
