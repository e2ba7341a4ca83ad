// Masks: from a head's attention, a principal component or MaskCut; shown on the picture and offered as files.

import { comparesTokens, patchMap } from "./attention.js";
import { paintVeil } from "./colours.js";
import { checkbox, download, el, keyed, select, setText, svg } from "./dom.js";
import { cocoFile, inverted, levelMask, massMask, outline, pixelMask, svgFile } from "./masks.js";
import { percent } from "./numbers.js";
import { markedMap } from "./picture.js";

const COMPONENTS = [["pca,0", "PCA, first component (red)"], ["pca,1", "PCA, second component (green)"], ["pca,2", "PCA, third component (blue)"]];

export function masksPanel(app) {
  const source = select("Mask from", [], (mask) => app.set({ mask }));
  const slider = el("input", { type: "range", step: 0.01, oninput: () => app.set({ [kind]: +slider.value }) });
  const says = el("span");
  const threshold = el("label", { class: "choice wide" }, says, slider);
  const invert = checkbox("Inverted", (inverted) => app.set({ inverted }));
  const blocks = app.models.map((model, m) => modelBlock(app, model, m));
  let kind = "mass"; // or "level": what the slider sets
  let offered = "";

  /** Fill the list; what the mask is from, as far as this picture and these models have it. */
  function offer() {
    const most = Math.max(...app.picture.views.map((view) => view.objects.length));
    const compares = app.models.some(comparesTokens);
    const choices = [];
    if (compares && app.classToken) choices.push(["class", "attention of the class token"]);
    if (compares) choices.push(["patch", "attention of the patch under the pointer"]);
    if (compares && app.state.region) choices.push(["region", "attention of the selected region"]);
    if (!compares && app.models.some((model) => model.compares === "membership")) choices.push(["share", "share of the head in each patch"]);
    choices.push(...COMPONENTS);
    for (let i = 0; i < most; i++) choices.push([`maskcut,${i}`, `MaskCut, object ${i + 1} of ${most}`]);
    const key = choices.join();
    if (offered !== key) source.fill(choices);
    offered = key;
    const [chosen] = choices.find(([value]) => value === app.state.mask) ?? choices[0];
    return (source.input.value = chosen);
  }

  function draw() {
    const [from, number] = offer().split(",");
    const { mass, level } = app.state;
    kind = from === "pca" ? "level" : "mass";
    Object.assign(slider, kind === "mass" ? { min: 0.05, max: 1 } : { min: 0, max: 0.99 });
    slider.value = app.state[kind];
    invert.input.checked = app.state.inverted;
    threshold.hidden = from === "maskcut";
    setText(says, kind === "mass" ? `Keep the largest ${percent(mass)} of the ${from === "share" ? "shares" : "attention"}` : `Keep components above ${level.toFixed(2)}`);
    const choice = { from, number: +number, invert: app.state.inverted, mass, level };
    blocks.forEach((block) => block.draw(choice));
  }
  const node = el("div", {},
    el("div", { class: "options" }, source.node, threshold, invert.node),
    el("div", { class: "models" }, ...blocks.map((block) => block.node)),
    el("p", { class: "caption", textContent: "A head that looks at the background gives a mask of the object when inverted. Files have the size of the picture; every patch is a block of pixels." }));
  return { node, draw };
}

/** The mask of one head (or none, where the source has no heads). */
function maskOf(app, view, layer, choice, head) {
  const { from, number } = choice;
  let mask;
  if (from === "maskcut") mask = number < view.objects.length ? view.object(number) : new Uint8Array(view.patches);
  else if (from === "pca") {
    const colours = view.colours(layer);
    mask = levelMask(Float32Array.from({ length: view.patches }, (_, patch) => colours[3 * patch + number] / 255), choice.level);
  } else if (view.model.compares === "nothing") mask = new Uint8Array(view.patches);
  else mask = massMask(patchMap(view, app.maps(view, layer, whoAsks(app, view, from)), head), choice.mass);
  return choice.invert ? inverted(mask) : mask;
}

function whoAsks(app, view, from) {
  if (from === "class" && view.model.class_token) return { tokens: [0] };
  if (from === "region") {
    const tokens = app.regionOf(view).map((patch) => view.model.prefix + patch);
    if (tokens.length) return { tokens };
  }
  return app.askingPatch(view, app.state.patch);
}

