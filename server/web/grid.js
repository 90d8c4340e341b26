// @ts-check
// How large tiles are, so that all fit and little is wasted.

/** A tile is never wider than 16:9 and never narrower than 4:5. */
const WIDEST = 16 / 9;
const NARROWEST = 4 / 5;

/**
 * @param {{ count: number, width: number, height: number, gap: number }} of a space in pixels
 * @returns {{ width: number, height: number }} of each tile, in whole pixels
 */
export function tileSize({ count, width, height, gap }) {
  let best = { width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    let w = (width - gap * (columns - 1)) / columns;
    let h = (height - gap * (rows - 1)) / rows;
    if (w <= 0 || h <= 0) continue;
    if (w / h > WIDEST) w = h * WIDEST;
    else if (w / h < NARROWEST) h = w / NARROWEST;
    if (w * h > best.width * best.height) best = { width: Math.floor(w), height: Math.floor(h) };
  }
  return best;
}
