// What is shown: one plain object, kept in the address so that a link shows the same view.

export const TABS = ["heads", "similar", "atoms", "objective", "masks", "prediction"];
const LETTERS = "ABCDEFGH";
export const MAX_PINS = LETTERS.length;

/** The state that the data open with. */
export function firstState(data) {
  const best = data.models[0].best_head;
  const view = data.pictures[0].views[0];
  return {
    picture: 0,
    layer: best ? best.layer : Math.max(0, data.models[0].layers - 2),
    heads: data.models.map((model) => (model.best_head ? model.best_head.head : 0)),
    patch: [view.rows >> 1, view.columns >> 1], // row and column on the grid of the first model
    asks: "patch", // or "class": the class token
    pins: [],
    region: null, // first row and column, last row and column
    tab: "heads",
    scale: "viridis",
    root: true, // colours by the square root of the values
    self: false, // the asking patch counts when a scale is chosen
    same: false, // one scale for all heads
  };
}

const cell = ([row, column]) => `${row},${column}`;

export function toAddress(state) {
  const parts = [
    `layer=${state.layer}`, `head=${state.heads.join(",")}`, `patch=${cell(state.patch)}`,
    state.picture ? `picture=${state.picture}` : "",
    state.asks === "class" ? "token=class" : "",
    state.pins.length ? `pins=${state.pins.map(cell).join(";")}` : "",
    state.region ? `region=${state.region.join(",")}` : "",
    state.tab !== "heads" ? `show=${state.tab}` : "",
    state.scale !== "viridis" ? `scale=${state.scale}` : "",
    state.root ? "" : "linear=1",
    state.self ? "self=1" : "",
    state.same ? "same=1" : "",
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
  const next = { ...state };
  next.picture = whole(asked.get("picture"), data.pictures.length) ?? (asked.has("layer") ? 0 : state.picture);
  const { rows, columns } = data.pictures[next.picture].views[0];
  const patch = (text) => wholes(text, [rows, columns]);
  next.layer = whole(asked.get("layer"), Math.max(...data.models.map((model) => model.layers))) ?? state.layer;
  const heads = (asked.get("head") ?? "").split(",");
  next.heads = data.models.map((model, m) => whole(heads[m], model.heads) ?? state.heads[m]);
  next.patch = patch(asked.get("patch")) ?? state.patch;
  next.patch = [Math.min(next.patch[0], rows - 1), Math.min(next.patch[1], columns - 1)];
  next.asks = asked.get("token") === "class" && data.models.some((model) => model.class_token) ? "class" : "patch";
  next.pins = (asked.get("pins") ?? "").split(";").map(patch).filter(Boolean).slice(0, MAX_PINS);
  const region = wholes(asked.get("region"), [rows, columns, rows, columns]);
  next.region = region && region[0] <= region[2] && region[1] <= region[3] ? region : null;
  next.tab = TABS.includes(asked.get("show")) ? asked.get("show") : "heads";
  next.scale = ["magma", "cividis"].includes(asked.get("scale")) ? asked.get("scale") : "viridis";
  next.root = asked.get("linear") !== "1";
  next.self = asked.get("self") === "1";
  next.same = asked.get("same") === "1";
  return next;
}

export function pinName(number) {
  return LETTERS[number];
}
