//! The synthetic camera's picture, and how its frame counter is read back.
//!
//! The top-left corner of the picture holds 8 columns × 6 rows of square blocks. A block's side is
//! `height / 24`, rounded down to an even number of pixels and at least 2; the first block starts
//! one block to the right of and one below the corner, on mid-grey. White (Y ≥ 235) is 1, black
//! (Y = 16) is 0. Bits run row by row, most significant first: 32 bits of counter (rows 0 to 3),
//! then the CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) of the counter's four big-endian
//! bytes (rows 4 and 5). A reader takes the mean of the central half of each block, with 126 as
//! the threshold, and believes the counter only when the CRC agrees.
//!
//! A page reads the same blocks from a `<video>` drawn to a canvas of the video's own size: the
//! green channel of `getImageData` will do, with 128 as the threshold.
//!
//! Beside the blocks stand the name, a smooth ground, a ball that bounces and a grating that
//! runs along the lower edge: enough motion and detail to measure an encoder with.

mod font;

use std::f32::consts::TAU;
use std::time::Instant;

use crate::Frame;

/// Blocks in a row.
pub const COLUMNS: u32 = 8;
/// Rows of blocks.
pub const ROWS: u32 = 6;
/// Means above this are white.
pub const THRESHOLD: u8 = 126;

const BLACK: u8 = 16;
const GREY: u8 = 126;
const WHITE: u8 = 235;
/// Letters of the name that are drawn at most; longer names are cut.
const MAX_LETTERS: usize = 40;

/// The side of a block in pixels, for a picture of this height.
pub fn block_side(height: u32) -> u32 {
    ((height / 24) & !1).max(2)
}

/// Draws picture number `counter` with `label`. Who draws many keeps a [`Painter`].
///
/// # Panics
///
/// When a side is 0 or longer than [`MAX_SIDE`](crate::video::MAX_SIDE).
pub fn draw(width: u32, height: u32, counter: u32, label: &str, captured: Instant) -> Frame {
    Painter::new(width, height, label).draw(counter, captured)
}

/// Draws the synthetic camera's pictures; what never changes is drawn once.
#[derive(Debug)]
pub struct Painter {
    ground: Frame,
    /// One period of the grating's brightness.
    grating: Vec<u8>,
}

impl Painter {
    /// A painter of pictures of this size. `label` is drawn below the blocks; letters and digits
    /// are known, other characters become boxes.
    ///
    /// # Panics
    ///
    /// When a side is 0 or longer than [`MAX_SIDE`](crate::video::MAX_SIDE).
    pub fn new(width: u32, height: u32, label: &str) -> Self {
        let mut ground = Frame::filled(width, height, Instant::now(), [GREY, 128, 128]);
        draw_ground(&mut ground);
        draw_label(&mut ground, label);
        let period = (width / 20).max(4) as usize;
        let wave = |x: usize| 126.0 + 70.0 * (x as f32 / period as f32 * TAU).sin();
        Self { ground, grating: (0..period).map(|x| wave(x) as u8).collect() }
    }

    /// Picture number `counter`.
    pub fn draw(&self, counter: u32, captured: Instant) -> Frame {
        let mut frame = self.ground.copy(captured);
        self.draw_grating(&mut frame, counter);
        draw_ball(&mut frame, counter);
        draw_counter(&mut frame, counter);
        frame
    }

    /// Bars that run along the lower eighth of the picture.
    fn draw_grating(&self, frame: &mut Frame, counter: u32) {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let period = self.grating.len();
        let shift = counter as usize * (width / 320).max(1) % period;
        let row: Vec<u8> = (0..width).map(|x| self.grating[(x + shift) % period]).collect();
        let (luma, stride) = frame.plane_mut(0);
        for line in height - height / 8..height {
            luma[line * stride..][..width].copy_from_slice(&row);
        }
    }
}

/// The counter that the picture shows; `None` when there is none or it can't be read.
///
/// Pictures that were scaled on their way are read, too: where the sender's height was no multiple
/// of 48, rounding has left its blocks a little smaller than a 24th of the height, so several
/// sizes are tried and the CRC tells which is right.
pub fn read_counter(frame: &Frame) -> Option<u32> {
    /// Sides in parts of the height: as drawn at 720 and 480, 360, 180, 1080, 540 and 270 lines.
    const SIDES: [f32; 6] = [1. / 24., 14. / 360., 6. / 180., 44. / 1080., 22. / 540., 10. / 270.];
    let height = frame.height();
    let scaled = SIDES.iter().map(|side| side * height as f32);
    let sides = std::iter::once(block_side(height) as f32).chain(scaled);
    sides.into_iter().find_map(|side| read_counter_of(frame, side))
}

