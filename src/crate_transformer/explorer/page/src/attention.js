// Where tokens look: rows of the attention map, computed from keys and queries when they are asked for.

/** Whether a model's attention compares tokens, so that there is a map for each of them. */
export function comparesTokens(model) {
  return model.compares === "shared" || model.compares === "pair";
}

/**
 * Attention of some tokens, averaged over them: [heads][tokens], each head sums to 1 over all tokens.
 *
 * shared and pair: softmax_j(q_i . k_j / sqrt(size)), with q = k for shared; without softmax q_i . k_j over its sum.
 * membership: no tokens are compared; the share of each head in every token, whatever token is asked for.
 * nothing: there are no maps, and nothing may ask for them.
 */
export function attention(view, layer, tokens) {
  const { model } = view;
  if (model.compares === "membership") return view.membership(layer);
  const { heads } = model;
  const count = view.tokens;
  const keys = view.keys(layer);
  const queries = view.queries(layer);
  const size = keys.length / (heads * count);
  const softmax = view.softmax(layer);
  const maps = new Float32Array(heads * count);
  const row = new Float64Array(count);
  for (let head = 0; head < heads; head++) {
    for (const token of tokens) {
      compare(queries, keys, (head * count + token) * size, head * count * size, size, row);
      if (softmax) exponentials(row, 1 / Math.sqrt(size));
      let sum = 0;
      for (let j = 0; j < count; j++) sum += row[j];
      for (let j = 0; j < count; j++) maps[head * count + j] += row[j] / (sum * tokens.length);
    }
  }
  return maps;
}

function compare(queries, keys, query, start, size, row) {
  for (let j = 0, at = start; j < row.length; j++) {
    let dot = 0;
    for (let i = query; i < query + size; i++, at++) dot += queries[i] * keys[at];
    row[j] = dot;
  }
}

function exponentials(row, scale) {
  let largest = -Infinity;
  for (let j = 0; j < row.length; j++) if (row[j] > largest) largest = row[j];
  for (let j = 0; j < row.length; j++) row[j] = Math.exp((row[j] - largest) * scale);
}

/** The patches' part of one head's map. */
export function patchMap(view, maps, head) {
  const start = head * view.tokens;
  return maps.subarray(start + view.model.prefix, start + view.tokens);
}

/** What share of one head's attention the tokens before the patches take. */
export function prefixShare(view, maps, head) {
  let sum = 0;
  for (let j = 0; j < view.model.prefix; j++) sum += maps[head * view.tokens + j];
  return sum;
}

/** Mean over the heads of the patches' part. */
export function meanMap(view, maps) {
  const mean = new Float32Array(view.patches);
  const { heads } = view.model;
  for (let head = 0; head < heads; head++) {
    const map = patchMap(view, maps, head);
    for (let j = 0; j < mean.length; j++) mean[j] += map[j] / heads;
  }
  return mean;
}
