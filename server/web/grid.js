// @ts-check
// How large tiles are, so that all fit and little is wasted.

/** A tile is never wider than a camera's picture, and not so narrow that much of it is cut off;
 * only on a phone held upright, where nothing else fills the screen, it may stand upright, too. */
export const WIDEST = 16 / 9;
const NARROWEST = 4 / 3;
const NARROWEST_UPRIGHT = 4 / 5;

/**
 * @param {{ count: number, width: number, height: number, gap: number, narrowest?: number }} of a
 *   space in pixels
 * @returns {{ width: number, height: number }} of each tile, in whole pixels
 */
export function tileSize({ count, width, height, gap, narrowest = narrowestIn(width, height) }) {
  let best = { width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    let w = (width - gap * (columns - 1)) / columns;
    let h = (height - gap * (rows - 1)) / rows;
    if (w <= 0 || h <= 0) continue;
    if (w / h > WIDEST) w = h * WIDEST;
    else if (w / h < narrowest) h = w / narrowest;
    if (w * h > best.width * best.height) best = { width: Math.floor(w), height: Math.floor(h) };
  }
  return best;
}

/** @param {number} width @param {number} height */
function narrowestIn(width, height) {
  return width < height ? NARROWEST_UPRIGHT : NARROWEST;
}
