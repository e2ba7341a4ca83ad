// Where does this patch belong: patches of all pictures whose features are like those of the asking patch.

import { paintMap, paintVeil } from "./colours.js";
import { el, keyed, select, setText } from "./dom.js";
import { patchImage } from "./crops.js";
import { markedMap } from "./picture.js";
import { similarity } from "./similarity.js";

const NEAREST = 12;

export function similarPanel(app) {
  const heads = Math.max(...app.models.map((model) => model.heads));
  const headChoices = Array.from({ length: heads }, (_, head) => [head, `head ${head}`]);
  const by = select("Features of", [["all", "all heads"], ...headChoices], (value) => app.set({ features: value === "all" ? null : +value }));
  const shownAs = select("Shown as", [["light", "light on the picture"], ["colours", "colours"]], (value) => app.set({ colours: value === "colours" }));
  const blocks = app.models.map((model, m) => modelBlock(app, m));
  return {
    node: el("div", {},
      el("div", { class: "options" }, by.node, shownAs.node),
      el("div", { class: "models" }, ...blocks.map((block) => block.node))),
    draw() {
      by.input.value = app.state.features ?? "all";
      shownAs.input.value = app.state.colours ? "colours" : "light";
      blocks.forEach((block) => block.draw());
    },
  };
}

function modelBlock(app, m) {
  const model = app.models[m];
  const title = el("h3", { textContent: model.name });
  title.hidden = app.models.length < 2;
  const says = el("p", { class: "says" });
  const scale = el("p", { class: "caption" });
  const pictures = el("div", { class: "pictures" });
  const cardOf = keyed(pictures, (p) => pictureCard(app, p));
  const nearest = el("div", { class: "crops" });
  const cropOf = keyed(nearest, () => patchImage(app));
  const node = el("section", { class: "model" }, title, says, pictures, scale,
    el("h4", { textContent: `The ${NEAREST} most similar patches${app.pictures.length > 1 ? " of the other pictures" : ""}, with their cosine` }), nearest);

  function draw() {
    const view = app.picture.views[m];
    const layer = app.layerOf(view);
    const asking = app.asking(view);
    const { features, colours } = app.state;
    const head = features === null ? null : Math.min(features, model.heads - 1);
    const maps = app.pictures.map((picture) => similarity(view, asking.tokens[0], picture.views[m], layer, head));
    const { low, high, middle } = spread(maps);
    setText(says, `Layer ${layer}: patches of all pictures whose features are like those of the ${asking.name}` +
      `${head === null ? "" : `, in head ${head}`}.`);
    setText(scale, `Cosine of the features. ${colours
      ? `Darkest colour: ${low.toFixed(2)}; lightest: ${high.toFixed(2)}.`
      : `Dark: ${middle.toFixed(2)} (the median of all patches) or less; clear: ${high.toFixed(2)}.`}`);
    cardOf(maps.length).forEach((card, p) =>
      card.draw(maps[p], app.pictures[p].views[m], colours ? low : middle, high, colours, p === app.state.picture ? asking.patch : null));
    const found = nearestPatches(maps, app.state.picture);
    cropOf(found.length).forEach((crop, i) => crop.draw(found[i].picture, m, found[i].patch, found[i].value.toFixed(2)));
  }
  return { node, draw };
}

function pictureCard(app, p) {
  const map = markedMap();
  map.node.prepend(el("img", { src: app.pictures[p].source, alt: "", class: "beneath" }));
  map.canvas.classList.add("veil");
  const node = el("figure", { class: "card" }, map.node, el("figcaption", { textContent: app.pictures[p].name }));
  return {
    node,
    draw(cosines, view, low, high, colours, patch) {
      if (colours) paintMap(map.canvas, cosines.map((value) => value - low), view.grid, high - low, { name: app.state.scale });
      else paintVeil(map.canvas, cosines, view.grid, low, high);
      map.mark(view, patch);
    },
  };
}

/** Smallest and largest cosine but for that of the patch with itself, and the median. */
function spread(maps) {
  const all = Float32Array.from(maps.flatMap((map) => Array.from(map))).sort();
  const high = Math.min(1, all[Math.max(0, all.length - 2)]);
  return { low: all[0], middle: all[all.length >> 1], high };
}

/** The best of the other pictures; of the same one if there is no other. */
function nearestPatches(maps, picture) {
  const best = [];
  maps.forEach((map, p) => map.forEach((value, patch) => {
    if (p === picture && maps.length > 1) return;
    if (best.length === NEAREST && value <= best[NEAREST - 1].value) return;
    const at = best.findIndex((other) => other.value < value);
    best.splice(at < 0 ? best.length : at, 0, { picture: p, patch, value });
    best.length = Math.min(best.length, NEAREST);
  }));
  return best;
}
