// A patch cut out of its picture with a little of what surrounds it; a click goes there.

import { el, setText } from "./dom.js";

const AROUND = 5; // patches across

export function patchImage(app) {
  const image = el("img", { alt: "", draggable: false });
  const mark = el("i", { class: "mark" });
  const frame = el("span", { class: "crop" }, image, mark);
  const value = el("span");
  let goes = () => {};
  const node = el("button", { type: "button", class: "tile", onclick: () => goes() }, frame, el("span", { class: "label" }, value));
  return {
    node,
    /** `text` stands under the patch; numbers count pictures, models and patches. */
    draw(p, m, patch, text) {
      const picture = app.pictures[p];
      const view = picture.views[m];
      const [row, column] = [Math.floor(patch / view.columns), patch % view.columns];
      const across = Math.min(AROUND, view.rows, view.columns);
      const left = Math.min(view.columns - across, Math.max(0, column - (across >> 1)));
      const top = Math.min(view.rows - across, Math.max(0, row - (across >> 1)));
      if (image.src !== picture.source) image.src = picture.source;
      image.style.width = `${(100 * view.columns) / across}%`;
      image.style.height = `${(100 * view.rows) / across}%`;
      image.style.left = `${(-100 * left) / across}%`;
      image.style.top = `${(-100 * top) / across}%`;
      mark.style.left = `${(100 * (column - left)) / across}%`;
      mark.style.top = `${(100 * (row - top)) / across}%`;
      mark.style.width = mark.style.height = `${100 / across}%`;
      setText(value, text);
      node.title = `${picture.name}, row ${row}, column ${column}`;
      node.setAttribute("aria-label", `${text}: ${node.title}`);
      goes = () => app.goTo(p, m, patch);
    },
  };
}