/// Reads blocks with this side in pixels.
fn read_counter_of(frame: &Frame, side: f32) -> Option<u32> {
    let fits = |blocks: u32, length: u32| (blocks + 1) as f32 * side <= length as f32;
    if !fits(COLUMNS, frame.width()) || !fits(ROWS, frame.height()) {
        return None;
    }
    let luma = frame.y();
    // The central half of block number `block` in a row or column.
    let half = |block: u32| {
        let start = ((block as f32 + 1.25) * side).round() as usize;
        start..((block as f32 + 1.75) * side).round().max(start as f32 + 1.0) as usize
    };
    let mut bits = 0u64;
    for block in 0..COLUMNS * ROWS {
        let (columns, rows) = (half(block % COLUMNS), half(block / COLUMNS));
        let samples = (columns.len() * rows.len()) as u32;
        let mut sum = 0;
        for row in rows {
            let row = &luma.data[row * luma.stride..];
            sum += row[columns.clone()].iter().map(|&sample| u32::from(sample)).sum::<u32>();
        }
        bits = bits << 1 | u64::from(sum > u32::from(THRESHOLD) * samples);
    }
    let (counter, crc) = ((bits >> 16) as u32, bits as u16);
    (crc16(counter.to_be_bytes()) == crc).then_some(counter)
}

fn draw_counter(frame: &mut Frame, counter: u32) {
    let side = block_side(frame.height());
    if !has_room(frame, side) {
        return;
    }
    let bits = u64::from(counter) << 16 | u64::from(crc16(counter.to_be_bytes()));
    let (luma, stride) = frame.plane_mut(0);
    for block in 0..COLUMNS * ROWS {
        let (column, row) = (block % COLUMNS, block / COLUMNS);
        let white = bits >> (COLUMNS * ROWS - 1 - block) & 1 == 1;
        for line in side * (1 + row)..side * (2 + row) {
            let start = line as usize * stride + (side * (1 + column)) as usize;
            luma[start..start + side as usize].fill(if white { WHITE } else { BLACK });
        }
    }
}

/// Whether the blocks fit into the picture.
fn has_room(frame: &Frame, side: u32) -> bool {
    (COLUMNS + 1) * side <= frame.width() && (ROWS + 1) * side <= frame.height()
}

/// Smooth colours everywhere but around the blocks.
fn draw_ground(frame: &mut Frame) {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let side = block_side(frame.height()) as usize;
    let margin = (side * (COLUMNS as usize + 2), side * (ROWS as usize + 2));
    for plane in 0..3 {
        let shrink = if plane == 0 { 1 } else { 2 };
        let (width, height) = (width.div_ceil(shrink), height.div_ceil(shrink));
        let (data, stride) = frame.plane_mut(plane);
        for y in 0..height {
            for x in 0..width {
                if x * shrink < margin.0 && y * shrink < margin.1 {
                    continue;
                }
                data[y * stride + x] = match plane {
                    0 => 60 + (x * 80 / width + y * 60 / height) as u8,
                    1 => 108 + (x * 40 / width) as u8,
                    _ => 108 + (y * 40 / height) as u8,
                };
            }
        }
    }
}

/// The name, in the largest letters that fit below the blocks.
fn draw_label(frame: &mut Frame, label: &str) {
    let (width, height) = (frame.width(), frame.height());
    let side = block_side(height);
    let letters: Vec<char> = label.chars().take(MAX_LETTERS).collect();
    let across = letters.len() as u32 * (font::WIDTH + 1);
    let (left, top) = (side, side * (ROWS + 3));
    if across == 0 || width <= 2 * left {
        return;
    }
    let dot = ((width - 2 * left) / across).min(height / 60);
    // Seven dots of a sixtieth of the height below nine blocks of a 24th: within the picture.
    let (luma, stride) = frame.plane_mut(0);
    for (index, letter) in letters.into_iter().enumerate() {
        let start = left + index as u32 * (font::WIDTH + 1) * dot;
        for (row, bits) in font::glyph(letter).into_iter().enumerate() {
            for column in (0..font::WIDTH).filter(|column| bits >> (4 - column) & 1 == 1) {
                for line in 0..dot {
                    let y = (top + row as u32 * dot + line) as usize;
                    let x = (start + column * dot) as usize;
                    luma[y * stride + x..][..dot as usize].fill(WHITE);
                }
            }
        }
    }
}

