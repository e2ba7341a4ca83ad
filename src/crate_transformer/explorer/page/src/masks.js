// From a map to a mask, and from a mask to a file.

/**
 * The largest entries that together hold `fraction` of the map's sum (DINO's rule): sorted ascending, those where the
 * running sum exceeds 1 - fraction. Of equal entries the later one counts as larger. A map of zeros keeps nothing.
 */
export function massMask(map, fraction) {
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

/** Patches whose value lies above a level. */
export function levelMask(map, level) {
  return Uint8Array.from(map, (value) => (value > level ? 1 : 0));
}

export function inverted(mask) {
  return mask.map((value) => 1 - value);
}

/** A mask of patches as one of pixels, row-major: pixel (y, x) belongs to the patch it lies in. */
export function pixelMask(mask, [rows, columns], width, height) {
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * rows) / height) * columns;
    for (let x = 0; x < width; x++) pixels[y * width + x] = mask[row + Math.floor((x * columns) / width)];
  }
  return pixels;
}

/** A COCO file of one picture and one mask, with uncompressed run lengths (column by column, zeros first). */
export function cocoFile(pixels, width, height, name, category) {
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
      id: 1, image_id: 1, category_id: 1, iscrowd: 0, area,
      bbox: [left, top, right - left + 1, bottom - top + 1],
      segmentation: { size: [height, width], counts },
    }] : [],
  };
}

/** The mask as an SVG path: one closed outline for each border, in units of patches. */
export function outline(mask, [rows, columns]) {
  const at = (row, column) =>
    row >= 0 && column >= 0 && row < rows && column < columns && mask[row * columns + column] === 1;
  const edges = new Map(); // from corner to the corners that an edge leads to, the mask to its right
  const add = (y, x, toY, toX) => {
    const from = `${x} ${y}`;
    edges.set(from, [...(edges.get(from) ?? []), `${toX} ${toY}`]);
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

export function svgFile(mask, grid, width, height) {
  const [rows, columns] = grid;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" ` +
    `viewBox="0 0 ${columns} ${rows}" preserveAspectRatio="none">` +
    `<path fill-rule="evenodd" d="${outline(mask, grid)}"/></svg>\n`;
}
