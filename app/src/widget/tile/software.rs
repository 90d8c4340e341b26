//! The picture as an image, for the software renderer: scaled to the very pixels of the tile.

use iced::advanced::image::{FilterMethod, Handle, Image, Renderer as _};
use iced::{Radians, Rectangle, border};
use media::{Frame, RgbaScaler};

use super::Placement;
use crate::theme;

/// What an image depends on beside the frame and its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    pub(super) version: u64,
    pub(super) mirrored: bool,
    pub(super) radius: f32,
    pub(super) ring: bool,
    pub(super) scale_factor: f32,
}

/// The image made last, and what it was made for.
#[derive(Debug, Default)]
pub(super) struct State {
    scaler: RgbaScaler,
    ready: Option<Ready>,
}

#[derive(Debug)]
struct Ready {
    placement: Placement,
    look: Look,
    handle: Handle,
    /// Logical pixels, on whole physical ones.
    bounds: Rectangle,
}

impl State {
    /// Makes the image, unless it is there already.
    pub(super) fn prepare(&mut self, frame: &Frame, placement: &Placement, look: Look) {
        if let Some(ready) = &self.ready
            && ready.look == look
            && ready.placement == *placement
        {
            return;
        }
        let scale = look.scale_factor;
        let left = (placement.bounds.x * scale).round();
        let top = (placement.bounds.y * scale).round();
        let width = (placement.bounds.width * scale).round();
        let height = (placement.bounds.height * scale).round();
        if width < 1.0 || height < 1.0 {
            self.ready = None;
            return;
        }
        let mut pixels = Pixels::cut(&mut self.scaler, frame, placement.crop, width, height);
        if look.mirrored {
            pixels.mirror();
        }
        let ring = if look.ring { (theme::RING * scale).round() } else { 0.0 };
        pixels.finish_edge(look.radius * scale, ring);
        let handle = Handle::from_rgba(pixels.width as u32, pixels.height as u32, pixels.rgba);
        let bounds = Rectangle {
            x: left / scale,
            y: top / scale,
            width: width / scale,
            height: height / scale,
        };
        self.ready = Some(Ready { placement: *placement, look, handle, bounds });
    }

    pub(super) fn draw(&self, renderer: &mut iced::Renderer, clip: &Rectangle) {
        let Some(ready) = &self.ready else {
            return;
        };
        let image = Image {
            handle: ready.handle.clone(),
            // Pixel for pixel, so there is nothing to filter.
            filter_method: FilterMethod::Nearest,
            rotation: Radians(0.0),
            border_radius: border::Radius::default(),
            opacity: 1.0,
            snap: true,
        };
        // The renderer cuts fractions off; a hundredth of a pixel keeps it from losing a whole
        // one to rounding.
        let nudge = 0.01 / ready.look.scale_factor;
        let bounds =
            Rectangle { x: ready.bounds.x + nudge, y: ready.bounds.y + nudge, ..ready.bounds };
        renderer.draw_image(image, bounds, *clip);
    }
}

/// RGBA, rows one behind the other.
struct Pixels {
    width: usize,
    height: usize,
    rgba: Vec<u8>,
}

impl Pixels {
    /// Scales the part of the frame that is seen to `width` × `height`.
    fn cut(
        scaler: &mut RgbaScaler,
        frame: &Frame,
        crop: Rectangle,
        width: f32,
        height: f32,
    ) -> Self {
        let whole = ((width / crop.width).round(), (height / crop.height).round());
        let rgba = scaler.scale(frame, whole.0 as u32, whole.1 as u32);
        let (width, height) = (width as usize, height as usize);
        let (from, row) = (whole.0 as usize, width * 4);
        if (from, whole.1 as usize) == (width, height) {
            return Self { width, height, rgba };
        }
        let left = (from - width) / 2 * 4;
        let top = (whole.1 as usize - height) / 2;
        let mut seen = Vec::with_capacity(row * height);
        for line in rgba.chunks_exact(from * 4).skip(top).take(height) {
            seen.extend_from_slice(&line[left..left + row]);
        }
        Self { width, height, rgba: seen }
    }

