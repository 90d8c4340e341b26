//! One picture: planar YUV 4:2:0.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use ffmpeg_next::frame::Video as AvFrame;

use crate::video::MAX_SIDE;
use crate::video::convert::{Converter, DecodedPicture};

/// Rows start at multiples of this many bytes, so that vector code reads and writes whole lanes.
const ROW_ALIGN: usize = 64;
/// Bytes behind the last row of a plane, because vector code may touch a lane more than it needs.
pub(crate) const TAIL: usize = 64;

/// A picture in planar YUV 4:2:0 (I420), 8 bit, BT.601 matrix, limited range (Y 16 to 235),
/// whatever the camera or the codec delivered. Share it as `Arc<Frame>`, as [`Slot`](crate::Slot)
/// does.
pub struct Frame {
    width: u32,
    height: u32,
    captured: Instant,
    store: Store,
}

/// Where the samples live.
enum Store {
    /// One allocation, the planes one behind the other at these offsets.
    Owned { data: Vec<u8>, offsets: [usize; 3], strides: [usize; 3] },
    /// A picture that FFmpeg decoded, uncopied.
    Decoded(DecodedPicture),
}

/// One plane of a [`Frame`]. Row `r` is `data[r * stride..][..width]`; the last row may end
/// without its padding.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// The samples.
    pub data: &'a [u8],
    /// Bytes from the start of a row to the start of the next.
    pub stride: usize,
    /// Samples in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl<'a> Plane<'a> {
    /// The rows, top first, without padding.
    pub fn rows(self) -> impl Iterator<Item = &'a [u8]> {
        let width = self.width as usize;
        self.data.chunks(self.stride).take(self.height as usize).map(move |row| &row[..width])
    }
}

impl Frame {
    /// A black picture.
    ///
    /// # Panics
    ///
    /// When a side is 0 or longer than [`MAX_SIDE`].
    pub fn new(width: u32, height: u32, captured: Instant) -> Self {
        Self::filled(width, height, captured, [16, 128, 128])
    }

    /// A picture of one colour, given as Y, U, V.
    ///
    /// # Panics
    ///
    /// When a side is 0 or longer than [`MAX_SIDE`].
    pub fn filled(width: u32, height: u32, captured: Instant, yuv: [u8; 3]) -> Self {
        assert!((1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height));
        let rows = [height, chroma(height), chroma(height)];
        let strides = [width, chroma(width), chroma(width)]
            .map(|width| (width as usize).next_multiple_of(ROW_ALIGN));
        let (mut data, mut offsets) = (Vec::new(), [0; 3]);
        for plane in 0..3 {
            offsets[plane] = data.len();
            let len = strides[plane] * rows[plane] as usize + TAIL;
            data.resize(offsets[plane] + len, yuv[plane]);
        }
        Self { width, height, captured, store: Store::Owned { data, offsets, strides } }
    }

    /// A picture decoded by FFmpeg, without a copy; `None` when it is not 8-bit planar 4:2:0.
    /// Whether matrix and range are the right ones is the caller's affair.
    pub(crate) fn from_decoded(picture: AvFrame, captured: Instant) -> Option<Self> {
        let (width, height) = (picture.width(), picture.height());
        let store = Store::Decoded(DecodedPicture::new(picture)?);
        Some(Self { width, height, captured, store })
    }

    /// Pixels across.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// When the picture was captured or, for one from the network, decoded.
    pub fn captured(&self) -> Instant {
        self.captured
    }

