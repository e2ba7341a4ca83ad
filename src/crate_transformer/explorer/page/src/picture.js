// The picture with its token grid: hover, touch, pins, a dragged region, and the same by keyboard.

import { el, svg } from "./dom.js";
import { patchName } from "./app.js";
import { MAX_PINS, pinName } from "./state.js";

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export function pictureStage(app) {
  const image = el("img", { alt: "", draggable: false });
  const overlay = svg("svg", { class: "overlay", "aria-hidden": "true", preserveAspectRatio: "none" });
  const node = el("div", {
    class: "picture", tabIndex: 0, role: "application", "aria-describedby": "picture-keys",
  }, image, overlay);
  let shown = null;
  let start = null; // where the pointer went down
  let selecting = false; // the button "Select a region" is on
  let extended = null; // the corner that shift and arrows move

  const grid = () => app.picture.views[0];

  function cellAt(event) {
    const box = node.getBoundingClientRect();
    const { rows, columns } = grid();
    const place = (value, low, size, count) => Math.min(count - 1, Math.max(0, Math.floor(((value - low) / size) * count)));
    return [place(event.clientY, box.top, box.height, rows), place(event.clientX, box.left, box.width, columns)];
  }

  function between([row, column], [toRow, toColumn]) {
    return [Math.min(row, toRow), Math.min(column, toColumn), Math.max(row, toRow), Math.max(column, toColumn)];
  }

  function hover(patch, event) {
    const { asks, patch: old } = app.state;
    if (asks === "patch" && old[0] === patch[0] && old[1] === patch[1]) return;
    app.set({ patch, asks: "patch" }, event);
  }

  function pin(patch) {
    const same = ([row, column]) => row === patch[0] && column === patch[1];
    const { pins } = app.state;
    app.set({ pins: pins.some(same) ? pins.filter((other) => !same(other)) : [...pins, patch].slice(-MAX_PINS) });
  }

  node.addEventListener("pointermove", (event) => {
    const patch = cellAt(event);
    const drags = start && (event.pointerType === "mouse" || selecting);
    const moved = start && (patch[0] !== start.patch[0] || patch[1] !== start.patch[1]);
    if (drags && (moved || start.moved)) {
      start.moved = true;
      app.set({ region: between(start.patch, patch) });
    } else {
      if (start && moved) start.moved = true;
      hover(patch, event);
    }
  });
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    node.setPointerCapture(event.pointerId);
    start = { patch: cellAt(event), moved: false };
    hover(start.patch, event);
  });
  node.addEventListener("pointerup", (event) => {
    if (start && !start.moved) {
      if (selecting) app.set({ region: between(start.patch, start.patch) });
      else pin(cellAt(event));
    }
    start = null;
  });
  node.addEventListener("pointercancel", () => (start = null));
  node.addEventListener("mousedown", (event) => event.preventDefault()); // the arrow keys stay with the layers

  node.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const move = MOVES[event.key];
    const { patch, region } = app.state;
    const { rows, columns } = grid();
    if (move) {
      const from = event.shiftKey && region && extended ? extended : patch;
      const next = [Math.min(rows - 1, Math.max(0, from[0] + move[0])), Math.min(columns - 1, Math.max(0, from[1] + move[1]))];
      if (event.shiftKey) {
        extended = next;
        app.set({ region: between(patch, next), asks: "patch" });
      } else {
        extended = null;
        app.set({ patch: next, asks: "patch" });
      }
    } else if (event.key === "Enter" || event.key === " ") pin(patch);
    else if (event.key === "c" && app.classToken) app.set({ asks: "class" });
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  function draw() {
    const { picture, state } = app;
    const { rows, columns } = grid();
    if (shown !== picture) {
      shown = picture;
      image.src = picture.source;
      node.style.setProperty("--ratio", picture.width / picture.height);
      overlay.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
    }
    node.classList.toggle("selecting", selecting);
    const marks = [svg("path", { class: rows * columns > 2500 ? "grid fine" : "grid", d: gridPath(rows, columns) })];
    if (state.region) {
      const [top, left, bottom, right] = state.region;
      marks.push(...outlined("region", left, top, right - left + 1, bottom - top + 1));
    }
    state.pins.forEach(([row, column], i) => {
      marks.push(...outlined(`pin pin-${i}`, column, row, 1, 1));
      marks.push(svg("text", { class: `pin-letter pin-${i}`, x: column + 0.5, y: row + 0.5 }, pinName(i)));
    });
    if (state.asks === "patch") marks.push(...outlined("here", state.patch[1], state.patch[0], 1, 1));
    overlay.replaceChildren(...marks);
    const asking = app.asking(grid());
    const { top } = grid();
    const guess = top.length ? ` The model's first guess: ${top[0][0]}.` : "";
    node.setAttribute("aria-label", `Picture ${picture.name}, ${rows} rows and ${columns} columns of patches.${guess} Shown: ${asking.name}.`);
  }

  function select(on) {
    selecting = on;
    node.classList.toggle("selecting", on);
  }

  return { node, draw, select, selecting: () => selecting };
}

/** A dark and a light line, so that one of them is seen on every picture. */
function outlined(name, x, y, width, height) {
  return ["under", "over"].map((line) => svg("rect", { class: `${name} ${line}`, x, y, width, height }));
}

function gridPath(rows, columns) {
  let path = "";
  for (let row = 1; row < rows; row++) path += `M0 ${row}H${columns}`;
  for (let column = 1; column < columns; column++) path += `M${column} 0V${rows}`;
  return path;
}

/** A map on which the asking patch is marked: the frame of a head, a layer or a picture. */
export function markedMap(properties = {}) {
  const canvas = el("canvas", { "aria-hidden": "true" });
  const mark = el("i", { class: "mark" });
  const node = el("span", { class: "map", ...properties }, canvas, mark);
  return {
    node, canvas,
    mark(view, patch) {
      mark.hidden = patch === null;
      if (patch === null) return;
      const [row, column] = [Math.floor(patch / view.columns), patch % view.columns];
      mark.style.left = `${(100 * column) / view.columns}%`;
      mark.style.top = `${(100 * row) / view.rows}%`;
      mark.style.width = `${100 / view.columns}%`;
      mark.style.height = `${100 / view.rows}%`;
    },
  };
}

export function announcement(app) {
  const view = app.picture.views[0];
  const { asks, patch, layer } = app.state;
  const who = asks === "class" ? "class token" : patchName(view, app.patchOf(view, patch));
  return `Layer ${layer}, ${who}`;
}
