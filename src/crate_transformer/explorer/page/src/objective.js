// The objective by layer: R^c before and after attention, the sparse step, sparsity, and R^c of the selected region.

import { chart } from "./chart.js";
import { paintColours } from "./colours.js";
import { el, keyed, setText } from "./dom.js";
import { short, percent } from "./numbers.js";
import { markedMap } from "./picture.js";
import { regionRates } from "./rate.js";

export function objectivePanel(app) {
  const blocks = app.models.map((model, m) => modelBlock(app, model, m));
  return {
    node: el("div", { class: "models" }, ...blocks.map((block) => block.node)),
    draw: () => blocks.forEach((block) => block.draw()),
  };
}

function modelBlock(app, model, m) {
  const title = el("h3", { textContent: model.name });
  title.hidden = app.models.length < 2;
  const charts = el("div", { class: "charts" });
  const strip = el("div", { class: "strip", role: "group", "aria-label": "Tokens of every layer" });
  const tokensOf = keyed(strip, (layer) => tokensTile(app, layer, (number) => hover(number)));
  const large = markedMap();
  const largeTitle = el("figcaption", { class: "strong" });
  const values = el("div", { class: "scroll" });
  const region = el("div", { class: "region" });
  const hovered = el("figure", { class: "quantity hovered" }, largeTitle, large.node, values);
  const node = el("section", { class: "model" }, title, charts,
    el("h4", { textContent: "Tokens of every layer" }),
    el("p", { class: "caption", textContent: "Patches whose features are alike have one colour: three principal components of the layer's features over all pictures, as red, green and blue." }),
    strip, regionTitled(region));
  let over = null; // the layer under the pointer
  let tabled = "";
  let drawn = "";
  let measured = "";

  function hover(number) {
    over = number;
    drawTokens();
  }

  function drawTokens() {
    const view = app.picture.views[m];
    const layer = over ?? app.layerOf(view);
    paintColours(large.canvas, view.colours(layer), view.grid);
    large.mark(view, app.asking(view).patch);
    setText(largeTitle, `Layer ${layer}: tokens and values`);
    const key = `${view.name} ${layer}`;
    if (tabled !== key) values.replaceChildren(layerTable(model, view, layer));
    tabled = key;
  }

  function draw() {
    const view = app.picture.views[m];
    const layer = app.layerOf(view);
    const asking = app.asking(view);
    tokensOf(view.depth).forEach((tile, number) => tile.draw(view, number, number === layer, asking.patch));
    drawTokens();
    const key = `${view.name} ${layer}`;
    if (drawn !== key) {
      drawn = key;
      const parts = quantities(model, view).map((quantity) => quantityChart(quantity, {
        depth: view.depth, layer, hover, choose: (number) => app.set({ layer: number }),
      }));
      charts.replaceChildren(...parts, hovered);
    }
    const regionKey = `${key} ${app.state.region}`;
    if (measured !== regionKey) {
      measured = regionKey;
      clearTimeout(node.measuring);
      node.measuring = setTimeout(() => region.replaceChildren(...regionText(app, model, view, layer)), 120);
    }
  }
  return { node, draw };
}

function regionTitled(region) {
  const title = el("h4", {}, "R", el("sup", { textContent: "c" }), " of the selected region");
  return el("div", { class: "boxed" }, title, region);
}

function regionText(app, model, view, layer) {
  const patches = app.state.region ? app.regionOf(view) : [];
  if (!patches.length) return [el("p", { class: "caption", textContent: "Drag over the picture to select a region." })];
  const found = regionRates(view, layer, patches);
  const { random } = found;
  const row = (name, value, note) => el("tr", {}, el("th", { scope: "row", textContent: name }), el("td", { textContent: value }), el("td", { textContent: note }));
  const rows = [row(`Region, ${found.count} patches`, `${short(found.region)} nats`, ""),
    row(`${random.draws} draws of ${found.count} random patches`, `${short(random.mean)} \u00b1 ${short(random.deviation)} nats`, `mean and standard deviation; seed ${random.seed}`)];
  if (found.rest !== null) rows.push(row(`The rest, ${found.others} patches`, `${short(found.rest)} nats`, "of another number of patches"));
  const lower = found.region < random.mean;
  return [
    el("p", { textContent: `Layer ${layer}: the region needs ${lower ? "fewer" : "more"} nats than random patches of the same number: its patches are ${lower ? "more" : "less"} alike.` }),
    el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows))),
    el("p", { class: "caption", textContent: `Features scaled to unit length in every head, \u03b5\u00b2 = ${model.epsilon_squared}.` }),
  ];
}

