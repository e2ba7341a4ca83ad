// R^c of a set of tokens: the nats needed to code them in each head's subspace, up to an error of epsilon^2.

/** 1/2 log det(I + p / (n epsilon^2) Z^T Z) of n rows of length p, by Cholesky of the smaller Gram matrix. */
export function codingRate(rows, n, p, epsilonSquared) {
  const scale = p / (n * epsilonSquared);
  const wide = p > n;
  const size = wide ? n : p;
  const gram = new Float64Array(size * size);
  if (wide) {
    for (let a = 0; a < n; a++) for (let b = 0; b <= a; b++) {
      let dot = 0;
      for (let i = 0; i < p; i++) dot += rows[a * p + i] * rows[b * p + i];
      gram[a * size + b] = dot * scale;
    }
  } else {
    for (let row = 0; row < n; row++) for (let a = 0; a < p; a++) {
      const value = rows[row * p + a] * scale;
      for (let b = 0; b <= a; b++) gram[a * size + b] += value * rows[row * p + b];
    }
  }
  for (let a = 0; a < size; a++) gram[a * size + a] += 1;
  return halfLogDeterminant(gram, size);
}

/** Half the log determinant of a positive definite matrix, whose lower half is replaced by its Cholesky factor. */
function halfLogDeterminant(matrix, size) {
  let sum = 0;
  for (let a = 0; a < size; a++) {
    for (let b = 0; b <= a; b++) {
      let rest = matrix[a * size + b];
      for (let i = 0; i < b; i++) rest -= matrix[a * size + i] * matrix[b * size + i];
      matrix[a * size + b] = a === b ? Math.sqrt(rest) : rest / matrix[b * size + b];
    }
    sum += Math.log(matrix[a * size + a]);
  }
  return sum;
}

/** R^c of some patches: features scaled to unit length in every head, rates summed over heads. */
export function subspaceCodingRate(view, layer, patches) {
  const { heads, head_dim: size, prefix, epsilon_squared: epsilonSquared } = view.model;
  const features = view.features(layer);
  const lengths = view.lengths(layer);
  const rows = new Float64Array(patches.length * size);
  let rate = 0;
  for (let head = 0; head < heads; head++) {
    patches.forEach((patch, row) => {
      const token = head * view.tokens + prefix + patch;
      const length = lengths[token] || 1;
      for (let i = 0; i < size; i++) rows[row * size + i] = features[token * size + i] / length;
    });
    rate += codingRate(rows, patches.length, size, epsilonSquared);
  }
  return rate;
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` different numbers below `total`. */
export function draw(count, total, random) {
  const numbers = Uint32Array.from({ length: total }, (_, i) => i);
  for (let i = 0; i < count; i++) {
    const other = i + Math.floor(random() * (total - i));
    [numbers[i], numbers[other]] = [numbers[other], numbers[i]];
  }
  return Array.from(numbers.subarray(0, count));
}

/** R^c of a region, of the rest of its picture, and of as many random patches, drawn `draws` times. */
export function regionRates(view, layer, region, draws = 20, seed = 0) {
  const inside = new Set(region);
  const rest = Array.from({ length: view.patches }, (_, i) => i).filter((patch) => !inside.has(patch));
  const random = randomNumbers(seed);
  const drawn = Array.from({ length: draws }, () =>
    subspaceCodingRate(view, layer, draw(region.length, view.patches, random)));
  const mean = drawn.reduce((sum, value) => sum + value, 0) / draws;
  const variance = drawn.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (draws - 1);
  return {
    region: subspaceCodingRate(view, layer, region),
    rest: rest.length ? subspaceCodingRate(view, layer, rest) : null,
    random: { mean, deviation: Math.sqrt(variance), draws, seed },
    count: region.length,
    others: rest.length,
  };
}
