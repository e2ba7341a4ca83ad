// A small line chart by layer: lines and points with their values, drawn as SVG.

import { svg } from "./dom.js";
import { short } from "./numbers.js";

const [WIDTH, HEIGHT] = [440, 190];
const EDGE = { left: 46, right: 10, top: 10, bottom: 24 };

/** Round numbers that mark an axis from 0 or `low` to `high`. */
function ticks(low, high) {
  const step = 10 ** Math.floor(Math.log10((high - low) / 4 || 1));
  const nice = [1, 2, 5, 10].map((times) => times * step).find((size) => (high - low) / size <= 5);
  const marks = [];
  for (let mark = Math.ceil(low / nice); mark * nice <= high * (1 + 1e-9); mark++) marks.push(mark * nice);
  return marks;
}

/**
 * `series`: {values by layer, class, points: whether each value has a dot}. `steps`: {before, after, class}, one arrow in
 * each layer, groups side by side. A click on a layer's column calls `choose`, the pointer over it `hover`.
 */
export function chart({ depth, series, steps = [], label, layer, choose, hover }) {
  const values = [...series.map((line) => line.values), ...steps.flatMap((group) => [group.before, group.after])].flat();
  const high = 1.06 * Math.max(...values); // what is largest stays clear of the edge
  const low = Math.min(0, ...values);
  const slot = (WIDTH - EDGE.left - EDGE.right) / depth;
  const x = (place) => EDGE.left + slot * (place + 0.5);
  const y = (value) => HEIGHT - EDGE.bottom - ((value - low) / (high - low || 1)) * (HEIGHT - EDGE.top - EDGE.bottom);
  const node = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  node.append(svg("rect", { class: "column", x: x(layer) - slot / 2, y: EDGE.top, width: slot, height: HEIGHT - EDGE.top - EDGE.bottom }));
  for (const mark of ticks(low, high)) {
    node.append(svg("path", { class: "rule", d: `M${EDGE.left} ${y(mark)}H${WIDTH - EDGE.right}` }),
      svg("text", { class: "tick", x: EDGE.left - 6, y: y(mark) + 4, "text-anchor": "end" }, short(mark)));
  }
  for (let number = 0; number < depth; number++) {
    node.append(svg("text", { class: "tick", x: x(number), y: HEIGHT - 8, "text-anchor": "middle" }, String(number)));
  }
  for (const line of series) {
    const path = line.values.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    node.append(svg("path", { class: `series ${line.class}`, d: path }));
    if (line.points) line.values.forEach((value, i) => node.append(svg("circle", { class: line.class, cx: x(i), cy: y(value), r: 3.5 })));
  }
  const apart = Math.min(12, slot / (steps.length + 1));
  steps.forEach((group, g) => group.before.forEach((before, i) => {
    const place = x(i) + apart * (g - (steps.length - 1) / 2);
    node.append(arrow(place, y(before), y(group.after[i]), group.class));
  }));
  for (let number = 0; number < depth; number++) {
    const column = svg("rect", { class: "hit", x: x(number) - slot / 2, y: 0, width: slot, height: HEIGHT });
    column.addEventListener("click", () => choose(number));
    column.addEventListener("pointerenter", () => hover(number));
    column.append(svg("title", {}, `layer ${number}`));
    node.append(column);
  }
  node.addEventListener("pointerleave", () => hover(null));
  return node;
}

/** From a dot to the tip; upwards it has the colour of a value that was raised. */
function arrow(x, from, to, name) {
  const way = to > from ? 1 : -1;
  const node = svg("g", { class: `step ${name} ${way > 0 ? "lowers" : "raises"}` },
    svg("path", { d: `M${x} ${from}V${to}` }), svg("circle", { cx: x, cy: from, r: 2.8 }));
  if (Math.abs(to - from) > 7) {
    node.append(svg("path", { class: "tip", d: `M${x - 4} ${to - way * 6}L${x} ${to}L${x + 4} ${to - way * 6}` }));
  }
  return node;
}