function quantities(model, view) {
  const { curves } = model;
  const step = (title, unit, name, short, note) => ({
    title, short, unit, note, before: view[`${name}_before`], after: view[`${name}_after`],
    set: [curves[`${name}_before`], curves[`${name}_after`]].map((curve) => curve?.set),
    untrained: [curves[`${name}_before`], curves[`${name}_after`]].map((curve) => curve?.untrained),
  });
  const list = [step("R\u1d9c before and after attention", "nats", "rate", "R\u1d9c, nats", model.lowers_rate
    ? "Attention was derived as a step that lowers it"
    : "This family's attention was not derived to lower it: for comparison only")];
  if (view.sparse_before) list.push(step("LASSO objective before and after the sparse step", "mean over tokens", "sparse", "LASSO objective",
    "The sparse step is derived from it; before: the nearest non-negative start"));
  list.push({ title: "Entries that are not zero", short: "not zero", unit: "share", values: view.nonzero, ...curves.nonzero, note: "" });
  return list;
}

const NAMES = { here: "this picture", set: "mean of all pictures", untrained: "mean, untrained model" };

function quantityChart(quantity, options) {
  const series = [];
  const steps = [];
  let says = quantity.note;
  if (quantity.before) {
    steps.push({ class: "here", before: quantity.before, after: quantity.after });
    for (const name of ["set", "untrained"]) {
      const [before, after] = quantity[name];
      if (before && after) steps.push({ class: name, before, after });
    }
    const lowered = quantity.before.filter((before, i) => quantity.after[i] < before).length;
    says = `Lowered in ${lowered} of ${quantity.before.length} layers. ${quantity.note}.`;
  } else {
    for (const name of ["untrained", "set"]) series.push({ values: quantity[name], class: name });
    series.push({ values: quantity.values, class: "here", points: true });
  }
  const raised = steps.some((group) => group.before.some((before, i) => group.after[i] >= before));
  const legend = el("p", { class: "legend" }, ...(steps.length ? steps : [...series].reverse()).map((group) =>
    el("span", { class: `key ${group.class}`, textContent: NAMES[group.class] })),
    raised ? el("span", { class: "key raises", textContent: "raised" }) : null);
  const label = `${quantity.title}, by layer. ${says} Values: ${(quantity.values ?? quantity.before).map((value, i) =>
    `layer ${i} ${short(value)}${quantity.after ? ` to ${short(quantity.after[i])}` : ""}`).join("; ")}`;
  return el("figure", { class: "quantity" },
    el("figcaption", {}, el("b", { textContent: quantity.title }), ` (${quantity.unit})`),
    chart({ ...options, series, steps, label }), legend, says ? el("p", { class: "caption", textContent: says }) : null);
}

/** All numbers of one layer. */
function layerTable(model, view, layer) {
  const pair = (before, after) => (before && after ? `${short(before[layer])} \u2192 ${short(after[layer])}` : "");
  const rows = quantities(model, view).map((quantity) => {
    const values = quantity.before
      ? [pair(quantity.before, quantity.after), pair(...quantity.set), pair(...quantity.untrained)]
      : [quantity.values, quantity.set, quantity.untrained].map((list) => percent(list[layer]));
    return el("tr", {}, el("th", { scope: "row", textContent: quantity.short }), ...values.map((textContent) => el("td", { textContent })));
  });
  const heads = ["", "this picture", "all pictures", "untrained"].map((textContent) => el("th", { scope: "col", textContent }));
  return el("table", { class: "values" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
}

function tokensTile(app, layer, hover) {
  const map = markedMap();
  const node = el("button", {
    type: "button", class: "tile small", "aria-label": `Tokens of layer ${layer}`, onclick: () => app.set({ layer }),
    onpointerenter: () => hover(layer), onpointerleave: () => hover(null), onfocus: () => hover(layer), onblur: () => hover(null),
  }, map.node, el("span", { class: "label", textContent: layer }));
  let painted = "";
  return {
    node,
    draw(view, number, chosen, patch) {
      if (painted !== view.name) paintColours(map.canvas, view.colours(number), view.grid);
      painted = view.name;
      map.mark(view, patch);
      node.setAttribute("aria-pressed", chosen);
    },
  };
}
