// What is shown: one plain object, kept in the address so that a link shows the same view.

import { SCALES } from "./colours.js";

export const TABS = ["heads", "similar", "atoms", "objective", "masks", "prediction"];
const LETTERS = "ABCDEFGH";
export const MAX_PINS = LETTERS.length;

const yes = (text) => (text === "1" ? true : null);
const oneOf = (...names) => (text) => (names.includes(text) ? text : null);
const between = (low, high) => (text) =>
  (/^(0?\.)?\d{1,2}$/.test(text ?? "") && +text >= low && +text <= high ? +text : null);

/** By name in the address: name in the state, usual value, and what a text of the address means (null: nothing). */
const SETTINGS = {
  show: ["tab", "heads", oneOf(...TABS)],
  scale: ["scale", SCALES[0], oneOf(...SCALES)],
  linear: ["linear", false, yes], // colours by the values themselves, not by their square roots
  self: ["self", false, yes], // the asking patch counts when a scale is chosen
  same: ["same", false, yes], // one scale for all heads
  over: ["over", false, yes], // the large head lies over the picture
  features: ["features", null, (text, data) => whole(text, Math.max(...data.models.map((model) => model.heads)))],
  colours: ["colours", false, yes], // similar patches in colours, not as light
  mask: ["mask", "class", (text) => (/^(class|patch|region|share|(pca|maskcut),\d)$/.test(text ?? "") ? text : null)],
  mass: ["mass", 0.6, between(0.05, 1)], // of the attention that a mask holds
  above: ["level", 0.5, between(0, 0.99)], // of a principal component
  inverted: ["inverted", false, yes],
};

/** The state that the data open with. */
export function firstState(data) {
  const best = data.models[0].best_head;
  const view = data.pictures[0].views[0];
  const none = () => data.models.map(() => []);
  return {
    picture: 0,
    layer: best ? best.layer : Math.max(0, data.models[0].layers - 2),
    heads: data.models.map((model) => (model.best_head ? model.best_head.head : 0)),
    patch: [view.rows >> 1, view.columns >> 1], // row and column on the grid of the first model
    asks: "patch", // or "class": the class token
    pins: [],
    region: null, // first row and column, last row and column
    ...Object.fromEntries(Object.values(SETTINGS).map(([name, usual]) => [name, usual])),
    off: none(), // of each model pairs of layer and head that are switched off
    atomsOff: none(), // pairs of layer and atom
    kept: none(), // the layer and atom that was chosen to stay, or nothing
  };
}

const cell = ([row, column]) => `${row},${column}`;
const lists = (models) => models.map((pairs) => pairs.map(cell).join(";")).join("/");

export function toAddress(state) {
  const parts = [
    `layer=${state.layer}`, `head=${state.heads.join(",")}`, `patch=${cell(state.patch)}`,
    state.picture ? `picture=${state.picture}` : "",
    state.asks === "class" ? "token=class" : "",
    state.pins.length ? `pins=${state.pins.map(cell).join(";")}` : "",
    state.region ? `region=${state.region.join(",")}` : "",
    ...Object.entries(SETTINGS).map(([key, [name, usual]]) =>
      state[name] === usual ? "" : `${key}=${state[name] === true ? 1 : state[name]}`),
    ...Object.entries({ off: state.off, atomsoff: state.atomsOff, atom: state.kept }).map(([key, models]) =>
      models.some((pairs) => pairs.length) ? `${key}=${lists(models)}` : ""),
  ];
  return `#${parts.filter(Boolean).join("&")}`;
}

function whole(text, count) {
  return /^\d{1,6}$/.test(text ?? "") && +text < count ? +text : null;
}

function wholes(text, counts) {
  const parts = (text ?? "").split(",");
  const numbers = parts.map((part, i) => whole(part, counts[i]));
  return parts.length === counts.length && !numbers.includes(null) ? numbers : null;
}

/** The state that an address asks for; what it says wrongly or not at all is as in `state`. */
export function fromAddress(hash, data, state) {
  let asked;
  try {
    asked = new Map(hash.replace(/^#/, "").split("&").map((part) => part.split("=", 2).map(decodeURIComponent)));
  } catch {
    return state;
  }
  const { models } = data;
  const next = { ...state };
  next.picture = whole(asked.get("picture"), data.pictures.length) ?? (asked.has("layer") ? 0 : state.picture);
  const { rows, columns } = data.pictures[next.picture].views[0];
  const patch = (text) => wholes(text, [rows, columns]);
  next.layer = whole(asked.get("layer"), Math.max(...models.map((model) => model.layers))) ?? state.layer;
  const heads = (asked.get("head") ?? "").split(",");
  next.heads = models.map((model, m) => whole(heads[m], model.heads) ?? state.heads[m]);
  next.patch = patch(asked.get("patch")) ?? state.patch;
  next.patch = [Math.min(next.patch[0], rows - 1), Math.min(next.patch[1], columns - 1)];
  next.asks = asked.get("token") === "class" && models.some((model) => model.class_token) ? "class" : "patch";
  next.pins = (asked.get("pins") ?? "").split(";").map(patch).filter(Boolean).slice(0, MAX_PINS);
  const region = wholes(asked.get("region"), [rows, columns, rows, columns]);
  next.region = region && region[0] <= region[2] && region[1] <= region[3] ? region : null;
  for (const [key, [name, usual, read]] of Object.entries(SETTINGS)) next[name] = read(asked.get(key), data) ?? usual;
  const pairs = (key, count, most) => models.map((model, m) =>
    ((asked.get(key) ?? "").split("/")[m] ?? "").split(";").map((text) => wholes(text, [model.layers, count(model)]))
      .filter(Boolean).slice(0, most(m)));
  const known = (m) => (data.pictures[0].views[m].effects ? 1 : 0); // without a server one head at a time
  next.off = pairs("off", (model) => model.heads, data.server ? () => Infinity : known);
  next.atomsOff = pairs("atomsoff", (model) => model.atoms?.count ?? 0, () => (data.server ? Infinity : 0));
  next.kept = pairs("atom", (model) => model.atoms?.count ?? 0, () => 1);
  return next;
}

export function pinName(number) {
  return LETTERS[number];
}