/// A chequered ball that bounces between the edges, right of the blocks.
fn draw_ball(frame: &mut Frame, counter: u32) {
    let (width, height) = (i64::from(frame.width()), i64::from(frame.height()));
    let radius = height / 8;
    let side = i64::from(block_side(frame.height()));
    let (left, right) = (side * i64::from(COLUMNS + 2) + radius, width - radius - 1);
    let (top, bottom) = (radius, height - height / 8 - radius - 1);
    if left >= right || top >= bottom || radius < 4 {
        return;
    }
    let step = (height / 120).max(1);
    let x = left + bounce(i64::from(counter) * step, right - left);
    let y = top + bounce(i64::from(counter) * step * 2 / 3, bottom - top);
    let cell = (radius / 3).max(1);
    for plane in 0..3 {
        let shrink = if plane == 0 { 1 } else { 2 };
        let (x, y, radius) = (x / shrink, y / shrink, radius / shrink);
        let (data, stride) = frame.plane_mut(plane);
        for dy in -radius..=radius {
            let half = (radius * radius - dy * dy).isqrt();
            let start = (y + dy) as usize * stride + (x - half) as usize;
            for (dx, sample) in (-half..=half).zip(&mut data[start..]) {
                let bright = ((dx + radius) / cell + (dy + radius) / cell) % 2 == 0;
                *sample = match (plane, bright) {
                    (0, true) => 200,
                    (0, false) => 70,
                    (1, _) => 90,
                    _ => 180,
                };
            }
        }
    }
}

/// Runs from 0 to `range` and back.
fn bounce(way: i64, range: i64) -> i64 {
    let way = way % (2 * range);
    if way < range { way } else { 2 * range - way }
}

/// CRC-16/CCITT-FALSE.
fn crc16(bytes: [u8; 4]) -> u16 {
    bytes.into_iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_ccitt_false() {
        // The usual check value is for "123456789"; four bytes by the same definition.
        assert_eq!(crc16(*b"1234"), 0x5349);
        assert_eq!(crc16([0; 4]), 0x84C0);
    }

    #[test]
    fn the_counter_is_read_back_at_every_size() {
        for (width, height) in
            [(1280, 720), (640, 480), (640, 360), (320, 180), (4096, 2160), (161, 97)]
        {
            for counter in [0, 1, 0xDEAD_BEEF, u32::MAX] {
                let frame = draw(width, height, counter, "Zoë", Instant::now());
                assert_eq!(read_counter(&frame), Some(counter), "{width}×{height}");
            }
        }
    }

    #[test]
    fn the_counter_is_read_back_after_scaling() {
        let mut converter = crate::video::convert::Converter::default();
        for (width, height) in [(1920, 1080), (1280, 720), (640, 480), (640, 360), (480, 270)] {
            let frame = draw(width, height, 12_345, "ada", Instant::now());
            for scale in [0.4, 0.5, 0.75, 1.0, 1.5] {
                let side = |side: u32| (side as f32 * scale) as u32;
                let scaled = converter.scaled(&frame, side(width), side(height));
                assert_eq!(read_counter(&scaled), Some(12_345), "{height} lines by {scale}");
            }
        }
    }

    #[test]
    fn a_picture_without_blocks_has_no_counter() {
        assert_eq!(read_counter(&Frame::new(1280, 720, Instant::now())), None);
        let frame = Frame::filled(640, 480, Instant::now(), [235, 128, 128]);
        assert_eq!(read_counter(&frame), None);
        assert_eq!(read_counter(&Frame::new(8, 8, Instant::now())), None);
    }

    #[test]
    fn one_wrong_block_is_found_out() {
        let mut frame = draw(640, 480, 77, "", Instant::now());
        let (luma, stride) = frame.plane_mut(0);
        for line in 20..40 {
            for sample in &mut luma[line * stride + 20..line * stride + 40] {
                *sample = 251 - *sample;
            }
        }
        assert_eq!(read_counter(&frame), None);
    }

    #[test]
    fn two_pictures_differ_beside_the_blocks_too() {
        let painter = Painter::new(640, 360, "ada");
        let (one, two) = (painter.draw(1, Instant::now()), painter.draw(2, Instant::now()));
        let lower_half = |frame: &Frame| -> Vec<Vec<u8>> {
            frame.y().rows().skip(180).map(<[u8]>::to_vec).collect()
        };
        assert_ne!(lower_half(&one), lower_half(&two));
    }

    #[test]
    fn any_label_and_any_size_can_be_drawn() {
        for (width, height) in [(1, 1), (2, 2), (16, 16), (17, 4096), (4096, 17), (99, 61)] {
            for label in ["", "a", "日本語 and a very long name that does not fit anywhere at all"]
            {
                for counter in [0, 5, u32::MAX] {
                    draw(width, height, counter, label, Instant::now());
                }
            }
        }
    }
}
