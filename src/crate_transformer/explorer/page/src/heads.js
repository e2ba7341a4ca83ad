// All heads of the layer at once, the other layers small, and one head large for everything that is compared.

import { largestOf, paintMap, SCALES, smallestOf, table } from "./colours.js";
import { checkbox, el, keyed, select, setText } from "./dom.js";
import { comparesTokens, meanMap, patchMap, prefixShare } from "./attention.js";
import { percent } from "./numbers.js";
import { markedMap } from "./picture.js";

export function headsPanel(app) {
  const scale = select("Colours", SCALES.map((name) => [name, name]), (value) => app.set({ scale: value }));
  const root = checkbox("Show small values too (square root)", (value) => app.set({ linear: !value }));
  const self = checkbox("Count the patch itself in the scale", (value) => app.set({ self: value }));
  const same = checkbox("Same scale for all heads", (value) => app.set({ same: value }));
  root.node.hidden = self.node.hidden = !app.models.some(comparesTokens);
  const blocks = app.models.map((model, m) => modelBlock(app, model, m));
  const node = el("div", {},
    el("details", { class: "looks" }, el("summary", { textContent: "Colours and scale" }),
      el("div", { class: "options" }, root.node, self.node, same.node, scale.node)),
    el("div", { class: "models" }, ...blocks.map((block) => block.node)));
  return {
    node,
    draw() {
      scale.input.value = app.state.scale;
      root.input.checked = !app.state.linear;
      self.input.checked = app.state.self;
      same.input.checked = app.state.same;
      blocks.forEach((block) => block.draw());
    },
  };
}

function modelBlock(app, model, m) {
  const title = el("h3", { textContent: model.name });
  title.hidden = app.models.length < 2;
  const says = el("p", { class: "says" });
  if (model.compares === "nothing") {
    setText(says, "The attention of this model has no maps. Its heads are part of the other tabs.");
    return { node: el("section", { class: "model" }, title, says), draw() {} };
  }
  const tiles = el("div", { class: "tiles", role: "group", "aria-label": `Heads of ${model.name}` });
  const tileOf = keyed(tiles, (head) => headTile(app, m, head));
  const strip = el("div", { class: "strip", role: "group", "aria-label": `Layers of ${model.name}` });
  const layerOf = keyed(strip, (layer) => layerTile(app, layer));
  const large = largeHead(app, model, m);
  const membership = model.compares === "membership";
  const caption = el("p", { class: "caption" });
  const node = el("section", { class: "model" }, title, says, tiles, caption, strip, large.node);

  function draw() {
    const view = app.picture.views[m];
    const layer = app.layerOf(view);
    const asking = app.asking(view);
    const maps = app.maps(view, layer);
    setText(says, membership
      ? `Layer ${layer}: how much of each patch every head takes. This model compares no patches. Of the ${asking.name}:`
      : `Layer ${layer}: where the ${asking.name} looks in each head. Bright: much attention.`);
    setText(caption, membership
      ? `The same for head ${app.state.heads[m]} in every layer:`
      : "Mean of the heads in every layer:");
    const each = Array.from({ length: model.heads }, (_, head) => patchMap(view, maps, head));
    const tops = each.map((map) => largestOf(map, app.without(model, asking)));
    const lows = each.map(smallestOf);
    const [top, low] = [Math.max(...tops), Math.min(...lows)];
    tileOf(model.heads).forEach((tile, head) => tile.draw(view, maps, head, app.state.same ? top : tops[head],
      app.look(model, app.state.same ? low : lows[head]), asking));
    layerOf(view.depth).forEach((tile, number) => tile.draw(view, m, number, asking));
    large.draw(view, layer);
  }
  return { node, draw };
}

function headTile(app, m, head) {
  const map = markedMap();
  const name = el("b", { textContent: `Head ${head}` });
  const value = el("span");
  const node = el("button", {
    type: "button", class: "tile", onclick: () => app.chooseHead(m, head),
  }, map.node, el("span", { class: "label" }, name, value));
  return {
    node,
    draw(view, maps, number, top, look, asking) {
      const shown = patchMap(view, maps, number);
      paintMap(map.canvas, shown, view.grid, top, look);
      map.mark(view, asking.patch);
      setText(value, view.model.compares === "membership"
        ? `share ${percent(maps[number * view.tokens + asking.tokens[0]])}`
        : `up to ${percent(largestOf(shown))}`);
      node.setAttribute("aria-pressed", number === app.state.heads[m]);
    },
  };
}

