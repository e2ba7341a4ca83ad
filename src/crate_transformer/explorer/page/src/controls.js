// Beside the picture: the other pictures, the layer, class token, region, pins; and the keys of the whole page.

import { el, setText } from "./dom.js";
import { announcement } from "./picture.js";

export function controls(app, stage) {
  const slider = el("input", {
    type: "range", min: 0, max: app.depth - 1, step: 1, "aria-label": "Layer",
    oninput: () => app.set({ layer: +slider.value }),
  });
  const number = el("output", { class: "layer-number" });
  const step = (by) => app.set({ layer: Math.min(app.depth - 1, Math.max(0, app.state.layer + by)) });
  const earlier = el("button", { type: "button", textContent: "\u2190", "aria-label": "Earlier layer", onclick: () => step(-1) });
  const later = el("button", { type: "button", textContent: "\u2192", "aria-label": "Later layer", onclick: () => step(1) });

  const classToken = el("button", { type: "button", textContent: "Class token", onclick: () =>
    app.set({ asks: app.state.asks === "class" ? "patch" : "class" }) });
  classToken.disabled = !app.classToken;
  const region = el("button", { type: "button", textContent: "Select a region", onclick: () => {
    stage.select(!stage.selecting());
    app.set({});
  } });
  const clear = el("button", { type: "button", textContent: "Clear", title: "Take pins and region away (Escape)", onclick: () => empty() });
  const empty = () => {
    stage.select(false);
    app.set({ pins: [], region: null });
  };
  const status = el("p", { class: "status", "aria-live": "polite" });

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") return empty();
    if (event.target.closest("input, select, textarea, [role=tab], .picture") && !event.key.startsWith("Page")) return;
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -1, PageDown: 1 }[event.key];
    if (!by || (event.key.startsWith("Page") && !event.target.closest(".picture"))) return;
    event.preventDefault();
    step(by);
  });

  const node = el("div", { class: "controls" },
    el("div", { class: "layer" }, earlier, el("label", {}, number, slider), later),
    el("div", { class: "buttons" }, classToken, region, clear),
    status);

  let said = "";
  let saying;
  function draw() {
    const { state } = app;
    slider.value = state.layer;
    setText(number, `Layer ${state.layer} of 0\u2013${app.depth - 1}`);
    earlier.disabled = state.layer === 0;
    later.disabled = state.layer === app.depth - 1;
    classToken.setAttribute("aria-pressed", state.asks === "class");
    region.setAttribute("aria-pressed", stage.selecting());
    clear.disabled = !state.pins.length && !state.region;
    const text = announcement(app);
    if (text !== said) {
      said = text;
      clearTimeout(saying);
      saying = setTimeout(() => setText(status, said), 400); // a reader hears where the pointer rests
    }
  }
  return { node, draw };
}

export function thumbnails(app) {
  const choose = (picture) => {
    const { rows, columns } = app.pictures[picture].views[0];
    const [row, column] = app.state.patch;
    app.set({ picture, pins: [], region: null, patch: [Math.min(row, rows - 1), Math.min(column, columns - 1)] });
  };
  const buttons = app.pictures.map((picture, p) => el("button", {
    type: "button", class: "thumbnail", "aria-label": `Picture ${picture.name}`, title: picture.name, onclick: () => choose(p),
  }, el("img", { src: picture.source, alt: "", draggable: false })));
  const node = el("div", { class: "thumbnails", role: "group", "aria-label": "Pictures" }, ...buttons);
  node.hidden = buttons.length < 2;
  return { node, draw: () => buttons.forEach((button, p) => button.setAttribute("aria-pressed", p === app.state.picture)) };
}
