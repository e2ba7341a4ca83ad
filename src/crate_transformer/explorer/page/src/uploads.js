// Beside a server: back to its first page, and deleting what was uploaded.

import { el } from "./dom.js";

/** Nothing in a page that stands alone. */
export function uploadControls({ server }) {
  if (!server) return null;
  const says = el("span", { "aria-live": "polite" });
  const remove = async () => {
    try {
      const reply = await fetch(`${server.url}/delete`, { method: "POST", headers: { "Content-Type": "application/json" } });
      if (!reply.ok) throw new Error();
      location.assign("/");
    } catch {
      says.textContent = "The server does not answer: is crate explore still running?";
    }
  };
  return el("p", { class: "uploads" }, el("a", { href: "/", textContent: "Other pictures" }),
    el("button", { type: "button", textContent: "Delete these pictures", onclick: remove }), says);
}
