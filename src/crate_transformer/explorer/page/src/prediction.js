// The prediction, and what switching heads or atoms off does to it: replaced by zero and by their mean, side by side.

import { colourAt } from "./colours.js";
import { el, select, setText } from "./dom.js";
import { percent, points } from "./numbers.js";

export function predictionPanel(app) {
  const blocks = app.models.map((model, m) => modelBlock(app, model, m));
  return {
    node: el("div", { class: "models" }, ...blocks.map((block) => block.node)),
    draw: () => blocks.forEach((block) => block.draw()),
  };
}

function modelBlock(app, model, m) {
  const effects = app.effects[m];
  const title = el("h3", { textContent: model.name });
  title.hidden = app.models.length < 2;
  const top = el("div", {});
  const grids = el("div", { class: "grids" });
  const followed = select("Change, in percentage points, of the probability of", [], () => app.set({}));
  const result = el("div", { "aria-live": "polite" });
  const says = el("p", {});
  const node = el("section", { class: "model" }, title, top, el("h4", { textContent: "Switch heads off" }), says,
    followed.node, grids, result);
  let drawn = "";
  let filled = null;

  function draw() {
    const view = app.picture.views[m];
    const { known } = effects;
    effects.update();
    if (filled !== view) {
      filled = view;
      top.replaceChildren(...predicted(view));
      followed.fill((known?.classes ?? []).map((name, c) => [c, name]));
      followed.node.hidden = !known;
    }
    const key = [view.name, followed.input.value, effects.asked, effects.waiting, effects.trouble].join(" ");
    if (drawn === key) return;
    drawn = key;
    setText(says, explanation(app, model, m, known));
    const focus = grids.contains(document.activeElement) ? document.activeElement.dataset.place : null;
    grids.replaceChildren(...gridsOf(model, effects, +followed.input.value || 0));
    if (focus) grids.querySelector(`[data-place="${focus}"]`)?.focus();
    result.replaceChildren(...resultOf(effects, model));
  }
  return { node, draw };
}

function predicted(view) {
  if (!view.top.length) return [el("p", { class: "caption", textContent: "This model names no classes." })];
  return [el("p", { class: "says", textContent: "What the model takes the picture for:" }),
    el("table", { class: "shares" }, el("tbody", {}, ...view.top.map(([name, share]) =>
      el("tr", {}, el("th", { scope: "row", textContent: name }), shareCell(share)))))];
}

function shareCell(share) {
  const fill = el("i");
  fill.style.width = `${100 * share}%`;
  return el("td", {}, el("span", { class: "track" }, fill), el("span", { class: "number", textContent: percent(share) }));
}

function explanation(app, model, m, known) {
  const replaced = `replaced by zero, or by the mean over ${model.reference}. Zero alone overstates: the model has never met it.`;
  if (!app.effects[m].classes) return "Without classes there is no prediction that heads could change.";
  if (app.data.server) return `Choose heads below, several if you like. Their output is ${replaced}`;
  if (known) return `Choose a head below. Its output is ${replaced} Several at once, and atoms, can be switched off in crate explore.`;
  return "The effects of heads were not computed for this page: open the model with crate explore to switch heads off.";
}

/** One table of heads by layer for each replacement, coloured by what each head alone does. */
function gridsOf(model, effects, c) {
  const { known, server } = effects;
  if (!known && !(server && effects.classes)) return [];
  const kinds = known ? [["zero", "Replaced by zero"], ["mean", "Replaced by the mean"]] : [["any", "Heads"]];
  const change = known ? (kind, layer, head) => known[kind][layer][head][c] - known.intact[c] : null;
  let largest = 0;
  if (known) for (const kind of ["zero", "mean"]) known[kind].forEach((row, layer) => row.forEach((_, head) => {
    largest = Math.max(largest, Math.abs(change(kind, layer, head)));
  }));
  const cell = (kind, layer, head) => {
    const value = change?.(kind, layer, head);
    const button = el("button", { type: "button", textContent: change ? points(value) : effects.isOff(layer, head) ? "off" : "on", "aria-pressed": effects.isOff(layer, head),
      "aria-label": `Layer ${layer}, head ${head}${change ? `: ${points(value)} percentage points` : ""}`,
      onclick: () => effects.toggle(layer, head) });
    button.dataset.place = `${kind} ${layer} ${head}`;
    if (change) {
      const { fill, ink } = colourAt("difference", 0.5 + (0.5 * value) / (largest || 1));
      button.style.background = fill;
      button.style.color = ink;
    }
    return el("td", {}, button);
  };
  return kinds.map(([kind, title]) => el("div", { class: "scroll" }, el("table", { class: "effects" },
    el("caption", { textContent: title }),
    el("thead", {}, el("tr", {}, el("th", { scope: "col", textContent: "layer \\ head" }),
      ...Array.from({ length: model.heads }, (_, head) => el("th", { scope: "col", textContent: head })))),
    el("tbody", {}, ...Array.from({ length: model.layers }, (_, layer) => el("tr", {}, el("th", { scope: "row", textContent: layer }),
      ...Array.from({ length: model.heads }, (_, head) => cell(kind, layer, head))))))));
}

function resultOf(effects, model) {
  const { answer, heads, atoms } = effects;
  const off = [...heads.map(([layer, head]) => `head ${head} of layer ${layer}`), ...atoms.map(([layer, atom]) => `atom ${atom} of layer ${layer}`)];
  if (effects.trouble) return [el("p", { role: "alert", textContent: effects.trouble })];
  if (effects.waiting) return [el("p", { textContent: `Off: ${off.join(", ")}. The server computes \u2026` })];
  if (!off.length || !answer?.zero) return [];
  return [
    el("div", { class: "head-title" }, el("h4", { textContent: `Off: ${off.join(", ")}` }),
      el("button", { type: "button", textContent: "All on again", onclick: () => effects.clear() })),
    el("div", { class: "scroll" }, el("table", { class: "shares" },
      el("thead", {}, el("tr", {}, ...["class", "intact", "off: zero", `off: mean`].map((name) => el("th", { scope: "col", textContent: name })))),
      el("tbody", {}, ...answer.classes.map((name, c) => el("tr", {}, el("th", { scope: "row", textContent: name }),
        shareCell(answer.intact[c]), shareCell(answer.zero[c]), shareCell(answer.mean[c])))))),
    el("p", { class: "caption", textContent: `The mean is that over ${model.reference}.` }),
  ];
}
