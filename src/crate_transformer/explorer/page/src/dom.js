// Small helpers that make elements. Texts from the data only ever become text nodes.

const SVG = "http://www.w3.org/2000/svg";

/** An element: properties as the DOM has them, attributes with a dash or in `attributes`, events as onclick. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Elements by number, made when first asked for; those beyond `count` are taken out. */
export function keyed(parent, make) {
  const made = [];
  return (count) => {
    while (made.length < count) made.push(make(made.length));
    const shown = made.slice(0, count);
    if (parent.children.length !== count) parent.replaceChildren(...shown.map((item) => item.node));
    return shown;
  };
}

/** A file offered for download. */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = el("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

export function checkbox(label, onchange) {
  const input = el("input", { type: "checkbox", onchange: () => onchange(input.checked) });
  return { node: el("label", { class: "check" }, input, label), input };
}

export function select(label, options, onchange) {
  const input = el("select", { onchange: () => onchange(input.value) });
  const fill = (choices) => input.replaceChildren(...choices.map(([value, text]) => el("option", { value, textContent: text })));
  fill(options);
  return { node: el("label", { class: "choice" }, el("span", { textContent: label }), input), input, fill };
}