    /// Luma, [`Frame::width`] × [`Frame::height`].
    pub fn y(&self) -> Plane<'_> {
        self.plane(0)
    }

    /// Blue difference, half as wide and high, rounded up.
    pub fn u(&self) -> Plane<'_> {
        self.plane(1)
    }

    /// Red difference, half as wide and high, rounded up.
    pub fn v(&self) -> Plane<'_> {
        self.plane(2)
    }

    /// The picture scaled to exactly `width` × `height` (its shape is the caller's affair), as
    /// RGBA, 4 bytes a pixel, rows one behind the other. Who does this for every picture keeps an
    /// [`RgbaScaler`].
    pub fn to_rgba(&self, width: u32, height: u32) -> Vec<u8> {
        RgbaScaler::new().scale(self, width, height)
    }

    /// A copy with a time of its own, to draw on.
    pub(crate) fn copy(&self, captured: Instant) -> Self {
        let mut copy = Self::new(self.width, self.height, captured);
        for plane in 0..3 {
            let (data, stride) = copy.plane_mut(plane);
            for (to, from) in data.chunks_mut(stride).zip(self.plane(plane).rows()) {
                to[..from.len()].copy_from_slice(from);
            }
        }
        copy
    }

    /// Plane 0, 1 or 2.
    pub(crate) fn plane(&self, plane: usize) -> Plane<'_> {
        let (width, height) = self.plane_size(plane);
        let (data, stride) = match &self.store {
            Store::Owned { data, offsets, strides } => (&data[offsets[plane]..], strides[plane]),
            Store::Decoded(picture) => picture.plane(plane),
        };
        let len = stride * (height as usize - 1) + width as usize;
        Plane { data: &data[..len], stride, width, height }
    }

    /// Plane 0, 1 or 2 for drawing: its whole rows, and the stride.
    pub(crate) fn plane_mut(&mut self, plane: usize) -> (&mut [u8], usize) {
        let (_, height) = self.plane_size(plane);
        match &mut self.store {
            Store::Owned { data, offsets, strides } => {
                let len = strides[plane] * height as usize + TAIL;
                (&mut data[offsets[plane]..][..len], strides[plane])
            }
            Store::Decoded(_) => unreachable!("only frames of our own are drawn on"),
        }
    }

    fn plane_size(&self, plane: usize) -> (u32, u32) {
        match plane {
            0 => (self.width, self.height),
            _ => (chroma(self.width), chroma(self.height)),
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({}×{})", self.width, self.height)
    }
}

/// The length of a chroma row or column for a luma row or column of `side`.
fn chroma(side: u32) -> u32 {
    side.div_ceil(2)
}

/// Scales pictures to RGBA and remembers how between calls of the same sizes.
#[derive(Debug, Default)]
pub struct RgbaScaler {
    converter: Converter,
}

impl RgbaScaler {
    /// A scaler that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// [`Frame::to_rgba`].
    ///
    /// # Panics
    ///
    /// When a side is 0 or longer than [`MAX_SIDE`].
    pub fn scale(&mut self, frame: &Frame, width: u32, height: u32) -> Vec<u8> {
        assert!((1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height));
        self.converter.rgba(frame, width, height)
    }
}

/// Why a picture could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the picture {path}")]
pub struct PngError {
    path: String,
    #[source]
    source: image::ImageError,
}

/// Writes the picture in its own size as a PNG file.
///
/// # Errors
///
/// When the file can't be written.
pub fn write_png(frame: &Frame, path: impl AsRef<Path>) -> Result<(), PngError> {
    let path = path.as_ref();
    let (width, height) = (frame.width(), frame.height());
    let rgb: Vec<u8> =
        frame.to_rgba(width, height).chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
    let write = || {
        let file = BufWriter::new(File::create(path)?);
        let encoder = image::codecs::png::PngEncoder::new(file);
        let colour = image::ExtendedColorType::Rgb8;
        image::ImageEncoder::write_image(encoder, &rgb, width, height, colour)
    };
    write().map_err(|source| PngError { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_have_room_for_the_last_chroma_sample() {
        let frame = Frame::filled(5, 3, Instant::now(), [81, 90, 240]);
        assert_eq!((frame.u().width, frame.u().height), (3, 2));
        assert_eq!(frame.y().rows().count(), 3);
        assert!(frame.v().rows().all(|row| row == [240; 3]));
    }

    #[test]
    fn colours_are_converted_with_the_right_matrix_and_range() {
        for (yuv, rgb) in [
            ([16, 128, 128], [0, 0, 0]),
            ([235, 128, 128], [255, 255, 255]),
            ([81, 90, 240], [255, 0, 0]),
            ([145, 54, 34], [0, 255, 0]),
            ([41, 240, 110], [0, 0, 255]),
        ] {
            let rgba = Frame::filled(64, 48, Instant::now(), yuv).to_rgba(31, 17);
            assert_eq!(rgba.len(), 31 * 17 * 4);
            for pixel in rgba.chunks_exact(4) {
                assert_eq!(pixel[3], 255);
                for (is, want) in pixel.iter().zip(rgb) {
                    assert!(is.abs_diff(want) <= 3, "{pixel:?} is not {rgb:?}");
                }
            }
        }
    }

    #[test]
    fn a_picture_is_written_as_png() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("red.png");
        write_png(&Frame::filled(20, 10, Instant::now(), [81, 90, 240]), &path).unwrap();
        let back = image::open(&path).unwrap().to_rgb8();
        assert_eq!(back.dimensions(), (20, 10));
        assert!(back.get_pixel(10, 5).0[0] > 250);
        let error = write_png(&Frame::new(2, 2, Instant::now()), dir.path().join("no/such.png"));
        assert!(error.is_err_and(|error| error.to_string().contains("no/such.png")));
    }
}
