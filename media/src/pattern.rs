//! The synthetic camera's picture, and how its frame counter is read back.
//!
//! The top-left corner of the picture holds 8 columns × 6 rows of square blocks. A block's side is
//! `height / 24`, rounded down to an even number of pixels and at least 2; the first block starts
//! one block to the right of and below the corner, on mid-grey. White (Y ≥ 235) is 1, black (Y = 16) is 0. Bits
//! run row by row, most significant first: 32 bits of counter (rows 0 to 3), then the
//! CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) of the counter's four big-endian bytes
//! (rows 4 and 5). A reader takes the mean of the central half of each block, with 126 as the
//! threshold, and believes the counter only when the CRC agrees.
//!
//! A page reads the same blocks from a `<video>` drawn to a canvas of the video's own size: the
//! green channel of `getImageData` will do, with 128 as the threshold.

use std::time::Instant;

use crate::Frame;

/// Blocks in a row.
pub const COLUMNS: u32 = 8;
/// Rows of blocks.
pub const ROWS: u32 = 6;
/// Means above this are white.
pub const THRESHOLD: u8 = 126;

/// The side of a block in pixels, for a picture of this height.
pub fn block_side(height: u32) -> u32 {
    (height / 24 & !1).max(2)
}

/// Draws picture number `counter` with `label` (printable ASCII; other characters become boxes).
pub fn draw(width: u32, height: u32, counter: u32, label: &str, captured: Instant) -> Frame {
    let mut frame = Frame::filled(width, height, captured, [126, 128, 128]);
    draw_counter(&mut frame, counter);
    let _ = label;
    frame
}

/// The counter that the picture shows; `None` when there is none or it can't be read.
pub fn read_counter(frame: &Frame) -> Option<u32> {
    let side = block_side(frame.height());
    if (COLUMNS + 1) * side > frame.width() || (ROWS + 1) * side > frame.height() {
        return None;
    }
    let luma = frame.y();
    let mut bits = 0u64;
    for block in 0..COLUMNS * ROWS {
        let (column, row) = (block % COLUMNS, block / COLUMNS);
        let (quarter, half) = (side / 4, (side / 2).max(1));
        let (x, y) = (side * (1 + column) + quarter, side * (1 + row) + quarter);
        let mut sum = 0u32;
        for line in y..y + half {
            let start = line as usize * luma.stride + x as usize;
            sum +=
                luma.data[start..start + half as usize].iter().map(|&s| u32::from(s)).sum::<u32>();
        }
        let white = sum > u32::from(THRESHOLD) * half * half;
        bits = bits << 1 | u64::from(white);
    }
    let (counter, crc) = ((bits >> 16) as u32, bits as u16);
    (crc16(counter.to_be_bytes()) == crc).then_some(counter)
}

fn draw_counter(frame: &mut Frame, counter: u32) {
    let (width, height) = (frame.width(), frame.height());
    let side = block_side(height);
    if (COLUMNS + 1) * side > width || (ROWS + 1) * side > height {
        return; // too narrow for the counter
    }
    let bits = u64::from(counter) << 16 | u64::from(crc16(counter.to_be_bytes()));
    let (luma, stride) = frame.plane_mut(0);
    for block in 0..COLUMNS * ROWS {
        let (column, row) = (block % COLUMNS, block / COLUMNS);
        let white = bits >> (COLUMNS * ROWS - 1 - block) & 1 == 1;
        for line in side * (1 + row)..side * (2 + row) {
            let start = line as usize * stride + (side * (1 + column)) as usize;
            luma[start..start + side as usize].fill(if white { 235 } else { 16 });
        }
    }
}

/// CRC-16/CCITT-FALSE.
fn crc16(bytes: [u8; 4]) -> u16 {
    bytes.into_iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}