    fn mirror(&mut self) {
        for row in self.rgba.chunks_exact_mut(self.width * 4) {
            let (pixels, _) = row.as_chunks_mut::<4>();
            pixels.reverse();
        }
    }

    /// Makes the corners transparent outside a circle, and draws a line of `ring` pixels along
    /// the edge; softly over one pixel.
    fn finish_edge(&mut self, radius: f32, ring: f32) {
        let radius = radius.min(self.width as f32 / 2.0).min(self.height as f32 / 2.0);
        let corner = radius.ceil() as usize;
        let line = (ring as usize).min(self.width / 2).min(self.height / 2);
        let [red, green, blue, _] = theme::RING_COLOR.into_rgba8();
        for y in 0..self.height {
            let edge_row = y < line || y >= self.height - line;
            let sides = if edge_row { self.width } else { line };
            for x in (0..sides).chain((self.width - line).max(sides)..self.width) {
                let at = (y * self.width + x) * 4;
                self.rgba[at..at + 3].copy_from_slice(&[red, green, blue]);
            }
        }
        for y in 0..corner {
            for x in 0..corner {
                let (dx, dy) = (radius - x as f32 - 0.5, radius - y as f32 - 0.5);
                let outside = dx.max(0.0).hypot(dy.max(0.0)) - radius;
                let alpha = ((0.5 - outside).clamp(0.0, 1.0) * 255.0).round() as u8;
                let share = if line == 0 { 0.0 } else { (outside + ring + 0.5).clamp(0.0, 1.0) };
                let (right, bottom) = (self.width - 1 - x, self.height - 1 - y);
                for (x, y) in [(x, y), (right, y), (x, bottom), (right, bottom)] {
                    let pixel = &mut self.rgba[(y * self.width + x) * 4..][..4];
                    for (channel, ring) in pixel.iter_mut().zip([red, green, blue]) {
                        let (old, new) = (f32::from(*channel), f32::from(ring));
                        *channel = (old + (new - old) * share).round() as u8;
                    }
                    pixel[3] = alpha;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn pixels(width: usize, height: usize) -> Pixels {
        let rgba = (0..width * height).flat_map(|i| [i as u8, 0, 0, 255]).collect();
        Pixels { width, height, rgba }
    }

    #[test]
    fn mirroring_swaps_left_and_right() {
        let mut pixels = pixels(3, 2);
        pixels.mirror();
        let reds: Vec<u8> = pixels.rgba.chunks(4).map(|pixel| pixel[0]).collect();
        assert_eq!(reds, [2, 1, 0, 5, 4, 3]);
    }

    #[test]
    fn corners_are_transparent_and_the_middle_is_not() {
        let mut pixels = pixels(40, 30);
        pixels.finish_edge(12.0, 0.0);
        let alpha = |x: usize, y: usize| pixels.rgba[(y * 40 + x) * 4 + 3];
        for corner in [(0, 0), (39, 0), (0, 29), (39, 29)] {
            assert_eq!(alpha(corner.0, corner.1), 0);
        }
        assert_eq!((alpha(20, 0), alpha(0, 15), alpha(20, 15)), (255, 255, 255));
    }

    #[test]
    fn only_the_seen_part_is_kept() {
        let frame = Frame::filled(64, 48, Instant::now(), [235, 128, 128]);
        let crop = Rectangle { x: 0.0, y: 0.125, width: 1.0, height: 0.75 };
        let cut = Pixels::cut(&mut RgbaScaler::new(), &frame, crop, 160.0, 90.0);
        assert_eq!((cut.width, cut.height, cut.rgba.len()), (160, 90, 160 * 90 * 4));
    }
}
