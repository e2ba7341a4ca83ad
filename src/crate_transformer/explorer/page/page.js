(() => {
  // src/attention.js
  function comparesTokens(model) {
    return model.compares === "shared" || model.compares === "pair";
  }
  function attention(view, layer, tokens) {
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
    let largest2 = -Infinity;
    for (let j = 0; j < row.length; j++) if (row[j] > largest2) largest2 = row[j];
    for (let j = 0; j < row.length; j++) row[j] = Math.exp((row[j] - largest2) * scale);
  }
  function patchMap(view, maps, head) {
    const start = head * view.tokens;
    return maps.subarray(start + view.model.prefix, start + view.tokens);
  }
  function prefixShare(view, maps, head) {
    let sum = 0;
    for (let j = 0; j < view.model.prefix; j++) sum += maps[head * view.tokens + j];
    return sum;
  }
  function meanMap(view, maps) {
    const mean = new Float32Array(view.patches);
    const { heads } = view.model;
    for (let head = 0; head < heads; head++) {
      const map = patchMap(view, maps, head);
      for (let j = 0; j < mean.length; j++) mean[j] += map[j] / heads;
    }
    return mean;
  }

  // src/effects.js
  var Effects = class {
    constructor(app2, m) {
      Object.assign(this, { app: app2, m, asked: "", answer: null, trouble: "", waiting: false });
    }
    get server() {
      return this.app.data.server;
    }
    get known() {
      return this.app.picture.views[this.m].effects;
    }
    get classes() {
      return this.app.picture.views[this.m].top.length;
    }
    get heads() {
      return this.app.state.off[this.m];
    }
    get atoms() {
      return this.app.state.atomsOff[this.m];
    }
    isOff(layer, head) {
      return includes(this.heads, layer, head);
    }
    atomIsOff(layer, atom) {
      return includes(this.atoms, layer, atom);
    }
    /** Without a server one head at a time. */
    toggle(layer, head) {
      const others2 = this.server || this.isOff(layer, head) ? this.heads : [];
      this.choose(toggled(others2, layer, head), this.atoms);
    }
    toggleAtom(layer, atom) {
      this.choose(this.heads, toggled(this.atoms, layer, atom));
    }
    clear() {
      this.choose([], []);
    }
    choose(heads, atoms) {
      const { off, atomsOff } = this.app.state;
      this.app.set({ off: off.map((old, m) => m === this.m ? heads : old), atomsOff: atomsOff.map((old, m) => m === this.m ? atoms : old) });
    }
    /** Find out what is off now does to the picture that is shown, unless that was asked last. */
    update() {
      const { known, heads, atoms } = this;
      const key = JSON.stringify([this.app.state.picture, heads, atoms]);
      if (key === this.asked) return;
      Object.assign(this, { asked: key, answer: null, trouble: "", waiting: false });
      if (known && heads.length < 2 && !atoms.length) {
        const [layer, head] = heads[0] ?? [];
        const none = heads.length === 0;
        this.answer = {
          classes: known.classes,
          intact: known.intact,
          zero: none ? null : known.zero[layer][head],
          mean: none ? null : known.mean[layer][head]
        };
      } else if (this.server && this.classes && (heads.length || atoms.length)) {
        this.waiting = true;
        const arrived = (found) => {
          if (key !== this.asked) return;
          Object.assign(this, found, { waiting: false });
          this.app.set({});
        };
        this.ask(heads, atoms).then((answer) => arrived({ answer }), (error) => arrived({ trouble: error.message }));
      }
    }
    async ask(off, atoms) {
      const byLayer = /* @__PURE__ */ new Map();
      for (const [layer, atom] of atoms) byLayer.set(layer, [...byLayer.get(layer) ?? [], atom]);
      let reply;
      try {
        reply = await fetch(`${this.server.url}/effects`, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ token: this.server.token, picture: this.app.state.picture, model: this.m, off, atoms: [...byLayer] })
        });
      } catch {
        throw new Error("The server does not answer: is crate explore still running?");
      }
      const answer = await reply.json().catch(() => ({}));
      if (!reply.ok) throw new Error(String(answer.error ?? `The server answered with status ${reply.status}.`));
      return answer;
    }
  };
  function includes(pairs, layer, number) {
    return pairs.some(([l, n]) => l === layer && n === number);
  }
  function toggled(pairs, layer, number) {
    const others2 = pairs.filter(([l, n]) => l !== layer || n !== number);
    return others2.length < pairs.length ? others2 : [...pairs, [layer, number]];
  }

  // src/colours.js
  var STOPS = {
    viridis: "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725",
    magma: "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf",
    cividis: "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",
    difference: "2d004b 532687 8073ac b1aad1 d8daeb f7f7f6 fee0b6 fcb761 e08214 b25706 7f3b08"
  };
  var STEPS = 256;
  var tables = {};
  var SCALES = ["viridis", "magma", "cividis"];
  function table(name) {
    if (tables[name]) return tables[name];
    const stops = STOPS[name].split(" ").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
    const colours = new Uint8ClampedArray(STEPS * 4);
    for (let i = 0; i < STEPS; i++) {
      const place = i / (STEPS - 1) * (stops.length - 1);
      const low = Math.min(Math.floor(place), stops.length - 2);
      for (let c = 0; c < 3; c++) colours[4 * i + c] = stops[low][c] + (place - low) * (stops[low + 1][c] - stops[low][c]);
      colours[4 * i + 3] = 255;
    }
    return tables[name] = colours;
  }
  function colourAt(name, share) {
    const [r, g, b] = table(name).subarray(4 * Math.round(Math.min(1, Math.max(0, share)) * (STEPS - 1)));
    return { fill: `rgb(${r} ${g} ${b})`, ink: 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff" };
  }
  function sized(canvas, rows, columns) {
    if (canvas.width !== columns || canvas.height !== rows) {
      canvas.width = columns;
      canvas.height = rows;
      canvas.style.aspectRatio = `${columns} / ${rows}`;
    }
    const context = canvas.getContext("2d");
    canvas.image ?? (canvas.image = context.createImageData(columns, rows));
    if (canvas.image.width !== columns || canvas.image.height !== rows) canvas.image = context.createImageData(columns, rows);
    return [context, canvas.image];
  }
  function paintMap(canvas, map, [rows, columns], top, { name, root, low = 0 }) {
    const [context, image] = sized(canvas, rows, columns);
    const colours = table(name);
    const pixels = image.data;
    const scale = top > low ? 1 / (top - low) : 0;
    for (let i = 0; i < map.length; i++) {
      const share = Math.min(1, Math.max(0, (map[i] - low) * scale));
      const at = 4 * Math.round((STEPS - 1) * (root ? Math.sqrt(share) : share));
      pixels[4 * i] = colours[at];
      pixels[4 * i + 1] = colours[at + 1];
      pixels[4 * i + 2] = colours[at + 2];
      pixels[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }
  function paintColours(canvas, bytes, [rows, columns]) {
    const [context, image] = sized(canvas, rows, columns);
    for (let i = 0; i < rows * columns; i++) image.data.set([bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2], 255], 4 * i);
    context.putImageData(image, 0, 0);
  }
  function paintVeil(canvas, map, [rows, columns], low, high) {
    const [context, image] = sized(canvas, rows, columns);
    for (let i = 0; i < map.length; i++) {
      const light = Math.min(1, Math.max(0, (map[i] - low) / (high - low || 1)));
      image.data.set([8, 10, 14, Math.round(225 * (1 - light))], 4 * i);
    }
    context.putImageData(image, 0, 0);
  }
  function largestOf(map, without = null) {
    let top = 0;
    for (let i = 0; i < map.length; i++) if (map[i] > top && i !== without) top = map[i];
    return top;
  }
  function smallestOf(map) {
    let low = Infinity;
    for (let i = 0; i < map.length; i++) if (map[i] < low) low = map[i];
    return low;
  }

  // src/state.js
  var TABS = ["heads", "similar", "atoms", "objective", "masks", "prediction"];
  var LETTERS = "ABCDEFGH";
  var MAX_PINS = LETTERS.length;
  var yes = (text) => text === "1" ? true : null;
  var oneOf = (...names) => (text) => names.includes(text) ? text : null;
  var between = (low, high) => (text) => /^(0?\.)?\d{1,2}$/.test(text ?? "") && +text >= low && +text <= high ? +text : null;
  var SETTINGS = {
    show: ["tab", "heads", oneOf(...TABS)],
    scale: ["scale", SCALES[0], oneOf(...SCALES)],
    linear: ["linear", false, yes],
    // colours by the values themselves, not by their square roots
    self: ["self", false, yes],
    // the asking patch counts when a scale is chosen
    same: ["same", false, yes],
    // one scale for all heads
    over: ["over", false, yes],
    // the large head lies over the picture
    features: ["features", null, (text, data) => whole(text, Math.max(...data.models.map((model) => model.heads)))],
    colours: ["colours", false, yes],
    // similar patches in colours, not as light
    mask: ["mask", "class", (text) => /^(class|patch|region|share|(pca|maskcut),\d)$/.test(text ?? "") ? text : null],
    mass: ["mass", 0.6, between(0.05, 1)],
    // of the attention that a mask holds
    above: ["level", 0.5, between(0, 0.99)],
    // of a principal component
    inverted: ["inverted", false, yes]
  };
  function firstState(data) {
    const best = data.models[0].best_head;
    const view = data.pictures[0].views[0];
    const none = () => data.models.map(() => []);
    return {
      picture: 0,
      layer: best ? best.layer : Math.max(0, data.models[0].layers - 2),
      heads: data.models.map((model) => model.best_head ? model.best_head.head : 0),
      patch: [view.rows >> 1, view.columns >> 1],
      // row and column on the grid of the first model
      asks: "patch",
      // or "class": the class token
      pins: [],
      region: null,
      // first row and column, last row and column
      ...Object.fromEntries(Object.values(SETTINGS).map(([name, usual]) => [name, usual])),
      off: none(),
      // of each model pairs of layer and head that are switched off
      atomsOff: none(),
      // pairs of layer and atom
      kept: none()
      // the layer and atom that was chosen to stay, or nothing
    };
  }
  var cell = ([row, column]) => `${row},${column}`;
  var lists = (models) => models.map((pairs) => pairs.map(cell).join(";")).join("/");
  function toAddress(state) {
    const parts = [
      `layer=${state.layer}`,
      `head=${state.heads.join(",")}`,
      `patch=${cell(state.patch)}`,
      state.picture ? `picture=${state.picture}` : "",
      state.asks === "class" ? "token=class" : "",
      state.pins.length ? `pins=${state.pins.map(cell).join(";")}` : "",
      state.region ? `region=${state.region.join(",")}` : "",
      ...Object.entries(SETTINGS).map(([key, [name, usual]]) => state[name] === usual ? "" : `${key}=${state[name] === true ? 1 : state[name]}`),
      ...Object.entries({ off: state.off, atomsoff: state.atomsOff, atom: state.kept }).map(([key, models]) => models.some((pairs) => pairs.length) ? `${key}=${lists(models)}` : "")
    ];
    return `#${parts.filter(Boolean).join("&")}`;
  }
  function whole(text, count) {
    return /^\d{1,6}$/.test(text ?? "") && +text < count ? +text : null;
  }
  function wholes(text, counts) {
    const parts = (text ?? "").split(",");
    const numbers = parts.map((part, i) => whole(part, counts[i]));
    return parts.length === counts.length && !numbers.includes(null) ? numbers : null;
  }
  function fromAddress(hash, data, state) {
    let asked;
    try {
      asked = new Map(hash.replace(/^#/, "").split("&").map((part) => part.split("=", 2).map(decodeURIComponent)));
    } catch {
      return state;
    }
    const { models } = data;
    const next = { ...state };
    next.picture = whole(asked.get("picture"), data.pictures.length) ?? (asked.has("layer") ? 0 : state.picture);
    const { rows, columns } = data.pictures[next.picture].views[0];
    const patch = (text) => wholes(text, [rows, columns]);
    next.layer = whole(asked.get("layer"), Math.max(...models.map((model) => model.layers))) ?? state.layer;
    const heads = (asked.get("head") ?? "").split(",");
    next.heads = models.map((model, m) => whole(heads[m], model.heads) ?? state.heads[m]);
    next.patch = patch(asked.get("patch")) ?? state.patch;
    next.patch = [Math.min(next.patch[0], rows - 1), Math.min(next.patch[1], columns - 1)];
    next.asks = asked.get("token") === "class" && models.some((model) => model.class_token) ? "class" : "patch";
    next.pins = (asked.get("pins") ?? "").split(";").map(patch).filter(Boolean).slice(0, MAX_PINS);
    const region = wholes(asked.get("region"), [rows, columns, rows, columns]);
    next.region = region && region[0] <= region[2] && region[1] <= region[3] ? region : null;
    for (const [key, [name, usual, read]] of Object.entries(SETTINGS)) next[name] = read(asked.get(key), data) ?? usual;
    const pairs = (key, count, most) => models.map((model, m) => ((asked.get(key) ?? "").split("/")[m] ?? "").split(";").map((text) => wholes(text, [model.layers, count(model)])).filter(Boolean).slice(0, most(m)));
    const known = (m) => data.pictures[0].views[m].effects ? 1 : 0;
    next.off = pairs("off", (model) => model.heads, data.server ? () => Infinity : known);
    next.atomsOff = pairs("atomsoff", (model) => model.atoms?.count ?? 0, () => data.server ? Infinity : 0);
    next.kept = pairs("atom", (model) => model.atoms?.count ?? 0, () => 1);
    return next;
  }
  function pinName(number) {
    return LETTERS[number];
  }

  // src/app.js
  var App = class {
    constructor(data) {
      this.data = data;
      this.models = data.models;
      this.pictures = data.pictures;
      this.state = fromAddress(location.hash, data, firstState(data));
      this.depth = Math.max(...data.models.map((model) => model.layers));
      this.effects = data.models.map((_, m) => new Effects(this, m));
      this.parts = [];
      this.drawn = [];
      this.hovered = null;
      this.waiting = false;
      window.addEventListener("hashchange", () => this.set(fromAddress(location.hash, data, this.state)));
    }
    get classToken() {
      return this.models.some((model) => model.class_token);
    }
    get picture() {
      return this.pictures[this.state.picture];
    }
    /** Change the state; everything is drawn once before the next frame, however many changes there are. */
    set(changes, event = null) {
      Object.assign(this.state, changes);
      if (event) this.hovered ?? (this.hovered = { heard: performance.now(), happened: event.timeStamp });
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => this.draw());
    }
    draw() {
      this.waiting = false;
      this.asked = /* @__PURE__ */ new Map();
      for (const part of this.parts) part.draw();
      if (this.hovered) this.drawn.push({ heard: performance.now() - this.hovered.heard, happened: performance.now() - this.hovered.happened });
      this.hovered = null;
      clearTimeout(this.writing);
      this.writing = setTimeout(() => this.writeAddress(), 300);
    }
    /** In a frame of a notebook there is no address of our own to write. */
    writeAddress() {
      const address = toAddress(this.state);
      if (window.top === window && location.hash !== address) history.replaceState(null, "", address);
    }
    /** How the maps of a model are painted: attention from 0, shares of heads from the smallest. */
    look(model, low) {
      const { scale, linear } = this.state;
      return model.compares === "membership" ? { name: scale, root: false, low } : { name: scale, root: !linear, low: 0 };
    }
    /** The patch that no scale counts: a patch looks most at itself. */
    without(model, asking) {
      return this.state.self || model.compares === "membership" ? null : asking.patch;
    }
    chooseHead(m, head) {
      const heads = [...this.state.heads];
      heads[m] = head;
      this.set({ heads });
    }
    /** Another picture; what was selected on the old one goes. */
    goTo(picture, m, patch) {
      const [view, first] = [this.pictures[picture].views[m], this.pictures[picture].views[0]];
      const row = Math.floor((Math.floor(patch / view.columns) + 0.5) * first.rows / view.rows);
      const column = Math.floor((patch % view.columns + 0.5) * first.columns / view.columns);
      const same = picture === this.state.picture;
      this.set({ picture, patch: [row, column], asks: "patch", ...same ? {} : { pins: [], region: null } });
    }
    /** The atom to show while the pointer moves on; null follows it. */
    keepAtom(m, layer, atom) {
      const kept = [...this.state.kept];
      kept[m] = atom === null ? [] : [[layer, atom]];
      this.set({ kept });
    }
    switchAtom(m, layer, atom) {
      this.effects[m].toggleAtom(layer, atom);
      this.set({ tab: "prediction" });
    }
    layerOf(view) {
      return Math.min(this.state.layer, view.depth - 1);
    }
    /** The patch of a view that lies where [row, column] lies on the first model's grid. */
    patchOf(view, [row, column]) {
      const first = this.picture.views[0];
      const y = Math.min(view.rows - 1, Math.floor((row + 0.5) * view.rows / first.rows));
      const x = Math.min(view.columns - 1, Math.floor((column + 0.5) * view.columns / first.columns));
      return y * view.columns + x;
    }
    /** The patches of a view inside the selected region. */
    regionOf(view) {
      const { rows, columns } = this.picture.views[0];
      const [top, left, bottom, right] = this.state.region;
      const patches = [];
      for (let patch = 0; patch < view.patches; patch++) {
        const y = (Math.floor(patch / view.columns) + 0.5) * rows / view.rows;
        const x = (patch % view.columns + 0.5) * columns / view.columns;
        if (y > top && y < bottom + 1 && x > left && x < right + 1) patches.push(patch);
      }
      return patches;
    }
    /** Who asks now: tokens of a view and their name. */
    asking(view) {
      const { asks, patch } = this.state;
      if (asks === "class" && view.model.class_token) return { tokens: [0], name: "class token", patch: null };
      return this.askingPatch(view, patch);
    }
    askingPatch(view, place) {
      const patch = this.patchOf(view, place);
      return { tokens: [view.model.prefix + patch], name: patchName(view, patch), patch };
    }
    /** Who is compared: the patch under the pointer or the class token, the pins, the region. */
    compared(view) {
      const { pins, region } = this.state;
      const all = [{ ...this.asking(view), key: "now" }];
      pins.forEach((pin, i) => all.push({ ...this.askingPatch(view, pin), key: pinName(i) }));
      if (region) {
        const patches = this.regionOf(view);
        const tokens = patches.map((patch) => view.model.prefix + patch);
        if (tokens.length) all.push({ tokens, name: `region of ${tokens.length} patches`, patch: null, key: "region" });
      }
      return all;
    }
    /** Attention of the asking tokens in one layer, computed once for all parts that draw it. */
    maps(view, layer, asking = this.asking(view)) {
      const key = `${view.name} ${layer} ${asking.tokens}`;
      if (!this.asked.has(key)) this.asked.set(key, attention(view, layer, asking.tokens));
      return this.asked.get(key);
    }
  };
  function patchName(view, patch) {
    return `patch at row ${Math.floor(patch / view.columns)}, column ${patch % view.columns}`;
  }

  // src/data.js
  var ATOMS_PER_TOKEN = 8;
  var CACHE_BYTES = 256 * 2 ** 20;
  var cache = /* @__PURE__ */ new Map();
  var held = 0;
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
  function decodeBytes(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }
  function decodeMask(base64, count) {
    const bytes = decodeBytes(base64);
    return Uint8Array.from({ length: count }, (_, i) => bytes[i >> 3] >> 7 - (i & 7) & 1);
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
  var View = class {
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
      return remembered(`${this.name} atoms ${layer}`, () => new Uint16Array(decodeBytes(this.raw[layer].atoms.index).buffer));
    }
    atomStrength(layer) {
      return remembered(`${this.name} strengths ${layer}`, () => decodeQuantised(this.raw[layer].atoms.strength, this.model.bits, ATOMS_PER_TOKEN));
    }
    object(number) {
      return decodeMask(this.objects[number], this.patches);
    }
  };
  function readData(element) {
    const data = JSON.parse(element.textContent);
    element.textContent = "";
    if (data.format !== 1) throw new Error(`this page reads data of format 1, not ${data.format}`);
    data.pictures.forEach((picture, p) => {
      picture.views = picture.views.map((raw, m) => new View(data.models[m], raw, `${p} ${m}`));
    });
    return data;
  }

  // src/atoms.js
  function strongestAtoms(view, layer, token) {
    const index = view.atomIndex(layer);
    const strength = view.atomStrength(layer);
    const atoms = [];
    for (let i = token * ATOMS_PER_TOKEN; i < (token + 1) * ATOMS_PER_TOKEN; i++) {
      if (strength[i] > 0) atoms.push({ atom: index[i], strength: strength[i] });
    }
    return atoms;
  }
  function atomMap(view, layer, atom) {
    const index = view.atomIndex(layer);
    const strength = view.atomStrength(layer);
    const map = new Float32Array(view.patches);
    const start = view.model.prefix * ATOMS_PER_TOKEN;
    for (let i = start; i < index.length; i++) {
      if (index[i] === atom) map[Math.floor((i - start) / ATOMS_PER_TOKEN)] = Math.max(0, strength[i]);
    }
    return map;
  }
  function largest(maps, count) {
    const all = [];
    maps.forEach((map, picture) => map.forEach((value, patch) => {
      if (value > 0) all.push({ picture, patch, value });
    }));
    return all.sort((a, b) => b.value - a.value).slice(0, count);
  }

  // src/dom.js
  var SVG = "http://www.w3.org/2000/svg";
  function el(tag, properties = {}, ...children) {
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
  function svg(tag, attributes = {}, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }
  function keyed(parent, make) {
    const made = [];
    return (count) => {
      while (made.length < count) made.push(make(made.length));
      const shown = made.slice(0, count);
      if (parent.children.length !== count) parent.replaceChildren(...shown.map((item) => item.node));
      return shown;
    };
  }
  function download(blob, name) {
    const address = URL.createObjectURL(blob);
    const link = el("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 1e4);
  }
  function checkbox(label, onchange) {
    const input = el("input", { type: "checkbox", onchange: () => onchange(input.checked) });
    return { node: el("label", { class: "check" }, input, label), input };
  }
  function select(label, options, onchange) {
    const input = el("select", { onchange: () => onchange(input.value) });
    const fill = (choices) => input.replaceChildren(...choices.map(([value, text]) => el("option", { value, textContent: text })));
    fill(options);
    return { node: el("label", { class: "choice" }, el("span", { textContent: label }), input), input, fill };
  }

  // src/crops.js
  var AROUND = 5;
  function patchImage(app2) {
    const image = el("img", { alt: "", draggable: false });
    const mark = el("i", { class: "mark" });
    const frame = el("span", { class: "crop" }, image, mark);
    const value = el("span");
    let goes = () => {
    };
    const node = el("button", { type: "button", class: "tile", onclick: () => goes() }, frame, el("span", { class: "label" }, value));
    return {
      node,
      /** `text` stands under the patch; numbers count pictures, models and patches. */
      draw(p, m, patch, text) {
        const picture = app2.pictures[p];
        const view = picture.views[m];
        const [row, column] = [Math.floor(patch / view.columns), patch % view.columns];
        const across = Math.min(AROUND, view.rows, view.columns);
        const left = Math.min(view.columns - across, Math.max(0, column - (across >> 1)));
        const top = Math.min(view.rows - across, Math.max(0, row - (across >> 1)));
        if (image.src !== picture.source) image.src = picture.source;
        image.style.width = `${100 * view.columns / across}%`;
        image.style.height = `${100 * view.rows / across}%`;
        image.style.left = `${-100 * left / across}%`;
        image.style.top = `${-100 * top / across}%`;
        mark.style.left = `${100 * (column - left) / across}%`;
        mark.style.top = `${100 * (row - top) / across}%`;
        mark.style.width = mark.style.height = `${100 / across}%`;
        setText(value, text);
        node.title = `${picture.name}, row ${row}, column ${column}`;
        node.setAttribute("aria-label", `${text}: ${node.title}`);
        goes = () => app2.goTo(p, m, patch);
      }
    };
  }

  // src/numbers.js
  function short(value) {
    if (value === null || value === void 0) return "";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e3) return value.toFixed(0);
    return size < 1e-3 ? value.toExponential(1).replace("e-", "×10^−") : String(+value.toPrecision(3));
  }
  function percent(share) {
    const value = 100 * share;
    if (value > 0 && value < 5e-3) return "<0.01%";
    const digits = value >= 9.95 || value === 0 ? 0 : value >= 0.995 ? 1 : 2;
    return `${value.toFixed(digits)}%`;
  }
  function points(difference) {
    const value = 100 * difference;
    const digits = Math.abs(value) >= 9.95 ? 0 : 1;
    const text = Math.abs(value).toFixed(digits);
    return +text === 0 ? "0" : `${value < 0 ? "−" : "+"}${text}`;
  }

  // src/picture.js
  var MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  function pictureStage(app2) {
    const image = el("img", { alt: "", draggable: false });
    const overlay = svg("svg", { class: "overlay", "aria-hidden": "true", preserveAspectRatio: "none" });
    const node = el("div", {
      class: "picture",
      tabIndex: 0,
      role: "application",
      "aria-describedby": "picture-keys"
    }, image, overlay);
    let shown = null;
    let start = null;
    let selecting = false;
    let extended = null;
    const grid = () => app2.picture.views[0];
    function cellAt(event) {
      const box = node.getBoundingClientRect();
      const { rows, columns } = grid();
      const place = (value, low, size, count) => Math.min(count - 1, Math.max(0, Math.floor((value - low) / size * count)));
      return [place(event.clientY, box.top, box.height, rows), place(event.clientX, box.left, box.width, columns)];
    }
    function between2([row, column], [toRow, toColumn]) {
      return [Math.min(row, toRow), Math.min(column, toColumn), Math.max(row, toRow), Math.max(column, toColumn)];
    }
    function hover(patch, event) {
      const { asks, patch: old } = app2.state;
      if (asks === "patch" && old[0] === patch[0] && old[1] === patch[1]) return;
      app2.set({ patch, asks: "patch" }, event);
    }
    function pin(patch) {
      const same = ([row, column]) => row === patch[0] && column === patch[1];
      const { pins } = app2.state;
      app2.set({ pins: pins.some(same) ? pins.filter((other) => !same(other)) : [...pins, patch].slice(-MAX_PINS) });
    }
    node.addEventListener("pointermove", (event) => {
      const patch = cellAt(event);
      const drags = start && (event.pointerType === "mouse" || selecting);
      const moved = start && (patch[0] !== start.patch[0] || patch[1] !== start.patch[1]);
      if (drags && (moved || start.moved)) {
        start.moved = true;
        app2.set({ region: between2(start.patch, patch) });
      } else {
        if (start && moved) start.moved = true;
        hover(patch, event);
      }
    });
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      node.setPointerCapture(event.pointerId);
      start = { patch: cellAt(event), moved: false };
      hover(start.patch, event);
    });
    node.addEventListener("pointerup", (event) => {
      if (start && !start.moved) {
        if (selecting) app2.set({ region: between2(start.patch, start.patch) });
        else pin(cellAt(event));
      }
      start = null;
    });
    node.addEventListener("pointercancel", () => start = null);
    node.addEventListener("mousedown", (event) => event.preventDefault());
    node.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const move = MOVES[event.key];
      const { patch, region } = app2.state;
      const { rows, columns } = grid();
      if (move) {
        const from = event.shiftKey && region && extended ? extended : patch;
        const next = [Math.min(rows - 1, Math.max(0, from[0] + move[0])), Math.min(columns - 1, Math.max(0, from[1] + move[1]))];
        if (event.shiftKey) {
          extended = next;
          app2.set({ region: between2(patch, next), asks: "patch" });
        } else {
          extended = null;
          app2.set({ patch: next, asks: "patch" });
        }
      } else if (event.key === "Enter" || event.key === " ") pin(patch);
      else if (event.key === "c" && app2.classToken) app2.set({ asks: "class" });
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    function draw2() {
      const { picture, state } = app2;
      const { rows, columns } = grid();
      if (shown !== picture) {
        shown = picture;
        image.src = picture.source;
        node.style.setProperty("--ratio", picture.width / picture.height);
        overlay.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
      }
      node.classList.toggle("selecting", selecting);
      const marks = [svg("path", { class: rows * columns > 2500 ? "grid fine" : "grid", d: gridPath(rows, columns) })];
      if (state.region) {
        const [top2, left, bottom, right] = state.region;
        marks.push(...outlined("region", left, top2, right - left + 1, bottom - top2 + 1));
      }
      state.pins.forEach(([row, column], i) => {
        marks.push(...outlined(`pin pin-${i}`, column, row, 1, 1));
        marks.push(svg("text", { class: `pin-letter pin-${i}`, x: column + 0.5, y: row + 0.5 }, pinName(i)));
      });
      if (state.asks === "patch") marks.push(...outlined("here", state.patch[1], state.patch[0], 1, 1));
      overlay.replaceChildren(...marks);
      const asking = app2.asking(grid());
      const { top } = grid();
      const guess = top.length ? ` The model's first guess: ${top[0][0]}.` : "";
      node.setAttribute("aria-label", `Picture ${picture.name}, ${rows} rows and ${columns} columns of patches.${guess} Shown: ${asking.name}.`);
    }
    function select2(on) {
      selecting = on;
      node.classList.toggle("selecting", on);
    }
    return { node, draw: draw2, select: select2, selecting: () => selecting };
  }
  function outlined(name, x, y, width, height) {
    return ["under", "over"].map((line) => svg("rect", { class: `${name} ${line}`, x, y, width, height }));
  }
  function gridPath(rows, columns) {
    let path = "";
    for (let row = 1; row < rows; row++) path += `M0 ${row}H${columns}`;
    for (let column = 1; column < columns; column++) path += `M${column} 0V${rows}`;
    return path;
  }
  function markedMap(properties = {}) {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const mark = el("i", { class: "mark" });
    const node = el("span", { class: "map", ...properties }, canvas, mark);
    return {
      node,
      canvas,
      mark(view, patch) {
        mark.hidden = patch === null;
        if (patch === null) return;
        const [row, column] = [Math.floor(patch / view.columns), patch % view.columns];
        mark.style.left = `${100 * column / view.columns}%`;
        mark.style.top = `${100 * row / view.rows}%`;
        mark.style.width = `${100 / view.columns}%`;
        mark.style.height = `${100 / view.rows}%`;
      }
    };
  }
  function announcement(app2) {
    const view = app2.picture.views[0];
    const { asks, patch, layer } = app2.state;
    const who = asks === "class" ? "class token" : patchName(view, app2.patchOf(view, patch));
    return `Layer ${layer}, ${who}`;
  }

  // src/atomspanel.js
  var SHOWN = 16;
  function atomsPanel(app2) {
    const blocks = app2.models.map((model, m) => modelBlock(app2, model, m));
    return {
      node: el("div", { class: "models" }, ...blocks.map((block) => block.node)),
      draw: () => blocks.forEach((block) => block.draw())
    };
  }
  function modelBlock(app2, model, m) {
    const title = el("h3", { textContent: model.name });
    title.hidden = app2.models.length < 2;
    const says = el("p", { class: "says" });
    const heads = bars();
    const membership = model.compares === "membership";
    const node = el(
      "section",
      { class: "model" },
      title,
      says,
      el("h4", { textContent: membership ? "Heads: share of this token" : "Heads: length of this token in each subspace" }),
      heads.node
    );
    const atoms = model.atoms ? atomPart(app2, model, m) : null;
    node.append(atoms ? atoms.node : el("p", { class: "caption", textContent: "This model has no dictionary of atoms." }));
    function draw2() {
      const view = app2.picture.views[m];
      const layer = app2.layerOf(view);
      const asking = app2.asking(view);
      setText(says, `Layer ${layer}: heads and atoms at the ${asking.name}.`);
      const token = asking.tokens[0];
      const values = membership ? view.membership(layer) : view.lengths(layer);
      heads.draw(Array.from({ length: model.heads }, (_, head) => {
        const value = values[head * view.tokens + token];
        return {
          name: `head ${head}`,
          value,
          text: membership ? percent(value) : short(value),
          chosen: head === app2.state.heads[m],
          choose: () => app2.chooseHead(m, head)
        };
      }));
      atoms?.draw(view, layer, token);
    }
    return { node, draw: draw2 };
  }
  function atomPart(app2, model, m) {
    const list = bars();
    const chosenTitle = el("h4");
    const note = el("p", { class: "caption" });
    const pictures = el("div", { class: "pictures" });
    const cardOf = keyed(pictures, (p) => atomCard(app2, p));
    const crops = el("div", { class: "crops" });
    const cropOf = keyed(crops, () => patchImage(app2));
    const offer = el("button", { type: "button", textContent: "Switch this atom off", onclick: () => app2.switchAtom(m, held2.layer, held2.atom) });
    const keep = el("button", {
      type: "button",
      textContent: "Keep this atom",
      title: "While the pointer moves on",
      onclick: () => app2.keepAtom(m, held2.layer, app2.state.kept[m].some(([l]) => l === held2.layer) ? null : held2.atom)
    });
    const node = el(
      "div",
      {},
      el("h4", { textContent: `Atoms: the strongest of ${model.atoms.count}, by ${model.atoms.name}` }),
      list.node,
      el("div", { class: "head-title" }, chosenTitle, keep, offer),
      crops,
      pictures,
      note
    );
    const held2 = {};
    function draw2(view, layer, token) {
      const found = strongestAtoms(view, layer, token);
      const kept = app2.state.kept[m].find(([l]) => l === layer)?.[1];
      const atom = kept ?? found[0]?.atom;
      Object.assign(held2, { layer, atom });
      list.draw(found.map((entry) => ({
        name: `atom ${entry.atom}`,
        value: entry.strength,
        text: short(entry.strength),
        chosen: entry.atom === atom,
        choose: () => app2.keepAtom(m, layer, entry.atom === kept ? null : entry.atom)
      })));
      const any = atom !== void 0;
      for (const part of [crops, pictures, note]) part.hidden = !any;
      offer.hidden = !any || !app2.data.server || !app2.effects[m].classes;
      setText(offer, app2.effects[m].atomIsOff(layer, atom) ? "Switch this atom on again" : "Switch this atom off");
      keep.hidden = !any;
      keep.setAttribute("aria-pressed", kept !== void 0);
      setText(chosenTitle, any ? `Where atom ${atom} of layer ${layer} is strongest` : "No atom is above 0 here.");
      if (!any) return;
      const maps = app2.pictures.map((picture) => atomMap(picture.views[m], layer, atom));
      const top = Math.max(...maps.map(largestOf));
      setText(note, `Colours from 0 to ${short(top)}. Only the eight strongest atoms of each token travel with this page: elsewhere an atom counts as 0.`);
      cardOf(maps.length).forEach((card, p) => card.draw(maps[p], app2.pictures[p].views[m], top));
      const best = largest(maps, SHOWN);
      cropOf(best.length).forEach((crop, i) => crop.draw(best[i].picture, m, best[i].patch, short(best[i].value)));
    }
    return { node, draw: draw2 };
  }
  function atomCard(app2, p) {
    const map = markedMap();
    const caption = el("figcaption", { textContent: app2.pictures[p].name });
    return {
      node: el("figure", { class: "card" }, map.node, caption),
      draw(values, view, top) {
        paintMap(map.canvas, values, view.grid, top, { name: app2.state.scale });
        map.mark(view, null);
      }
    };
  }
  function bars() {
    const node = el("div", { class: "bars" });
    const barOf = keyed(node, () => {
      const [name, value, fill] = [el("span", { class: "name" }), el("span", { class: "number" }), el("i")];
      let choose = () => {
      };
      const button = el(
        "button",
        { type: "button", class: "line", onclick: () => choose() },
        name,
        el("span", { class: "track" }, fill),
        value
      );
      return {
        node: button,
        draw(entry, top) {
          setText(name, entry.name);
          setText(value, entry.text);
          fill.style.width = `${100 * entry.value / (top || 1)}%`;
          button.setAttribute("aria-pressed", entry.chosen);
          choose = entry.choose;
        }
      };
    });
    return {
      node,
      draw(entries) {
        const top = Math.max(...entries.map((entry) => entry.value));
        barOf(entries.length).forEach((bar, i) => bar.draw(entries[i], top));
      }
    };
  }

  // src/controls.js
  function controls(app2, stage2) {
    const slider = el("input", {
      type: "range",
      min: 0,
      max: app2.depth - 1,
      step: 1,
      "aria-label": "Layer",
      oninput: () => app2.set({ layer: +slider.value })
    });
    const number = el("output", { class: "layer-number" });
    const step = (by) => app2.set({ layer: Math.min(app2.depth - 1, Math.max(0, app2.state.layer + by)) });
    const earlier = el("button", { type: "button", textContent: "←", "aria-label": "Earlier layer", onclick: () => step(-1) });
    const later = el("button", { type: "button", textContent: "→", "aria-label": "Later layer", onclick: () => step(1) });
    const classToken = el("button", { type: "button", textContent: "Class token", onclick: () => app2.set({ asks: app2.state.asks === "class" ? "patch" : "class" }) });
    classToken.disabled = !app2.classToken;
    const region = el("button", { type: "button", textContent: "Select a region", onclick: () => {
      stage2.select(!stage2.selecting());
      app2.set({});
    } });
    const clear = el("button", { type: "button", textContent: "Clear", title: "Take pins and region away (Escape)", onclick: () => empty() });
    const empty = () => {
      stage2.select(false);
      app2.set({ pins: [], region: null });
    };
    const status = el("p", { class: "status", "aria-live": "polite" });
    document.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === "Escape") return empty();
      if (event.target.closest("input, select, textarea, [role=tab], .picture") && !event.key.startsWith("Page")) return;
      const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -1, PageDown: 1 }[event.key];
      if (!by || event.key.startsWith("Page") && !event.target.closest(".picture")) return;
      event.preventDefault();
      step(by);
    });
    const node = el(
      "div",
      { class: "controls" },
      el("div", { class: "layer" }, earlier, el("label", {}, number, slider), later),
      el("div", { class: "buttons" }, classToken, region, clear),
      status
    );
    let said = "";
    let saying;
    function draw2() {
      const { state } = app2;
      slider.value = state.layer;
      setText(number, `Layer ${state.layer} of 0–${app2.depth - 1}`);
      earlier.disabled = state.layer === 0;
      later.disabled = state.layer === app2.depth - 1;
      classToken.setAttribute("aria-pressed", state.asks === "class");
      region.setAttribute("aria-pressed", stage2.selecting());
      clear.disabled = !state.pins.length && !state.region;
      const text = announcement(app2);
      if (text !== said) {
        said = text;
        clearTimeout(saying);
        saying = setTimeout(() => setText(status, said), 400);
      }
    }
    return { node, draw: draw2 };
  }
  function thumbnails(app2) {
    const choose = (picture) => {
      const { rows, columns } = app2.pictures[picture].views[0];
      const [row, column] = app2.state.patch;
      app2.set({ picture, pins: [], region: null, patch: [Math.min(row, rows - 1), Math.min(column, columns - 1)] });
    };
    const buttons = app2.pictures.map((picture, p) => el("button", {
      type: "button",
      class: "thumbnail",
      "aria-label": `Picture ${picture.name}`,
      title: picture.name,
      onclick: () => choose(p)
    }, el("img", { src: picture.source, alt: "", draggable: false })));
    const node = el("div", { class: "thumbnails", role: "group", "aria-label": "Pictures" }, ...buttons);
    node.hidden = buttons.length < 2;
    return { node, draw: () => buttons.forEach((button, p) => button.setAttribute("aria-pressed", p === app2.state.picture)) };
  }

  // src/heads.js
  function headsPanel(app2) {
    const scale = select("Colours", SCALES.map((name) => [name, name]), (value) => app2.set({ scale: value }));
    const root = checkbox("Show small values too (square root)", (value) => app2.set({ linear: !value }));
    const self = checkbox("Count the patch itself in the scale", (value) => app2.set({ self: value }));
    const same = checkbox("Same scale for all heads", (value) => app2.set({ same: value }));
    root.node.hidden = self.node.hidden = !app2.models.some(comparesTokens);
    const blocks = app2.models.map((model, m) => modelBlock2(app2, model, m));
    const node = el(
      "div",
      {},
      el(
        "details",
        { class: "looks" },
        el("summary", { textContent: "Colours and scale" }),
        el("div", { class: "options" }, root.node, self.node, same.node, scale.node)
      ),
      el("div", { class: "models" }, ...blocks.map((block) => block.node))
    );
    return {
      node,
      draw() {
        scale.input.value = app2.state.scale;
        root.input.checked = !app2.state.linear;
        self.input.checked = app2.state.self;
        same.input.checked = app2.state.same;
        blocks.forEach((block) => block.draw());
      }
    };
  }
  function modelBlock2(app2, model, m) {
    const title = el("h3", { textContent: model.name });
    title.hidden = app2.models.length < 2;
    const says = el("p", { class: "says" });
    if (model.compares === "nothing") {
      setText(says, "The attention of this model has no maps. Its heads are part of the other tabs.");
      return { node: el("section", { class: "model" }, title, says), draw() {
      } };
    }
    const tiles = el("div", { class: "tiles", role: "group", "aria-label": `Heads of ${model.name}` });
    const tileOf = keyed(tiles, (head) => headTile(app2, m, head));
    const strip = el("div", { class: "strip", role: "group", "aria-label": `Layers of ${model.name}` });
    const layerOf = keyed(strip, (layer) => layerTile(app2, layer));
    const large = largeHead(app2, model, m);
    const membership = model.compares === "membership";
    const caption = el("p", { class: "caption" });
    const node = el("section", { class: "model" }, title, says, tiles, caption, strip, large.node);
    function draw2() {
      const view = app2.picture.views[m];
      const layer = app2.layerOf(view);
      const asking = app2.asking(view);
      const maps = app2.maps(view, layer);
      setText(says, membership ? `Layer ${layer}: how much of each patch every head takes. This model compares no patches. Of the ${asking.name}:` : `Layer ${layer}: where the ${asking.name} looks in each head. Bright: much attention.`);
      setText(caption, membership ? `The same for head ${app2.state.heads[m]} in every layer:` : "Mean of the heads in every layer:");
      const each = Array.from({ length: model.heads }, (_, head) => patchMap(view, maps, head));
      const tops = each.map((map) => largestOf(map, app2.without(model, asking)));
      const lows = each.map(smallestOf);
      const [top, low] = [Math.max(...tops), Math.min(...lows)];
      tileOf(model.heads).forEach((tile, head) => tile.draw(
        view,
        maps,
        head,
        app2.state.same ? top : tops[head],
        app2.look(model, app2.state.same ? low : lows[head]),
        asking
      ));
      layerOf(view.depth).forEach((tile, number) => tile.draw(view, m, number, asking));
      large.draw(view, layer);
    }
    return { node, draw: draw2 };
  }
  function headTile(app2, m, head) {
    const map = markedMap();
    const name = el("b", { textContent: `Head ${head}` });
    const value = el("span");
    const node = el("button", {
      type: "button",
      class: "tile",
      onclick: () => app2.chooseHead(m, head)
    }, map.node, el("span", { class: "label" }, name, value));
    return {
      node,
      draw(view, maps, number, top, look, asking) {
        const shown = patchMap(view, maps, number);
        paintMap(map.canvas, shown, view.grid, top, look);
        map.mark(view, asking.patch);
        setText(value, view.model.compares === "membership" ? `share ${percent(maps[number * view.tokens + asking.tokens[0]])}` : `up to ${percent(largestOf(shown))}`);
        node.setAttribute("aria-pressed", number === app2.state.heads[m]);
      }
    };
  }
  function layerTile(app2, layer) {
    const map = markedMap();
    const node = el(
      "button",
      { type: "button", class: "tile small", "aria-label": `Layer ${layer}`, onclick: () => app2.set({ layer }) },
      map.node,
      el("span", { class: "label", textContent: layer })
    );
    return {
      node,
      draw(view, m, number, asking) {
        const maps = app2.maps(view, number);
        const shown = view.model.compares === "membership" ? patchMap(view, maps, app2.state.heads[m]) : meanMap(view, maps);
        paintMap(map.canvas, shown, view.grid, largestOf(shown, app2.without(view.model, asking)), app2.look(view.model, smallestOf(shown)));
        map.mark(view, asking.patch);
        node.setAttribute("aria-pressed", number === app2.layerOf(view));
      }
    };
  }
  function largeHead(app2, model, m) {
    const title = el("h4");
    const row = el("div", { class: "compared" });
    const cardOf = keyed(row, () => comparedMap(app2));
    const over = checkbox("Over the picture", (value) => app2.set({ over: value }));
    const best = el("p", { class: "caption" });
    const node = el("div", { class: "large" }, el("div", { class: "head-title" }, title, over.node), best, row);
    return {
      node,
      draw(view, layer) {
        const head = app2.state.heads[m];
        setText(title, `Head ${head} of layer ${layer}, large`);
        const chosen = model.best_head;
        best.hidden = !chosen;
        if (chosen) {
          const same = chosen.layer === layer && chosen.head === head;
          setText(best, `The checkpoint names ${same ? "this head" : `head ${chosen.head} of layer ${chosen.layer}`} as the best at telling objects from the background: ${chosen.why}.`);
        }
        over.input.checked = app2.state.over;
        const compared = app2.compared(view);
        const maps = compared.map((asking) => app2.maps(view, layer, asking));
        const membership = model.compares === "membership";
        cardOf(membership ? 1 : compared.length).forEach((card, i) => card.draw(view, compared[i], maps[i], head, app2.state.over));
      }
    };
  }
  function comparedMap(app2) {
    const map = markedMap();
    const image = el("img", { alt: "", class: "beneath" });
    map.node.prepend(image);
    const title = el("b");
    const value = el("p", { class: "value" });
    const bar = colourBar();
    const node = el("figure", { class: "card" }, map.node, bar.node, el("figcaption", {}, title, value));
    let read = () => "";
    const at = { patch: null };
    map.node.addEventListener("pointermove", (event) => {
      const box = map.node.getBoundingClientRect();
      at.patch = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
      setText(value, read());
    });
    map.node.addEventListener("pointerleave", () => {
      at.patch = null;
      setText(value, read());
    });
    return {
      node,
      draw(view, asking, maps, head, over) {
        const shown = patchMap(view, maps, head);
        const [top, most] = [largestOf(shown, app2.without(view.model, asking)), largestOf(shown)];
        const membership = view.model.compares === "membership";
        const look = app2.look(view.model, smallestOf(shown));
        paintMap(map.canvas, shown, view.grid, top, look);
        map.mark(view, asking.patch);
        image.hidden = !over;
        if (over) image.src = app2.picture.source;
        map.canvas.classList.toggle("over", over);
        setText(title, membership ? `Share of head ${head} in each patch` : { now: "", region: "" }[asking.key] ?? `${asking.key}: `);
        if (!membership) title.append(asking.name);
        bar.draw(top, most, look, membership ? "share of the patch" : "share of the attention");
        read = () => {
          if (at.patch) {
            const row = Math.min(view.rows - 1, Math.max(0, Math.floor(at.patch[0] * view.rows)));
            const column = Math.min(view.columns - 1, Math.max(0, Math.floor(at.patch[1] * view.columns)));
            return `row ${row}, column ${column}: ${percent(shown[row * view.columns + column])}`;
          }
          if (membership) return `Equal shares would be ${percent(1 / view.model.heads)}.`;
          const prefix = view.model.prefix ? ` ${prefixName(view.model)} ${percent(prefixShare(view, maps, head))}.` : "";
          return `Largest ${percent(most)}; equal shares would be ${percent(1 / view.tokens)}.${prefix}`;
        };
        setText(value, read());
      }
    };
  }
  function prefixName(model) {
    if (!model.class_token) return "Registers take";
    return model.prefix > 1 ? "Class token and registers take" : "Class token takes";
  }
  function colourBar() {
    const canvas = el("canvas", { width: 256, height: 1, "aria-hidden": "true" });
    const [bottom, middle, top, unit] = [el("span"), el("span"), el("span"), el("div")];
    const node = el(
      "div",
      { class: "bar" },
      canvas,
      el("div", { class: "ticks" }, bottom, middle, top),
      unit
    );
    let painted = null;
    return {
      node,
      draw(value, most, { name, root, low }, text) {
        if (painted !== name) {
          painted = name;
          canvas.getContext("2d").putImageData(new ImageData(table(name).slice(), 256, 1), 0, 0);
        }
        setText(bottom, low ? percent(low) : "0");
        setText(middle, percent(low + (value - low) * (root ? 0.25 : 0.5)));
        setText(top, `${percent(value)}${most > value ? " and more" : ""}`);
        setText(unit, text);
      }
    };
  }

  // src/masks.js
  function massMask(map, fraction) {
    const order = Array.from(map.keys()).sort((a, b) => map[a] - map[b] || a - b);
    const total = map.reduce((sum, value) => sum + value, 0) || 1;
    const mask = new Uint8Array(map.length);
    let running = 0;
    for (const patch of order) {
      running += map[patch] / total;
      if (running > 1 - fraction) mask[patch] = 1;
    }
    return mask;
  }
  function levelMask(map, level) {
    return Uint8Array.from(map, (value) => value > level ? 1 : 0);
  }
  function inverted(mask) {
    return mask.map((value) => 1 - value);
  }
  function pixelMask(mask, [rows, columns], width, height) {
    const pixels = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) {
      const row = Math.floor(y * rows / height) * columns;
      for (let x = 0; x < width; x++) pixels[y * width + x] = mask[row + Math.floor(x * columns / width)];
    }
    return pixels;
  }
  function cocoFile(pixels, width, height, name, category) {
    const counts = [];
    let value = 0;
    let run = 0;
    let [left, top, right, bottom, area] = [width, height, -1, -1, 0];
    for (let x = 0; x < width; x++) for (let y = 0; y < height; y++) {
      const here = pixels[y * width + x];
      if (here !== value) {
        counts.push(run);
        [value, run] = [here, 0];
      }
      run++;
      if (here) {
        area++;
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
      }
    }
    counts.push(run);
    return {
      images: [{ id: 1, file_name: name, width, height }],
      categories: [{ id: 1, name: category }],
      annotations: area ? [{
        id: 1,
        image_id: 1,
        category_id: 1,
        iscrowd: 0,
        area,
        bbox: [left, top, right - left + 1, bottom - top + 1],
        segmentation: { size: [height, width], counts }
      }] : []
    };
  }
  function outline(mask, [rows, columns]) {
    const at = (row, column) => row >= 0 && column >= 0 && row < rows && column < columns && mask[row * columns + column] === 1;
    const edges = /* @__PURE__ */ new Map();
    const add = (y, x, toY, toX) => {
      const from = `${x} ${y}`;
      edges.set(from, [...edges.get(from) ?? [], `${toX} ${toY}`]);
    };
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
      if (!at(row, column)) continue;
      if (!at(row - 1, column)) add(row, column, row, column + 1);
      if (!at(row, column + 1)) add(row, column + 1, row + 1, column + 1);
      if (!at(row + 1, column)) add(row + 1, column + 1, row + 1, column);
      if (!at(row, column - 1)) add(row + 1, column, row, column);
    }
    let path = "";
    while (edges.size) {
      const [start] = edges.keys();
      let corner = start;
      path += `M${start}`;
      do {
        const next = edges.get(corner);
        const to = next.pop();
        if (!next.length) edges.delete(corner);
        corner = to;
        path += corner === start ? "Z" : `L${corner}`;
      } while (corner !== start);
    }
    return path;
  }
  function svgFile(mask, grid, width, height) {
    const [rows, columns] = grid;
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${columns} ${rows}" preserveAspectRatio="none"><path fill-rule="evenodd" d="${outline(mask, grid)}"/></svg>
`;
  }

  // src/maskspanel.js
  var COMPONENTS = [["pca,0", "PCA, first component (red)"], ["pca,1", "PCA, second component (green)"], ["pca,2", "PCA, third component (blue)"]];
  function masksPanel(app2) {
    const source = select("Mask from", [], (mask) => app2.set({ mask }));
    const slider = el("input", { type: "range", step: 0.01, oninput: () => app2.set({ [kind]: +slider.value }) });
    const says = el("span");
    const threshold = el("label", { class: "choice wide" }, says, slider);
    const invert = checkbox("Inverted", (inverted2) => app2.set({ inverted: inverted2 }));
    const blocks = app2.models.map((model, m) => modelBlock3(app2, model, m));
    let kind = "mass";
    let offered = "";
    function offer() {
      const most = Math.max(...app2.picture.views.map((view) => view.objects.length));
      const compares = app2.models.some(comparesTokens);
      const choices = [];
      if (compares && app2.classToken) choices.push(["class", "attention of the class token"]);
      if (compares) choices.push(["patch", "attention of the patch under the pointer"]);
      if (compares && app2.state.region) choices.push(["region", "attention of the selected region"]);
      if (!compares && app2.models.some((model) => model.compares === "membership")) choices.push(["share", "share of the head in each patch"]);
      choices.push(...COMPONENTS);
      for (let i = 0; i < most; i++) choices.push([`maskcut,${i}`, `MaskCut, object ${i + 1} of ${most}`]);
      const key = choices.join();
      if (offered !== key) source.fill(choices);
      offered = key;
      const [chosen] = choices.find(([value]) => value === app2.state.mask) ?? choices[0];
      return source.input.value = chosen;
    }
    function draw2() {
      const [from, number] = offer().split(",");
      const { mass, level } = app2.state;
      kind = from === "pca" ? "level" : "mass";
      Object.assign(slider, kind === "mass" ? { min: 0.05, max: 1 } : { min: 0, max: 0.99 });
      slider.value = app2.state[kind];
      invert.input.checked = app2.state.inverted;
      threshold.hidden = from === "maskcut";
      setText(says, kind === "mass" ? `Keep the largest ${percent(mass)} of the ${from === "share" ? "shares" : "attention"}` : `Keep components above ${level.toFixed(2)}`);
      const choice = { from, number: +number, invert: app2.state.inverted, mass, level };
      blocks.forEach((block) => block.draw(choice));
    }
    const node = el(
      "div",
      {},
      el("div", { class: "options" }, source.node, threshold, invert.node),
      el("div", { class: "models" }, ...blocks.map((block) => block.node)),
      el("p", { class: "caption", textContent: "A head that looks at the background gives a mask of the object when inverted. Files have the size of the picture; every patch is a block of pixels." })
    );
    return { node, draw: draw2 };
  }
  function maskOf(app2, view, layer, choice, head) {
    const { from, number } = choice;
    let mask;
    if (from === "maskcut") mask = number < view.objects.length ? view.object(number) : new Uint8Array(view.patches);
    else if (from === "pca") {
      const colours = view.colours(layer);
      mask = levelMask(Float32Array.from({ length: view.patches }, (_, patch) => colours[3 * patch + number] / 255), choice.level);
    } else if (view.model.compares === "nothing") mask = new Uint8Array(view.patches);
    else mask = massMask(patchMap(view, app2.maps(view, layer, whoAsks(app2, view, from)), head), choice.mass);
    return choice.invert ? inverted(mask) : mask;
  }
  function whoAsks(app2, view, from) {
    if (from === "class" && view.model.class_token) return { tokens: [0] };
    if (from === "region") {
      const tokens = app2.regionOf(view).map((patch) => view.model.prefix + patch);
      if (tokens.length) return { tokens };
    }
    return app2.askingPatch(view, app2.state.patch);
  }
  function modelBlock3(app2, model, m) {
    const title = el("h3", { textContent: model.name });
    title.hidden = app2.models.length < 2;
    const tiles = el("div", { class: "tiles" });
    const tileOf = keyed(tiles, (head) => maskTile(app2, m, head));
    const large = maskedPicture();
    const says = el("p", { class: "says" });
    const file = (name, make) => el("button", { type: "button", textContent: name, onclick: async () => download(await make(), fileName(name)) });
    const shown = {};
    const node = el("section", { class: "model" }, title, says, el(
      "div",
      { class: "mask-row" },
      el("div", { class: "mask-large" }, large.node, el(
        "div",
        { class: "buttons" },
        el("span", { textContent: "Download" }),
        file("PNG", png),
        file("COCO JSON", coco),
        file("SVG", vector)
      )),
      tiles
    ));
    function fileName(kind) {
      const stem = app2.picture.name.replace(/\.\w{1,5}$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "_").slice(0, 80);
      return `${stem}-${shown.name}.${{ PNG: "png", "COCO JSON": "json", SVG: "svg" }[kind]}`;
    }
    const size = () => [app2.picture.width, app2.picture.height];
    const pixels = () => pixelMask(shown.mask, shown.view.grid, ...size());
    function png() {
      const [width, height] = size();
      const canvas = el("canvas", { width, height });
      const image = new ImageData(width, height);
      pixels().forEach((value, i) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i));
      canvas.getContext("2d").putImageData(image, 0, 0);
      return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    }
    function coco() {
      const [width, height] = size();
      const content = cocoFile(pixels(), width, height, app2.picture.name, "object");
      return new Blob([JSON.stringify(content)], { type: "application/json" });
    }
    function vector() {
      return new Blob([svgFile(shown.mask, shown.view.grid, ...size())], { type: "image/svg+xml" });
    }
    function draw2(choice) {
      const view = app2.picture.views[m];
      const layer = app2.layerOf(view);
      const head = app2.state.heads[m];
      const byHead = model.compares !== "nothing" && !["pca", "maskcut"].includes(choice.from);
      const mask = maskOf(app2, view, layer, choice, head);
      const name = choice.from === "maskcut" ? `maskcut-${choice.number + 1}` : choice.from === "pca" ? `layer-${layer}-pca-${choice.number + 1}` : `layer-${layer}-head-${head}-${choice.from}`;
      Object.assign(shown, { view, mask, name: name + (choice.invert ? "-inverted" : "") });
      const kept = mask.reduce((sum, value) => sum + value, 0);
      const where = choice.from === "maskcut" ? "last layer" : `layer ${layer}${byHead ? `, head ${head}` : ""}`;
      setText(says, `Mask, ${where}: ${kept} of ${view.patches} patches, ${percent(kept / view.patches)} of the picture.`);
      large.draw(app2.picture, view, mask, true);
      tiles.hidden = !byHead;
      if (byHead) tileOf(model.heads).forEach((tile, number) => tile.draw(view, maskOf(app2, view, layer, choice, number), number));
    }
    return { node, draw: draw2 };
  }
  function maskTile(app2, m, head) {
    const picture = maskedPicture();
    const node = el(
      "button",
      { type: "button", class: "tile", onclick: () => app2.chooseHead(m, head) },
      picture.node,
      el("span", { class: "label" }, el("b", { textContent: `Head ${head}` }))
    );
    return {
      node,
      draw(view, mask, number) {
        picture.draw(app2.picture, view, mask, false);
        node.setAttribute("aria-pressed", number === app2.state.heads[m]);
      }
    };
  }
  function maskedPicture() {
    const map = markedMap();
    const image = el("img", { alt: "", class: "beneath" });
    const lines = svg("svg", { class: "overlay", preserveAspectRatio: "none", "aria-hidden": "true" });
    map.node.prepend(image);
    map.node.append(lines);
    map.canvas.classList.add("veil", "hard");
    return {
      node: map.node,
      draw(picture, view, mask, outlined2) {
        if (image.src !== picture.source) image.src = picture.source;
        paintVeil(map.canvas, mask, view.grid, 0, 1);
        map.mark(view, null);
        if (!outlined2) return;
        lines.setAttribute("viewBox", `0 0 ${view.columns} ${view.rows}`);
        const d = outline(mask, view.grid);
        lines.replaceChildren(svg("path", { class: "under", d }), svg("path", { class: "over", d }));
      }
    };
  }

  // src/chart.js
  var [WIDTH, HEIGHT] = [440, 190];
  var EDGE = { left: 46, right: 10, top: 10, bottom: 24 };
  function ticks(low, high) {
    const step = 10 ** Math.floor(Math.log10((high - low) / 4 || 1));
    const nice = [1, 2, 5, 10].map((times) => times * step).find((size) => (high - low) / size <= 5);
    const marks = [];
    for (let mark = Math.ceil(low / nice); mark * nice <= high * (1 + 1e-9); mark++) marks.push(mark * nice);
    return marks;
  }
  function chart({ depth, series, steps = [], label, layer, choose, hover }) {
    const values = [...series.map((line) => line.values), ...steps.flatMap((group) => [group.before, group.after])].flat();
    const high = 1.06 * Math.max(...values);
    const low = Math.min(0, ...values);
    const slot = (WIDTH - EDGE.left - EDGE.right) / depth;
    const x = (place) => EDGE.left + slot * (place + 0.5);
    const y = (value) => HEIGHT - EDGE.bottom - (value - low) / (high - low || 1) * (HEIGHT - EDGE.top - EDGE.bottom);
    const node = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
    node.append(svg("rect", { class: "column", x: x(layer) - slot / 2, y: EDGE.top, width: slot, height: HEIGHT - EDGE.top - EDGE.bottom }));
    for (const mark of ticks(low, high)) {
      node.append(
        svg("path", { class: "rule", d: `M${EDGE.left} ${y(mark)}H${WIDTH - EDGE.right}` }),
        svg("text", { class: "tick", x: EDGE.left - 6, y: y(mark) + 4, "text-anchor": "end" }, short(mark))
      );
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
  function arrow(x, from, to, name) {
    const way = to > from ? 1 : -1;
    const node = svg(
      "g",
      { class: `step ${name} ${way > 0 ? "lowers" : "raises"}` },
      svg("path", { d: `M${x} ${from}V${to}` }),
      svg("circle", { cx: x, cy: from, r: 2.8 })
    );
    if (Math.abs(to - from) > 7) {
      node.append(svg("path", { class: "tip", d: `M${x - 4} ${to - way * 6}L${x} ${to}L${x + 4} ${to - way * 6}` }));
    }
    return node;
  }

  // src/rate.js
  function codingRate(rows, n, p, epsilonSquared) {
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
  function subspaceCodingRate(view, layer, patches) {
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
  function randomNumbers(seed) {
    let state = seed >>> 0;
    return () => {
      state = state + 1831565813 >>> 0;
      let t = Math.imul(state ^ state >>> 15, state | 1);
      t ^= t + Math.imul(t ^ t >>> 7, t | 61);
      return ((t ^ t >>> 14) >>> 0) / 2 ** 32;
    };
  }
  function draw(count, total, random) {
    const numbers = Uint32Array.from({ length: total }, (_, i) => i);
    for (let i = 0; i < count; i++) {
      const other = i + Math.floor(random() * (total - i));
      [numbers[i], numbers[other]] = [numbers[other], numbers[i]];
    }
    return Array.from(numbers.subarray(0, count));
  }
  function regionRates(view, layer, region, draws = 20, seed = 0) {
    const inside = new Set(region);
    const rest = Array.from({ length: view.patches }, (_, i) => i).filter((patch) => !inside.has(patch));
    const random = randomNumbers(seed);
    const drawn = Array.from({ length: draws }, () => subspaceCodingRate(view, layer, draw(region.length, view.patches, random)));
    const mean = drawn.reduce((sum, value) => sum + value, 0) / draws;
    const variance = drawn.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (draws - 1);
    return {
      region: subspaceCodingRate(view, layer, region),
      rest: rest.length ? subspaceCodingRate(view, layer, rest) : null,
      random: { mean, deviation: Math.sqrt(variance), draws, seed },
      count: region.length,
      others: rest.length
    };
  }

  // src/objective.js
  function objectivePanel(app2) {
    const blocks = app2.models.map((model, m) => modelBlock4(app2, model, m));
    return {
      node: el("div", { class: "models" }, ...blocks.map((block) => block.node)),
      draw: () => blocks.forEach((block) => block.draw())
    };
  }
  function modelBlock4(app2, model, m) {
    const title = el("h3", { textContent: model.name });
    title.hidden = app2.models.length < 2;
    const charts = el("div", { class: "charts" });
    const strip = el("div", { class: "strip", role: "group", "aria-label": "Tokens of every layer" });
    const tokensOf = keyed(strip, (layer) => tokensTile(app2, layer, (number) => hover(number)));
    const large = markedMap();
    const largeTitle = el("figcaption", { class: "strong" });
    const values = el("div", { class: "scroll" });
    const region = el("div", { class: "region" });
    const hovered = el("figure", { class: "quantity hovered" }, largeTitle, large.node, values);
    const node = el(
      "section",
      { class: "model" },
      title,
      charts,
      el("h4", { textContent: "Tokens of every layer" }),
      el("p", { class: "caption", textContent: "Patches whose features are alike have one colour: three principal components of the layer's features over all pictures, as red, green and blue." }),
      strip,
      regionTitled(region)
    );
    let over = null;
    let tabled = "";
    let drawn = "";
    let measured = "";
    function hover(number) {
      over = number;
      drawTokens();
    }
    function drawTokens() {
      const view = app2.picture.views[m];
      const layer = over ?? app2.layerOf(view);
      paintColours(large.canvas, view.colours(layer), view.grid);
      large.mark(view, app2.asking(view).patch);
      setText(largeTitle, `Layer ${layer}: tokens and values`);
      const key = `${view.name} ${layer}`;
      if (tabled !== key) values.replaceChildren(layerTable(model, view, layer));
      tabled = key;
    }
    function draw2() {
      const view = app2.picture.views[m];
      const layer = app2.layerOf(view);
      const asking = app2.asking(view);
      tokensOf(view.depth).forEach((tile, number) => tile.draw(view, number, number === layer, asking.patch));
      drawTokens();
      const key = `${view.name} ${layer}`;
      if (drawn !== key) {
        drawn = key;
        const parts = quantities(model, view).map((quantity) => quantityChart(quantity, {
          depth: view.depth,
          layer,
          hover,
          choose: (number) => app2.set({ layer: number })
        }));
        charts.replaceChildren(...parts, hovered);
      }
      const regionKey = `${key} ${app2.state.region}`;
      if (measured !== regionKey) {
        measured = regionKey;
        clearTimeout(node.measuring);
        node.measuring = setTimeout(() => region.replaceChildren(...regionText(app2, model, view, layer)), 120);
      }
    }
    return { node, draw: draw2 };
  }
  function regionTitled(region) {
    const title = el("h4", {}, "R", el("sup", { textContent: "c" }), " of the selected region");
    return el("div", { class: "boxed" }, title, region);
  }
  function regionText(app2, model, view, layer) {
    const patches = app2.state.region ? app2.regionOf(view) : [];
    if (!patches.length) return [el("p", { class: "caption", textContent: "Drag over the picture to select a region." })];
    const found = regionRates(view, layer, patches);
    const { random } = found;
    const row = (name, value, note) => el("tr", {}, el("th", { scope: "row", textContent: name }), el("td", { textContent: value }), el("td", { textContent: note }));
    const rows = [
      row(`Region, ${found.count} patches`, `${short(found.region)} nats`, ""),
      row(`${random.draws} draws of ${found.count} random patches`, `${short(random.mean)} ± ${short(random.deviation)} nats`, `mean and standard deviation; seed ${random.seed}`)
    ];
    if (found.rest !== null) rows.push(row(`The rest, ${found.others} patches`, `${short(found.rest)} nats`, "of another number of patches"));
    const lower = found.region < random.mean;
    return [
      el("p", { textContent: `Layer ${layer}: the region needs ${lower ? "fewer" : "more"} nats than random patches of the same number: its patches are ${lower ? "more" : "less"} alike.` }),
      el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, ...rows))),
      el("p", { class: "caption", textContent: `Features scaled to unit length in every head, ε² = ${model.epsilon_squared}.` })
    ];
  }
  function quantities(model, view) {
    const { curves } = model;
    const step = (title, unit, name, short2, note) => ({
      title,
      short: short2,
      unit,
      note,
      before: view[`${name}_before`],
      after: view[`${name}_after`],
      set: [curves[`${name}_before`], curves[`${name}_after`]].map((curve) => curve?.set),
      untrained: [curves[`${name}_before`], curves[`${name}_after`]].map((curve) => curve?.untrained)
    });
    const list = [step("Rᶜ before and after attention", "nats", "rate", "Rᶜ, nats", model.lowers_rate ? "Attention was derived as a step that lowers it" : "This family's attention was not derived to lower it: for comparison only")];
    if (view.sparse_before) list.push(step(
      "LASSO objective before and after the sparse step",
      "mean over tokens",
      "sparse",
      "LASSO objective",
      "The sparse step is derived from it; before: the nearest non-negative start"
    ));
    list.push({ title: "Entries that are not zero", short: "not zero", unit: "share", values: view.nonzero, ...curves.nonzero, note: "" });
    return list;
  }
  var NAMES = { here: "this picture", set: "mean of all pictures", untrained: "mean, untrained model" };
  function quantityChart(quantity, options) {
    const series = [];
    const steps = [];
    let says = quantity.note;
    if (quantity.before) {
      steps.push({ class: "here", before: quantity.before, after: quantity.after });
      for (const name of ["set", "untrained"]) {
        const [before, after] = quantity[name];
        if (before && after) steps.push({ class: name, before, after });
      }
      const lowered = quantity.before.filter((before, i) => quantity.after[i] < before).length;
      says = `Lowered in ${lowered} of ${quantity.before.length} layers. ${quantity.note}.`;
    } else {
      for (const name of ["untrained", "set"]) series.push({ values: quantity[name], class: name });
      series.push({ values: quantity.values, class: "here", points: true });
    }
    const raised = steps.some((group) => group.before.some((before, i) => group.after[i] >= before));
    const legend = el(
      "p",
      { class: "legend" },
      ...(steps.length ? steps : [...series].reverse()).map((group) => el("span", { class: `key ${group.class}`, textContent: NAMES[group.class] })),
      raised ? el("span", { class: "key raises", textContent: "raised" }) : null
    );
    const label = `${quantity.title}, by layer. ${says} Values: ${(quantity.values ?? quantity.before).map((value, i) => `layer ${i} ${short(value)}${quantity.after ? ` to ${short(quantity.after[i])}` : ""}`).join("; ")}`;
    return el(
      "figure",
      { class: "quantity" },
      el("figcaption", {}, el("b", { textContent: quantity.title }), ` (${quantity.unit})`),
      chart({ ...options, series, steps, label }),
      legend,
      says ? el("p", { class: "caption", textContent: says }) : null
    );
  }
  function layerTable(model, view, layer) {
    const pair = (before, after) => before && after ? `${short(before[layer])} → ${short(after[layer])}` : "";
    const rows = quantities(model, view).map((quantity) => {
      const values = quantity.before ? [pair(quantity.before, quantity.after), pair(...quantity.set), pair(...quantity.untrained)] : [quantity.values, quantity.set, quantity.untrained].map((list) => percent(list[layer]));
      return el("tr", {}, el("th", { scope: "row", textContent: quantity.short }), ...values.map((textContent) => el("td", { textContent })));
    });
    const heads = ["", "this picture", "all pictures", "untrained"].map((textContent) => el("th", { scope: "col", textContent }));
    return el("table", { class: "values" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows));
  }
  function tokensTile(app2, layer, hover) {
    const map = markedMap();
    const node = el("button", {
      type: "button",
      class: "tile small",
      "aria-label": `Tokens of layer ${layer}`,
      onclick: () => app2.set({ layer }),
      onpointerenter: () => hover(layer),
      onpointerleave: () => hover(null),
      onfocus: () => hover(layer),
      onblur: () => hover(null)
    }, map.node, el("span", { class: "label", textContent: layer }));
    let painted = "";
    return {
      node,
      draw(view, number, chosen, patch) {
        if (painted !== view.name) paintColours(map.canvas, view.colours(number), view.grid);
        painted = view.name;
        map.mark(view, patch);
        node.setAttribute("aria-pressed", chosen);
      }
    };
  }

  // src/prediction.js
  function predictionPanel(app2) {
    const blocks = app2.models.map((model, m) => modelBlock5(app2, model, m));
    return {
      node: el("div", { class: "models" }, ...blocks.map((block) => block.node)),
      draw: () => blocks.forEach((block) => block.draw())
    };
  }
  function modelBlock5(app2, model, m) {
    const effects = app2.effects[m];
    const title = el("h3", { textContent: model.name });
    title.hidden = app2.models.length < 2;
    const top = el("div", {});
    const grids = el("div", { class: "grids" });
    const followed = select("Change, in percentage points, of the probability of", [], () => app2.set({}));
    const result = el("div", { "aria-live": "polite" });
    const says = el("p", {});
    const node = el(
      "section",
      { class: "model" },
      title,
      top,
      el("h4", { textContent: "Switch heads off" }),
      says,
      followed.node,
      grids,
      result
    );
    let drawn = "";
    let filled = null;
    function draw2() {
      const view = app2.picture.views[m];
      const { known } = effects;
      effects.update();
      if (filled !== view) {
        filled = view;
        top.replaceChildren(...predicted(view));
        followed.fill((known?.classes ?? []).map((name, c) => [c, name]));
        followed.node.hidden = !known;
      }
      const key = [view.name, followed.input.value, effects.asked, effects.waiting, effects.trouble].join(" ");
      if (drawn === key) return;
      drawn = key;
      setText(says, explanation(app2, model, m, known));
      const focus = grids.contains(document.activeElement) ? document.activeElement.dataset.place : null;
      grids.replaceChildren(...gridsOf(model, effects, +followed.input.value || 0));
      if (focus) grids.querySelector(`[data-place="${focus}"]`)?.focus();
      result.replaceChildren(...resultOf(effects, model));
    }
    return { node, draw: draw2 };
  }
  function predicted(view) {
    if (!view.top.length) return [el("p", { class: "caption", textContent: "This model names no classes." })];
    return [
      el("p", { class: "says", textContent: "What the model takes the picture for:" }),
      el("table", { class: "shares" }, el("tbody", {}, ...view.top.map(([name, share]) => el("tr", {}, el("th", { scope: "row", textContent: name }), shareCell(share)))))
    ];
  }
  function shareCell(share) {
    const fill = el("i");
    fill.style.width = `${100 * share}%`;
    return el("td", {}, el("span", { class: "track" }, fill), el("span", { class: "number", textContent: percent(share) }));
  }
  function explanation(app2, model, m, known) {
    const replaced = `replaced by zero, or by the mean over ${model.reference}. Zero alone overstates: the model has never met it.`;
    if (!app2.effects[m].classes) return "Without classes there is no prediction that heads could change.";
    if (app2.data.server) return `Choose heads below, several if you like. Their output is ${replaced}`;
    if (known) return `Choose a head below. Its output is ${replaced} Several at once, and atoms, can be switched off in crate explore.`;
    return "The effects of heads were not computed for this page: open the model with crate explore to switch heads off.";
  }
  function gridsOf(model, effects, c) {
    const { known, server } = effects;
    if (!known && !(server && effects.classes)) return [];
    const kinds = known ? [["zero", "Replaced by zero"], ["mean", "Replaced by the mean"]] : [["any", "Heads"]];
    const change = known ? (kind, layer, head) => known[kind][layer][head][c] - known.intact[c] : null;
    let largest2 = 0;
    if (known) for (const kind of ["zero", "mean"]) known[kind].forEach((row, layer) => row.forEach((_, head) => {
      largest2 = Math.max(largest2, Math.abs(change(kind, layer, head)));
    }));
    const cell2 = (kind, layer, head) => {
      const value = change?.(kind, layer, head);
      const button = el("button", {
        type: "button",
        textContent: change ? points(value) : effects.isOff(layer, head) ? "off" : "on",
        "aria-pressed": effects.isOff(layer, head),
        "aria-label": `Layer ${layer}, head ${head}${change ? `: ${points(value)} percentage points` : ""}`,
        onclick: () => effects.toggle(layer, head)
      });
      button.dataset.place = `${kind} ${layer} ${head}`;
      if (change) {
        const { fill, ink } = colourAt("difference", 0.5 + 0.5 * value / (largest2 || 1));
        button.style.background = fill;
        button.style.color = ink;
      }
      return el("td", {}, button);
    };
    return kinds.map(([kind, title]) => el("div", { class: "scroll" }, el(
      "table",
      { class: "effects" },
      el("caption", { textContent: title }),
      el("thead", {}, el(
        "tr",
        {},
        el("th", { scope: "col", textContent: "layer \\ head" }),
        ...Array.from({ length: model.heads }, (_, head) => el("th", { scope: "col", textContent: head }))
      )),
      el("tbody", {}, ...Array.from({ length: model.layers }, (_, layer) => el(
        "tr",
        {},
        el("th", { scope: "row", textContent: layer }),
        ...Array.from({ length: model.heads }, (_2, head) => cell2(kind, layer, head))
      )))
    )));
  }
  function resultOf(effects, model) {
    const { answer, heads, atoms } = effects;
    const off = [...heads.map(([layer, head]) => `head ${head} of layer ${layer}`), ...atoms.map(([layer, atom]) => `atom ${atom} of layer ${layer}`)];
    if (effects.trouble) return [el("p", { role: "alert", textContent: effects.trouble })];
    if (effects.waiting) return [el("p", { textContent: `Off: ${off.join(", ")}. The server computes …` })];
    if (!off.length || !answer?.zero) return [];
    return [
      el(
        "div",
        { class: "head-title" },
        el("h4", { textContent: `Off: ${off.join(", ")}` }),
        el("button", { type: "button", textContent: "All on again", onclick: () => effects.clear() })
      ),
      el("div", { class: "scroll" }, el(
        "table",
        { class: "shares" },
        el("thead", {}, el("tr", {}, ...["class", "intact", "off: zero", `off: mean`].map((name) => el("th", { scope: "col", textContent: name })))),
        el("tbody", {}, ...answer.classes.map((name, c) => el(
          "tr",
          {},
          el("th", { scope: "row", textContent: name }),
          shareCell(answer.intact[c]),
          shareCell(answer.zero[c]),
          shareCell(answer.mean[c])
        )))
      )),
      el("p", { class: "caption", textContent: `The mean is that over ${model.reference}.` })
    ];
  }

  // src/similarity.js
  function similarity(view, token, other, layer, head = null) {
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

  // src/similar.js
  var NEAREST = 12;
  function similarPanel(app2) {
    const heads = Math.max(...app2.models.map((model) => model.heads));
    const headChoices = Array.from({ length: heads }, (_, head) => [head, `head ${head}`]);
    const by = select("Features of", [["all", "all heads"], ...headChoices], (value) => app2.set({ features: value === "all" ? null : +value }));
    const shownAs = select("Shown as", [["light", "light on the picture"], ["colours", "colours"]], (value) => app2.set({ colours: value === "colours" }));
    const blocks = app2.models.map((model, m) => modelBlock6(app2, m));
    return {
      node: el(
        "div",
        {},
        el("div", { class: "options" }, by.node, shownAs.node),
        el("div", { class: "models" }, ...blocks.map((block) => block.node))
      ),
      draw() {
        by.input.value = app2.state.features ?? "all";
        shownAs.input.value = app2.state.colours ? "colours" : "light";
        blocks.forEach((block) => block.draw());
      }
    };
  }
  function modelBlock6(app2, m) {
    const model = app2.models[m];
    const title = el("h3", { textContent: model.name });
    title.hidden = app2.models.length < 2;
    const says = el("p", { class: "says" });
    const scale = el("p", { class: "caption" });
    const pictures = el("div", { class: "pictures" });
    const cardOf = keyed(pictures, (p) => pictureCard(app2, p));
    const nearest = el("div", { class: "crops" });
    const cropOf = keyed(nearest, () => patchImage(app2));
    const node = el(
      "section",
      { class: "model" },
      title,
      says,
      pictures,
      scale,
      el("h4", { textContent: `The ${NEAREST} most similar patches${app2.pictures.length > 1 ? " of the other pictures" : ""}, with their cosine` }),
      nearest
    );
    function draw2() {
      const view = app2.picture.views[m];
      const layer = app2.layerOf(view);
      const asking = app2.asking(view);
      const { features, colours } = app2.state;
      const head = features === null ? null : Math.min(features, model.heads - 1);
      const maps = app2.pictures.map((picture) => similarity(view, asking.tokens[0], picture.views[m], layer, head));
      const { low, high, middle } = spread(maps);
      setText(says, `Layer ${layer}: patches of all pictures whose features are like those of the ${asking.name}${head === null ? "" : `, in head ${head}`}.`);
      setText(scale, `Cosine of the features. ${colours ? `Darkest colour: ${low.toFixed(2)}; lightest: ${high.toFixed(2)}.` : `Dark: ${middle.toFixed(2)} (the median of all patches) or less; clear: ${high.toFixed(2)}.`}`);
      cardOf(maps.length).forEach((card, p) => card.draw(maps[p], app2.pictures[p].views[m], colours ? low : middle, high, colours, p === app2.state.picture ? asking.patch : null));
      const found = nearestPatches(maps, app2.state.picture);
      cropOf(found.length).forEach((crop, i) => crop.draw(found[i].picture, m, found[i].patch, found[i].value.toFixed(2)));
    }
    return { node, draw: draw2 };
  }
  function pictureCard(app2, p) {
    const map = markedMap();
    map.node.prepend(el("img", { src: app2.pictures[p].source, alt: "", class: "beneath" }));
    map.canvas.classList.add("veil");
    const node = el("figure", { class: "card" }, map.node, el("figcaption", { textContent: app2.pictures[p].name }));
    return {
      node,
      draw(cosines, view, low, high, colours, patch) {
        if (colours) paintMap(map.canvas, cosines.map((value) => value - low), view.grid, high - low, { name: app2.state.scale });
        else paintVeil(map.canvas, cosines, view.grid, low, high);
        map.mark(view, patch);
      }
    };
  }
  function spread(maps) {
    const all = Float32Array.from(maps.flatMap((map) => Array.from(map))).sort();
    const high = Math.min(1, all[Math.max(0, all.length - 2)]);
    return { low: all[0], middle: all[all.length >> 1], high };
  }
  function nearestPatches(maps, picture) {
    const best = [];
    maps.forEach((map, p) => map.forEach((value, patch) => {
      if (p === picture && maps.length > 1) return;
      if (best.length === NEAREST && value <= best[NEAREST - 1].value) return;
      const at = best.findIndex((other) => other.value < value);
      best.splice(at < 0 ? best.length : at, 0, { picture: p, patch, value });
      best.length = Math.min(best.length, NEAREST);
    }));
    return best;
  }

  // src/tabs.js
  function tabs(app2, panels2) {
    const names = Object.keys(panels2);
    const made = {};
    const buttons = names.map((name, i) => el("button", {
      type: "button",
      role: "tab",
      id: `tab-${name}`,
      "aria-controls": "panel",
      textContent: panels2[name][0],
      onclick: () => app2.set({ tab: name }),
      onkeydown: (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!by) return;
        const next = (i + by + names.length) % names.length;
        event.preventDefault();
        app2.set({ tab: names[next] });
        buttons[next].focus();
      }
    }));
    const list = el("div", { role: "tablist", "aria-label": "What is shown" }, ...buttons);
    const panel = el("div", { id: "panel", role: "tabpanel" });
    let shown = null;
    function draw2() {
      const { tab } = app2.state;
      buttons.forEach((button, i) => {
        button.setAttribute("aria-selected", names[i] === tab);
        button.tabIndex = names[i] === tab ? 0 : -1;
      });
      made[tab] ?? (made[tab] = panels2[tab][1](app2));
      if (shown !== tab) {
        shown = tab;
        panel.setAttribute("aria-labelledby", `tab-${tab}`);
        panel.replaceChildren(made[tab].node);
        buttons[names.indexOf(tab)].scrollIntoView({ block: "nearest", inline: "nearest" });
      }
      made[tab].draw();
    }
    return { node: el("div", { class: "tabs" }, list, panel), draw: draw2 };
  }

  // src/uploads.js
  function uploadControls({ server }) {
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
    return el(
      "p",
      { class: "uploads" },
      el("a", { href: "/", textContent: "Other pictures" }),
      el("button", { type: "button", textContent: "Delete these pictures", onclick: remove }),
      says
    );
  }

  // src/main.js
  var app = new App(readData(document.getElementById("data")));
  var stage = pictureStage(app);
  var under = controls(app, stage);
  var others = thumbnails(app);
  var panels = tabs(app, {
    heads: ["Heads", headsPanel],
    similar: ["Similar patches", similarPanel],
    atoms: ["Atoms", atomsPanel],
    objective: ["Objective", objectivePanel],
    masks: ["Masks", masksPanel],
    prediction: ["Prediction", predictionPanel]
  });
  document.body.classList.toggle("two", app.models.length > 1);
  document.getElementById("stage").append(el("div", { class: "kept" }, stage.node), under.node, others.node);
  document.getElementById("panels").append(panels.node);
  document.querySelector("header").append(...[uploadControls(app.data)].filter(Boolean));
  if (!app.models.some(comparesTokens)) {
    const shares = app.models.some((model) => model.compares === "membership");
    setText(document.getElementById("what"), shares ? "every head shows how much of that patch it takes." : "the tabs show what every layer makes of that patch.");
  }
  for (const model of app.models) {
    document.getElementById("about").append(el("h2", { textContent: model.name }), el("p", { class: "values", textContent: model.about }));
  }
  app.parts = [stage, under, others, panels];
  app.draw();
  app.opened = performance.now();
  window.explorer = { app, attention, atomMap, massMask, regionRates, similarity, strongestAtoms };
})();
