// What all parts of the page share: the data, the state, and when to draw.

import { attention } from "./attention.js";
import { Effects } from "./effects.js";
import { firstState, fromAddress, pinName, toAddress } from "./state.js";

export class App {
  constructor(data) {
    this.data = data;
    this.models = data.models;
    this.pictures = data.pictures;
    this.state = fromAddress(location.hash, data, firstState(data));
    this.depth = Math.max(...data.models.map((model) => model.layers));
    this.effects = data.models.map((_, m) => new Effects(this, m));
    this.parts = [];
    this.drawn = []; // of each hover the milliseconds until everything is drawn: since the page hears, and since it happens
    this.hovered = null;
    this.waiting = false;
    window.addEventListener("hashchange", () => this.set(fromAddress(location.hash, data, this.state)));
  }

  get classToken() {
    return this.models.some((model) => model.class_token);
  }

  get picture() {
    return this.pictures[this.state.picture];
  }

  /** Change the state; everything is drawn once before the next frame, however many changes there are. */
  set(changes, event = null) {
    Object.assign(this.state, changes);
    if (event) this.hovered ??= { heard: performance.now(), happened: event.timeStamp };
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.waiting = false;
    this.asked = new Map();
    for (const part of this.parts) part.draw();
    if (this.hovered) this.drawn.push({ heard: performance.now() - this.hovered.heard, happened: performance.now() - this.hovered.happened });
    this.hovered = null;
    clearTimeout(this.writing);
    this.writing = setTimeout(() => this.writeAddress(), 300);
  }

  /** In a frame of a notebook there is no address of our own to write. */
  writeAddress() {
    const address = toAddress(this.state);
    if (window.top === window && location.hash !== address) history.replaceState(null, "", address);
  }

  /** How the maps of a model are painted: attention from 0, shares of heads from the smallest. */
  look(model, low) {
    const { scale, linear } = this.state;
    return model.compares === "membership" ? { name: scale, root: false, low } : { name: scale, root: !linear, low: 0 };
  }

  /** The patch that no scale counts: a patch looks most at itself. */
  without(model, asking) {
    return this.state.self || model.compares === "membership" ? null : asking.patch;
  }

  chooseHead(m, head) {
    const heads = [...this.state.heads];
    heads[m] = head;
    this.set({ heads });
  }

  /** Another picture; what was selected on the old one goes. */
  goTo(picture, m, patch) {
    const [view, first] = [this.pictures[picture].views[m], this.pictures[picture].views[0]];
    const row = Math.floor(((Math.floor(patch / view.columns) + 0.5) * first.rows) / view.rows);
    const column = Math.floor((((patch % view.columns) + 0.5) * first.columns) / view.columns);
    const same = picture === this.state.picture;
    this.set({ picture, patch: [row, column], asks: "patch", ...(same ? {} : { pins: [], region: null }) });
  }

  /** The atom to show while the pointer moves on; null follows it. */
  keepAtom(m, layer, atom) {
    const kept = [...this.state.kept];
    kept[m] = atom === null ? [] : [[layer, atom]];
    this.set({ kept });
  }

  switchAtom(m, layer, atom) {
    this.effects[m].toggleAtom(layer, atom);
    this.set({ tab: "prediction" });
  }

  layerOf(view) {
    return Math.min(this.state.layer, view.depth - 1);
  }

  /** The patch of a view that lies where [row, column] lies on the first model's grid. */
  patchOf(view, [row, column]) {
    const first = this.picture.views[0];
    const y = Math.min(view.rows - 1, Math.floor(((row + 0.5) * view.rows) / first.rows));
    const x = Math.min(view.columns - 1, Math.floor(((column + 0.5) * view.columns) / first.columns));
    return y * view.columns + x;
  }

  /** The patches of a view inside the selected region. */
  regionOf(view) {
    const { rows, columns } = this.picture.views[0];
    const [top, left, bottom, right] = this.state.region;
    const patches = [];
    for (let patch = 0; patch < view.patches; patch++) {
      const y = ((Math.floor(patch / view.columns) + 0.5) * rows) / view.rows;
      const x = (((patch % view.columns) + 0.5) * columns) / view.columns;
      if (y > top && y < bottom + 1 && x > left && x < right + 1) patches.push(patch);
    }
    return patches;
  }

  /** Who asks now: tokens of a view and their name. */
  asking(view) {
    const { asks, patch } = this.state;
    if (asks === "class" && view.model.class_token) return { tokens: [0], name: "class token", patch: null };
    return this.askingPatch(view, patch);
  }

  askingPatch(view, place) {
    const patch = this.patchOf(view, place);
    return { tokens: [view.model.prefix + patch], name: patchName(view, patch), patch };
  }

  /** Who is compared: the patch under the pointer or the class token, the pins, the region. */
  compared(view) {
    const { pins, region } = this.state;
    const all = [{ ...this.asking(view), key: "now" }];
    pins.forEach((pin, i) => all.push({ ...this.askingPatch(view, pin), key: pinName(i) }));
    if (region) {
      const patches = this.regionOf(view);
      const tokens = patches.map((patch) => view.model.prefix + patch);
      if (tokens.length) all.push({ tokens, name: `region of ${tokens.length} patches`, patch: null, key: "region" });
    }
    return all;
  }

  /** Attention of the asking tokens in one layer, computed once for all parts that draw it. */
  maps(view, layer, asking = this.asking(view)) {
    const key = `${view.name} ${layer} ${asking.tokens}`;
    if (!this.asked.has(key)) this.asked.set(key, attention(view, layer, asking.tokens));
    return this.asked.get(key);
  }
}

export function patchName(view, patch) {
  return `patch at row ${Math.floor(patch / view.columns)}, column ${patch % view.columns}`;
}
