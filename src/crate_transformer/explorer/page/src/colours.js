// Colour scales that are perceptually uniform and safe for colour-blind readers, and maps painted with them.

const STOPS = {
  viridis: "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725",
  magma: "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf",
  cividis: "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",
  difference: "2d004b 532687 8073ac b1aad1 d8daeb f7f7f6 fee0b6 fcb761 e08214 b25706 7f3b08",
};
const STEPS = 256;
const tables = {};

export const SCALES = ["viridis", "magma", "cividis"];

/** 256 colours as red, green, blue, 255. */
export function table(name) {
  if (tables[name]) return tables[name];
  const stops = STOPS[name].split(" ").map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const colours = new Uint8ClampedArray(STEPS * 4);
  for (let i = 0; i < STEPS; i++) {
    const place = (i / (STEPS - 1)) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) colours[4 * i + c] = stops[low][c] + (place - low) * (stops[low + 1][c] - stops[low][c]);
    colours[4 * i + 3] = 255;
  }
  return (tables[name] = colours);
}

/** The colour of a value between 0 and 1, and black or white, whichever can be read on it. */
export function colourAt(name, share) {
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
  canvas.image ??= context.createImageData(columns, rows);
  if (canvas.image.width !== columns || canvas.image.height !== rows) canvas.image = context.createImageData(columns, rows);
  return [context, canvas.image];
}

/**
 * A map of patches, one pixel a patch; CSS makes it large. Values from `low` to `top` take the whole scale, in
 * proportion or, with `root`, by the square root, which shows small values too.
 */
export function paintMap(canvas, map, [rows, columns], top, { name, root, low = 0 }) {
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

export function paintColours(canvas, bytes, [rows, columns]) {
  const [context, image] = sized(canvas, rows, columns);
  for (let i = 0; i < rows * columns; i++) image.data.set([bytes[3 * i], bytes[3 * i + 1], bytes[3 * i + 2], 255], 4 * i);
  context.putImageData(image, 0, 0);
}

/** A dark veil to lay over a picture: clear where the value reaches `high`, darkest where it is `low` or less. */
export function paintVeil(canvas, map, [rows, columns], low, high) {
  const [context, image] = sized(canvas, rows, columns);
  for (let i = 0; i < map.length; i++) {
    const light = Math.min(1, Math.max(0, (map[i] - low) / (high - low || 1)));
    image.data.set([8, 10, 14, Math.round(225 * (1 - light))], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

/** The largest value, of all patches but one if there is one to leave out. */
export function largestOf(map, without = null) {
  let top = 0;
  for (let i = 0; i < map.length; i++) if (map[i] > top && i !== without) top = map[i];
  return top;
}

export function smallestOf(map) {
  let low = Infinity;
  for (let i = 0; i < map.length; i++) if (map[i] < low) low = map[i];
  return low;
}
