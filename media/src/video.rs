//! Pictures: capture, encoding and decoding, each on its own thread.

pub mod camera;
pub(crate) mod convert;
pub mod decode;
pub(crate) mod device;
pub mod encode;
mod fake;
mod file;
mod grab;
pub mod screen;
mod vpx;

/// The RTP clock of every video codec (RFC 7741 §4.2, RFC 6184 §8.2.1), in hertz.
pub const VIDEO_CLOCK_HZ: u32 = 90_000;
/// The largest picture side that is decoded or captured, in pixels; larger pictures are refused.
pub const MAX_SIDE: u32 = 4096;

/// The video codecs this crate knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// VP8, encoded and decoded.
    Vp8,
    /// H.264, decoded only.
    H264,
    /// VP9, decoded only.
    Vp9,
    /// AV1, decoded only, and only where the system's FFmpeg has a decoder.
    Av1,
}

/// The largest size of the shape `width` × `height` within `max_width` × `max_height`, never
/// larger than it was; with even sides if it had to shrink.
pub(crate) fn fit(width: u32, height: u32, max_width: u32, max_height: u32) -> (u32, u32) {
    if width <= max_width && height <= max_height {
        return (width, height);
    }
    let scale =
        (f64::from(max_width) / f64::from(width)).min(f64::from(max_height) / f64::from(height));
    let side = |side: u32| ((f64::from(side) * scale).round() as u32 & !1).max(2);
    (side(width), side(height))
}

/// Makes FFmpeg ready, and keeps it from writing its own remarks to standard error: damaged packets
/// are every day's bread in a call, and each would be a line.
pub(crate) fn quiet_ffmpeg() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        ffmpeg_next::device::register_all();
        ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Fatal);
    });
}

/// How alike two pictures of the same size are: peak signal-to-noise ratio of the luma, in dB;
/// infinite when they are equal. Above 30 dB differences are hard to see.
///
/// # Panics
///
/// When the sizes differ.
pub fn psnr(one: &crate::Frame, other: &crate::Frame) -> f64 {
    assert_eq!((one.width(), one.height()), (other.width(), other.height()));
    let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    let rows = one.y().rows().zip(other.y().rows());
    let sum: u64 = rows.map(|(a, b)| a.iter().zip(b).map(square).sum::<u64>()).sum();
    let mean = sum as f64 / f64::from(one.width()) / f64::from(one.height());
    10.0 * (255.0 * 255.0 / mean).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_shrink_to_fit_and_keep_their_shape() {
        assert_eq!(fit(640, 480, 1280, 720), (640, 480));
        assert_eq!(fit(1920, 1080, 1280, 720), (1280, 720));
        assert_eq!(fit(1080, 1920, 1280, 720), (404, 720));
        assert_eq!(fit(4096, 2, 1280, 720), (1280, 2));
        assert_eq!(fit(641, 481, 1280, 720), (641, 481));
    }
}
