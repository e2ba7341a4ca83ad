// Dictionary atoms: the eight strongest of each token, and the patches of all pictures that fire one most.

import { ATOMS_PER_TOKEN } from "./data.js";

/** The strongest atoms of one token as {atom, strength}, strongest first. */
export function strongestAtoms(view, layer, token) {
  const index = view.atomIndex(layer);
  const strength = view.atomStrength(layer);
  const atoms = [];
  for (let i = token * ATOMS_PER_TOKEN; i < (token + 1) * ATOMS_PER_TOKEN; i++) {
    if (strength[i] > 0) atoms.push({ atom: index[i], strength: strength[i] });
  }
  return atoms;
}

/** An atom's strength in every patch; 0 where it is not among the strongest that travel with the page. */
export function atomMap(view, layer, atom) {
  const index = view.atomIndex(layer);
  const strength = view.atomStrength(layer);
  const map = new Float32Array(view.patches);
  const start = view.model.prefix * ATOMS_PER_TOKEN;
  for (let i = start; i < index.length; i++) {
    if (index[i] === atom) map[Math.floor((i - start) / ATOMS_PER_TOKEN)] = Math.max(0, strength[i]);
  }
  return map;
}

/** The `count` largest values of several maps as {picture, patch, value}, largest first. */
export function largest(maps, count) {
  const all = [];
  maps.forEach((map, picture) => map.forEach((value, patch) => {
    if (value > 0) all.push({ picture, patch, value });
  }));
  return all.sort((a, b) => b.value - a.value).slice(0, count);
}
