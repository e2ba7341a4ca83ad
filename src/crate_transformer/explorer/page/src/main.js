// Start: read the data, put the parts together, draw.

import { App } from "./app.js";
import { atomMap, strongestAtoms } from "./atoms.js";
import { atomsPanel } from "./atomspanel.js";
import { attention, comparesTokens } from "./attention.js";
import { controls, thumbnails } from "./controls.js";
import { readData } from "./data.js";
import { el, setText } from "./dom.js";
import { headsPanel } from "./heads.js";
import { massMask } from "./masks.js";
import { masksPanel } from "./maskspanel.js";
import { objectivePanel } from "./objective.js";
import { pictureStage } from "./picture.js";
import { predictionPanel } from "./prediction.js";
import { regionRates } from "./rate.js";
import { similarPanel } from "./similar.js";
import { similarity } from "./similarity.js";
import { tabs } from "./tabs.js";
import { uploadControls } from "./uploads.js";

const app = new App(readData(document.getElementById("data")));
const stage = pictureStage(app);
const under = controls(app, stage);
const others = thumbnails(app);
const panels = tabs(app, {
  heads: ["Heads", headsPanel],
  similar: ["Similar patches", similarPanel],
  atoms: ["Atoms", atomsPanel],
  objective: ["Objective", objectivePanel],
  masks: ["Masks", masksPanel],
  prediction: ["Prediction", predictionPanel],
});

document.body.classList.toggle("two", app.models.length > 1);
document.getElementById("stage").append(el("div", { class: "kept" }, stage.node), under.node, others.node);
document.getElementById("panels").append(panels.node);
document.querySelector("header").append(...[uploadControls(app.data)].filter(Boolean));
if (!app.models.some(comparesTokens)) {
  const shares = app.models.some((model) => model.compares === "membership");
  setText(document.getElementById("what"), shares ? "every head shows how much of that patch it takes."
    : "the tabs show what every layer makes of that patch.");
}
for (const model of app.models) {
  document.getElementById("about").append(el("h2", { textContent: model.name }), el("p", { class: "values", textContent: model.about }));
}
app.parts = [stage, under, others, panels];
app.draw();
app.opened = performance.now(); // milliseconds from the start of loading until the first picture of all heads

window.explorer = { app, attention, atomMap, massMask, regionRates, similarity, strongestAtoms }; // for tests and the console
