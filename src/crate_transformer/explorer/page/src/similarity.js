// How alike two patches' features are: the cosine of them, over all heads together or in one head.

/** Cosine of one token of `view` with every patch of `other`, a view of the same model. */
export function similarity(view, token, other, layer, head = null) {
  const { heads, head_dim: size, prefix } = view.model;
  const [first, last] = head === null ? [0, heads] : [head, head + 1];
  const place = head === null ? heads : head;
  const mine = view.features(layer);
  const theirs = other.features(layer);
  const lengths = other.lengths(layer);
  const length = view.lengths(layer)[place * view.tokens + token];
  const cosines = new Float32Array(other.patches);
  for (let k = first; k < last; k++) {
    const start = (k * view.tokens + token) * size;
    let at = (k * other.tokens + prefix) * size;
    for (let j = 0; j < cosines.length; j++) {
      let dot = 0;
      for (let i = start; i < start + size; i++, at++) dot += mine[i] * theirs[at];
      cosines[j] += dot;
    }
  }
  for (let j = 0; j < cosines.length; j++) {
    cosines[j] /= length * lengths[place * other.tokens + prefix + j] || 1;
  }
  return cosines;
}
