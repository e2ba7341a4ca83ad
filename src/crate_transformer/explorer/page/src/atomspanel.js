// Which heads and dictionary atoms are strongest at the asking token, and the patches of all pictures where an atom is.

import { atomMap, largest, strongestAtoms } from "./atoms.js";
import { largestOf, paintMap } from "./colours.js";
import { patchImage } from "./crops.js";
import { el, keyed, setText } from "./dom.js";
import { short, percent } from "./numbers.js";
import { markedMap } from "./picture.js";

const SHOWN = 16;

export function atomsPanel(app) {
  const blocks = app.models.map((model, m) => modelBlock(app, model, m));
  return {
    node: el("div", { class: "models" }, ...blocks.map((block) => block.node)),
    draw: () => blocks.forEach((block) => block.draw()),
  };
}

function modelBlock(app, model, m) {
  const title = el("h3", { textContent: model.name });
  title.hidden = app.models.length < 2;
  const says = el("p", { class: "says" });
  const heads = bars();
  const membership = model.compares === "membership";
  const node = el("section", { class: "model" }, title, says,
    el("h4", { textContent: membership ? "Heads: share of this token" : "Heads: length of this token in each subspace" }), heads.node);
  const atoms = model.atoms ? atomPart(app, model, m) : null;
  node.append(atoms ? atoms.node : el("p", { class: "caption", textContent: "This model has no dictionary of atoms." }));

  function draw() {
    const view = app.picture.views[m];
    const layer = app.layerOf(view);
    const asking = app.asking(view);
    setText(says, `Layer ${layer}: heads and atoms at the ${asking.name}.`);
    const token = asking.tokens[0];
    const values = membership ? view.membership(layer) : view.lengths(layer);
    heads.draw(Array.from({ length: model.heads }, (_, head) => {
      const value = values[head * view.tokens + token];
      return { name: `head ${head}`, value, text: membership ? percent(value) : short(value),
        chosen: head === app.state.heads[m], choose: () => app.chooseHead(m, head) };
    }));
    atoms?.draw(view, layer, token);
  }
  return { node, draw };
}

function atomPart(app, model, m) {
  const list = bars();
  const chosenTitle = el("h4");
  const note = el("p", { class: "caption" });
  const pictures = el("div", { class: "pictures" });
  const cardOf = keyed(pictures, (p) => atomCard(app, p));
  const crops = el("div", { class: "crops" });
  const cropOf = keyed(crops, () => patchImage(app));
  const offer = el("button", { type: "button", textContent: "Switch this atom off", onclick: () => app.switchAtom(m, held.layer, held.atom) });
  const keep = el("button", { type: "button", textContent: "Keep this atom", title: "While the pointer moves on",
    onclick: () => app.keepAtom(m, held.layer, app.state.kept[m].some(([l]) => l === held.layer) ? null : held.atom) });
  const node = el("div", {},
    el("h4", { textContent: `Atoms: the strongest of ${model.atoms.count}, by ${model.atoms.name}` }), list.node,
    el("div", { class: "head-title" }, chosenTitle, keep, offer), crops, pictures, note);
  const held = {};

  function draw(view, layer, token) {
    const found = strongestAtoms(view, layer, token);
    const kept = app.state.kept[m].find(([l]) => l === layer)?.[1];
    const atom = kept ?? found[0]?.atom; // else the strongest here
    Object.assign(held, { layer, atom });
    list.draw(found.map((entry) => ({
      name: `atom ${entry.atom}`, value: entry.strength, text: short(entry.strength), chosen: entry.atom === atom,
      choose: () => app.keepAtom(m, layer, entry.atom === kept ? null : entry.atom),
    })));
    const any = atom !== undefined;
    for (const part of [crops, pictures, note]) part.hidden = !any;
    offer.hidden = !any || !app.data.server || !app.effects[m].classes;
    setText(offer, app.effects[m].atomIsOff(layer, atom) ? "Switch this atom on again" : "Switch this atom off");
    keep.hidden = !any;
    keep.setAttribute("aria-pressed", kept !== undefined);
    setText(chosenTitle, any ? `Where atom ${atom} of layer ${layer} is strongest` : "No atom is above 0 here.");
    if (!any) return;
    const maps = app.pictures.map((picture) => atomMap(picture.views[m], layer, atom));
    const top = Math.max(...maps.map(largestOf));
    setText(note, `Colours from 0 to ${short(top)}. Only the eight strongest atoms of each token travel with this page: elsewhere an atom counts as 0.`);
    cardOf(maps.length).forEach((card, p) => card.draw(maps[p], app.pictures[p].views[m], top));
    const best = largest(maps, SHOWN);
    cropOf(best.length).forEach((crop, i) => crop.draw(best[i].picture, m, best[i].patch, short(best[i].value)));
  }
  return { node, draw };
}

function atomCard(app, p) {
  const map = markedMap();
  const caption = el("figcaption", { textContent: app.pictures[p].name });
  return {
    node: el("figure", { class: "card" }, map.node, caption),
    draw(values, view, top) {
      paintMap(map.canvas, values, view.grid, top, { name: app.state.scale });
      map.mark(view, null);
    },
  };
}

/** Named values as bars, strongest at full length; each can be clicked. */
function bars() {
  const node = el("div", { class: "bars" });
  const barOf = keyed(node, () => {
    const [name, value, fill] = [el("span", { class: "name" }), el("span", { class: "number" }), el("i")];
    let choose = () => {};
    const button = el("button", { type: "button", class: "line", onclick: () => choose() },
      name, el("span", { class: "track" }, fill), value);
    return {
      node: button,
      draw(entry, top) {
        setText(name, entry.name);
        setText(value, entry.text);
        fill.style.width = `${(100 * entry.value) / (top || 1)}%`;
        button.setAttribute("aria-pressed", entry.chosen);
        choose = entry.choose;
      },
    };
  });
  return {
    node,
    draw(entries) {
      const top = Math.max(...entries.map((entry) => entry.value));
      barOf(entries.length).forEach((bar, i) => bar.draw(entries[i], top));
    },
  };
}
