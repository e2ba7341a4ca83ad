// The data that Python wrote into the page: decoded once, when first needed.

export const ATOMS_PER_TOKEN = 8;
const CACHE_BYTES = 256 * 2 ** 20;
const cache = new Map(); // least recently used first
let held = 0;

/** What `make` returns for this key, kept while the memory for decoded arrays lasts. */
function remembered(key, make) {
  let entry = cache.get(key);
  if (entry) cache.delete(key);
  else {
    const value = make();
    entry = { value, bytes: value.byteLength };
    held += entry.bytes;
  }
  cache.set(key, entry);
  for (const [old, { bytes }] of cache) {
    if (held <= CACHE_BYTES || old === key) break;
    cache.delete(old);
    held -= bytes;
  }
  return entry.value;
}

export function decodeBytes(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Bits of a mask, one a patch, first patch in the highest bit, as a Uint8Array of 0 and 1. */
export function decodeMask(base64, count) {
  const bytes = decodeBytes(base64);
  return Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 3] >> (7 - (i & 7))) & 1);
}

function decodeQuantised(quantised, bits) {
  const bytes = decodeBytes(quantised.values).buffer;
  const integers = bits === 8 ? new Int8Array(bytes) : new Int16Array(bytes);
  const scales = new Float32Array(decodeBytes(quantised.scales).buffer);
  const values = new Float32Array(integers.length);
  const length = integers.length / scales.length;
  for (let token = 0, at = 0; token < scales.length; token++) {
    const scale = scales[token];
    for (let i = 0; i < length; i++, at++) values[at] = integers[at] * scale;
  }
  return values;
}

/** One model's view of one picture. Arrays are [heads][tokens][size], prefix tokens first. */
export class View {
  constructor(model, raw, name) {
    Object.assign(this, raw);
    this.model = model;
    this.name = name;
    [this.rows, this.columns] = raw.grid;
    this.patches = this.rows * this.columns;
    this.tokens = model.prefix + this.patches;
    this.raw = raw.layers;
    this.depth = raw.layers.length;
  }

  /** What the layer projects every token to. */
  features(layer) {
    return this.vectors(layer, "features");
  }

  /** What attention compares the asking token with: the features, unless the layer compares something else. */
  keys(layer) {
    return this.vectors(layer, this.raw[layer].keys ? "keys" : "features");
  }

  queries(layer) {
    return this.raw[layer].queries ? this.vectors(layer, "queries") : this.keys(layer);
  }

  /** Whether products of queries and keys become shares by softmax, not by dividing by their sum. */
  softmax(layer) {
    return this.raw[layer].softmax;
  }

  vectors(layer, name) {
    return remembered(`${this.name} ${name} ${layer}`, () => decodeQuantised(this.raw[layer][name], this.model.bits));
  }

  /** Share of each head in each token, [heads][tokens]. */
  membership(layer) {
    return remembered(`${this.name} membership ${layer}`, () => {
      const bytes = decodeBytes(this.raw[layer].membership);
      const integers = this.model.bits === 8 ? bytes : new Uint16Array(bytes.buffer);
      return Float32Array.from(integers, (value) => value / (2 ** this.model.bits - 1));
    });
  }

  /** Length of each token's features in each head, and after the last head over all heads together. */
  lengths(layer) {
    return remembered(`${this.name} lengths ${layer}`, () => {
      const { heads, head_dim: size } = this.model;
      const features = this.features(layer);
      const lengths = new Float32Array((heads + 1) * this.tokens);
      for (let token = 0; token < this.tokens; token++) {
        let all = 0;
        for (let head = 0; head < heads; head++) {
          let squares = 0;
          const start = (head * this.tokens + token) * size;
          for (let i = start; i < start + size; i++) squares += features[i] * features[i];
          lengths[head * this.tokens + token] = Math.sqrt(squares);
          all += squares;
        }
        lengths[heads * this.tokens + token] = Math.sqrt(all);
      }
      return lengths;
    });
  }

  /** Red, green and blue of each patch: the principal components of this layer's features. */
  colours(layer) {
    return remembered(`${this.name} colours ${layer}`, () => decodeBytes(this.raw[layer].colours));
  }

  atomIndex(layer) {
    return remembered(`${this.name} atoms ${layer}`, () =>
      new Uint16Array(decodeBytes(this.raw[layer].atoms.index).buffer));
  }

  atomStrength(layer) {
    return remembered(`${this.name} strengths ${layer}`, () =>
      decodeQuantised(this.raw[layer].atoms.strength, this.model.bits, ATOMS_PER_TOKEN));
  }

  object(number) {
    return decodeMask(this.objects[number], this.patches);
  }
}

/** The page's data with a `View` for every picture and model. */
export function readData(element) {
  const data = JSON.parse(element.textContent);
  element.textContent = "";
  if (data.format !== 1) throw new Error(`this page reads data of format 1, not ${data.format}`);
  data.pictures.forEach((picture, p) => {
    picture.views = picture.views.map((raw, m) => new View(data.models[m], raw, `${p} ${m}`));
  });
  return data;
}