function modelBlock(app, model, m) {
  const title = el("h3", { textContent: model.name });
  title.hidden = app.models.length < 2;
  const tiles = el("div", { class: "tiles" });
  const tileOf = keyed(tiles, (head) => maskTile(app, m, head));
  const large = maskedPicture();
  const says = el("p", { class: "says" });
  const file = (name, make) => el("button", { type: "button", textContent: name, onclick: async () => download(await make(), fileName(name)) });
  const shown = {};
  const node = el("section", { class: "model" }, title, says, el("div", { class: "mask-row" },
    el("div", { class: "mask-large" }, large.node, el("div", { class: "buttons" },
      el("span", { textContent: "Download" }), file("PNG", png), file("COCO JSON", coco), file("SVG", vector))),
    tiles));

  function fileName(kind) {
    const stem = app.picture.name.replace(/\.\w{1,5}$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "_").slice(0, 80);
    return `${stem}-${shown.name}.${{ PNG: "png", "COCO JSON": "json", SVG: "svg" }[kind]}`;
  }

  const size = () => [app.picture.width, app.picture.height];
  const pixels = () => pixelMask(shown.mask, shown.view.grid, ...size());

  function png() {
    const [width, height] = size();
    const canvas = el("canvas", { width, height });
    const image = new ImageData(width, height);
    pixels().forEach((value, i) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i));
    canvas.getContext("2d").putImageData(image, 0, 0);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  function coco() {
    const [width, height] = size();
    const content = cocoFile(pixels(), width, height, app.picture.name, "object");
    return new Blob([JSON.stringify(content)], { type: "application/json" });
  }

  function vector() {
    return new Blob([svgFile(shown.mask, shown.view.grid, ...size())], { type: "image/svg+xml" });
  }

  function draw(choice) {
    const view = app.picture.views[m];
    const layer = app.layerOf(view);
    const head = app.state.heads[m];
    const byHead = model.compares !== "nothing" && !["pca", "maskcut"].includes(choice.from);
    const mask = maskOf(app, view, layer, choice, head);
    const name = choice.from === "maskcut" ? `maskcut-${choice.number + 1}`
      : choice.from === "pca" ? `layer-${layer}-pca-${choice.number + 1}` : `layer-${layer}-head-${head}-${choice.from}`;
    Object.assign(shown, { view, mask, name: name + (choice.invert ? "-inverted" : "") });
    const kept = mask.reduce((sum, value) => sum + value, 0);
    const where = choice.from === "maskcut" ? "last layer" : `layer ${layer}${byHead ? `, head ${head}` : ""}`;
    setText(says, `Mask, ${where}: ${kept} of ${view.patches} patches, ${percent(kept / view.patches)} of the picture.`);
    large.draw(app.picture, view, mask, true);
    tiles.hidden = !byHead;
    if (byHead) tileOf(model.heads).forEach((tile, number) => tile.draw(view, maskOf(app, view, layer, choice, number), number));
  }
  return { node, draw };
}

function maskTile(app, m, head) {
  const picture = maskedPicture();
  const node = el("button", { type: "button", class: "tile", onclick: () => app.chooseHead(m, head) },
    picture.node, el("span", { class: "label" }, el("b", { textContent: `Head ${head}` })));
  return {
    node,
    draw(view, mask, number) {
      picture.draw(app.picture, view, mask, false);
      node.setAttribute("aria-pressed", number === app.state.heads[m]);
    },
  };
}

/** The picture, dark outside the mask, and on demand the mask's outline. */
function maskedPicture() {
  const map = markedMap();
  const image = el("img", { alt: "", class: "beneath" });
  const lines = svg("svg", { class: "overlay", preserveAspectRatio: "none", "aria-hidden": "true" });
  map.node.prepend(image);
  map.node.append(lines);
  map.canvas.classList.add("veil", "hard");
  return {
    node: map.node,
    draw(picture, view, mask, outlined) {
      if (image.src !== picture.source) image.src = picture.source;
      paintVeil(map.canvas, mask, view.grid, 0, 1);
      map.mark(view, null);
      if (!outlined) return;
      lines.setAttribute("viewBox", `0 0 ${view.columns} ${view.rows}`);
      const d = outline(mask, view.grid);
      lines.replaceChildren(svg("path", { class: "under", d }), svg("path", { class: "over", d }));
    },
  };
}
