// One panel at a time beside the picture. A panel is made when it is first shown, and drawn only while it is.

import { el } from "./dom.js";

/** `panels`: name -> [title, function that makes the panel]. */
export function tabs(app, panels) {
  const names = Object.keys(panels);
  const made = {};
  const buttons = names.map((name, i) => el("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", textContent: panels[name][0],
    onclick: () => app.set({ tab: name }),
    onkeydown: (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      const next = (i + by + names.length) % names.length;
      event.preventDefault();
      app.set({ tab: names[next] });
      buttons[next].focus();
    },
  }));
  const list = el("div", { role: "tablist", "aria-label": "What is shown" }, ...buttons);
  const panel = el("div", { id: "panel", role: "tabpanel" });
  let shown = null;

  function draw() {
    const { tab } = app.state;
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", names[i] === tab);
      button.tabIndex = names[i] === tab ? 0 : -1;
    });
    made[tab] ??= panels[tab][1](app);
    if (shown !== tab) {
      shown = tab;
      panel.setAttribute("aria-labelledby", `tab-${tab}`);
      panel.replaceChildren(made[tab].node);
      buttons[names.indexOf(tab)].scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    made[tab].draw();
  }
  return { node: el("div", { class: "tabs" }, list, panel), draw };
}