function layerTile(app, layer) {
  const map = markedMap();
  const node = el("button", { type: "button", class: "tile small", "aria-label": `Layer ${layer}`, onclick: () => app.set({ layer }) },
    map.node, el("span", { class: "label", textContent: layer }));
  return {
    node,
    draw(view, m, number, asking) {
      const maps = app.maps(view, number);
      const shown = view.model.compares === "membership" ? patchMap(view, maps, app.state.heads[m]) : meanMap(view, maps);
      paintMap(map.canvas, shown, view.grid, largestOf(shown, app.without(view.model, asking)), app.look(view.model, smallestOf(shown)));
      map.mark(view, asking.patch);
      node.setAttribute("aria-pressed", number === app.layerOf(view));
    },
  };
}

/** The chosen head for the pointer's patch, every pin and the region, with values. */
function largeHead(app, model, m) {
  const title = el("h4");
  const row = el("div", { class: "compared" });
  const cardOf = keyed(row, () => comparedMap(app));
  const over = checkbox("Over the picture", (value) => app.set({ over: value }));
  const best = el("p", { class: "caption" });
  const node = el("div", { class: "large" }, el("div", { class: "head-title" }, title, over.node), best, row);
  return {
    node,
    draw(view, layer) {
      const head = app.state.heads[m];
      setText(title, `Head ${head} of layer ${layer}, large`);
      const chosen = model.best_head;
      best.hidden = !chosen;
      if (chosen) {
        const same = chosen.layer === layer && chosen.head === head;
        setText(best, `The checkpoint names ${same ? "this head" : `head ${chosen.head} of layer ${chosen.layer}`} as the best at telling objects from the background: ${chosen.why}.`);
      }
      over.input.checked = app.state.over;
      const compared = app.compared(view);
      const maps = compared.map((asking) => app.maps(view, layer, asking));
      const membership = model.compares === "membership";
      cardOf(membership ? 1 : compared.length).forEach((card, i) =>
        card.draw(view, compared[i], maps[i], head, app.state.over));
    },
  };
}

function comparedMap(app) {
  const map = markedMap();
  const image = el("img", { alt: "", class: "beneath" });
  map.node.prepend(image);
  const title = el("b");
  const value = el("p", { class: "value" });
  const bar = colourBar();
  const node = el("figure", { class: "card" }, map.node, bar.node, el("figcaption", {}, title, value));
  let read = () => "";
  const at = { patch: null };
  map.node.addEventListener("pointermove", (event) => {
    const box = map.node.getBoundingClientRect();
    at.patch = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
    setText(value, read());
  });
  map.node.addEventListener("pointerleave", () => {
    at.patch = null;
    setText(value, read());
  });
  return {
    node,
    draw(view, asking, maps, head, over) {
      const shown = patchMap(view, maps, head);
      const [top, most] = [largestOf(shown, app.without(view.model, asking)), largestOf(shown)];
      const membership = view.model.compares === "membership";
      const look = app.look(view.model, smallestOf(shown));
      paintMap(map.canvas, shown, view.grid, top, look);
      map.mark(view, asking.patch);
      image.hidden = !over;
      if (over) image.src = app.picture.source;
      map.canvas.classList.toggle("over", over);
      setText(title, membership ? `Share of head ${head} in each patch` : { now: "", region: "" }[asking.key] ?? `${asking.key}: `);
      if (!membership) title.append(asking.name);
      bar.draw(top, most, look, membership ? "share of the patch" : "share of the attention");
      read = () => {
        if (at.patch) {
          const row = Math.min(view.rows - 1, Math.max(0, Math.floor(at.patch[0] * view.rows)));
          const column = Math.min(view.columns - 1, Math.max(0, Math.floor(at.patch[1] * view.columns)));
          return `row ${row}, column ${column}: ${percent(shown[row * view.columns + column])}`;
        }
        if (membership) return `Equal shares would be ${percent(1 / view.model.heads)}.`;
        const prefix = view.model.prefix ? ` ${prefixName(view.model)} ${percent(prefixShare(view, maps, head))}.` : "";
        return `Largest ${percent(most)}; equal shares would be ${percent(1 / view.tokens)}.${prefix}`;
      };
      setText(value, read());
    },
  };
}

function prefixName(model) {
  if (!model.class_token) return "Registers take";
  return model.prefix > 1 ? "Class token and registers take" : "Class token takes";
}

function colourBar() {
  const canvas = el("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const [bottom, middle, top, unit] = [el("span"), el("span"), el("span"), el("div")];
  const node = el("div", { class: "bar" }, canvas,
    el("div", { class: "ticks" }, bottom, middle, top), unit);
  let painted = null;
  return {
    node,
    draw(value, most, { name, root, low }, text) {
      if (painted !== name) {
        painted = name;
        canvas.getContext("2d").putImageData(new ImageData(table(name).slice(), 256, 1), 0, 0);
      }
      setText(bottom, low ? percent(low) : "0");
      setText(middle, percent(low + (value - low) * (root ? 0.25 : 0.5)));
      setText(top, `${percent(value)}${most > value ? " and more" : ""}`);
      setText(unit, text);
    },
  };
}

export { colourBar };
