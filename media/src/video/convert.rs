//! Scaling and pixel formats, by FFmpeg's swscale.
//!
//! The only module that hands raw pictures to swscale; everything else is safe.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi::{self, AVPixelFormat, SwsContext};
use ffmpeg_next::frame::Video as AvFrame;
use ffmpeg_next::{color, format::Pixel};

use crate::Frame;
use crate::frame::TAIL;

/// What one swscale context is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Job {
    from: (Pixel, u32, u32),
    to: (Pixel, u32, u32),
    /// Matrix and range of the source, where it is YUV.
    bt709: bool,
    full_range: bool,
}

/// Converts pictures and keeps swscale's tables between pictures of the same kind.
#[derive(Debug)]
pub(crate) struct Converter {
    context: *mut SwsContext,
    job: Option<Job>,
}

// SAFETY: a SwsContext is plain memory without thread affinity; `&mut self` guards every use.
unsafe impl Send for Converter {}
// SAFETY: no method reads or writes the context through `&self`.
unsafe impl Sync for Converter {}

/// A picture as a device delivers it: one buffer, rows without padding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub format: PackedFormat,
    pub width: u32,
    pub height: u32,
    pub data: &'a [u8],
}

/// The layouts that [`Packed`] may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackedFormat {
    Yuyv,
    Nv12,
    Rgb,
    Bgr,
    Rgba,
    Grey,
}

impl PackedFormat {
    fn pixel(self) -> Pixel {
        match self {
            Self::Yuyv => Pixel::YUYV422,
            Self::Nv12 => Pixel::NV12,
            Self::Rgb => Pixel::RGB24,
            Self::Bgr => Pixel::BGR24,
            Self::Rgba => Pixel::RGBA,
            Self::Grey => Pixel::GRAY8,
        }
    }

    /// Bytes in a row and rows of each plane.
    fn planes(self, width: usize, height: usize) -> Vec<(usize, usize)> {
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        match self {
            Self::Yuyv => vec![(half_width * 4, height)],
            Self::Nv12 => vec![(width, height), (half_width * 2, half_height)],
            Self::Rgb | Self::Bgr => vec![(width * 3, height)],
            Self::Rgba => vec![(width * 4, height)],
            Self::Grey => vec![(width, height)],
        }
    }
}

impl Default for Converter {
    fn default() -> Self {
        Self { context: ptr::null_mut(), job: None }
    }
}

impl Converter {
    /// A picture scaled to RGBA, tightly packed.
    pub fn rgba(&mut self, frame: &Frame, width: u32, height: u32) -> Vec<u8> {
        let len = width as usize * height as usize * 4;
        let mut rgba = vec![0; len + TAIL];
        let job = Job {
            from: (Pixel::YUV420P, frame.width(), frame.height()),
            to: (Pixel::RGBA, width, height),
            bt709: false,
            full_range: false,
        };
        let (from, from_strides) = frame_pointers(frame);
        let to = [rgba.as_mut_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut()];
        // SAFETY: `from` points at the planes of a frame of the job's size, which have TAIL bytes
        // behind them; `to` at `height` rows of `4 * width` bytes and TAIL bytes more.
        unsafe { self.run(job, from, from_strides, to, [stride(width as usize * 4), 0, 0, 0]) };
        rgba.truncate(len);
        rgba
    }

    /// A frame scaled to another size.
    pub fn scaled(&mut self, frame: &Frame, width: u32, height: u32) -> Frame {
        let job = Job {
            from: (Pixel::YUV420P, frame.width(), frame.height()),
            to: (Pixel::YUV420P, width, height),
            bt709: false,
            full_range: false,
        };
        let mut out = Frame::new(width, height, frame.captured());
        let (from, from_strides) = frame_pointers(frame);
        let (to, to_strides) = frame_pointers_mut(&mut out);
        // SAFETY: both are planes of frames of the job's sizes.
        unsafe { self.run(job, from, from_strides, to, to_strides) };
        out
    }

    /// A device's picture as a frame of `width` × `height`; `None` when it is shorter than its
    /// size says or a side is 0.
    pub fn packed(
        &mut self,
        picture: Packed<'_>,
        width: u32,
        height: u32,
        captured: std::time::Instant,
    ) -> Option<Frame> {
        let planes = picture.format.planes(picture.width as usize, picture.height as usize);
        let need: usize = planes.iter().map(|(row, rows)| row * rows).sum();
        if need == 0 || picture.data.len() < need {
            return None;
        }
        // swscale may read a lane beyond the end, so the picture needs a tail of its own.
        let mut padded = Vec::with_capacity(need + TAIL);
        padded.extend_from_slice(&picture.data[..need]);
        padded.resize(need + TAIL, 0);
        let (mut from, mut from_strides, mut offset) = ([ptr::null(); 4], [0; 4], 0);
        for (plane, (row, rows)) in planes.into_iter().enumerate() {
            from[plane] = padded[offset..].as_ptr();
            from_strides[plane] = stride(row);
            offset += row * rows;
        }
        let job = Job {
            from: (picture.format.pixel(), picture.width, picture.height),
            to: (Pixel::YUV420P, width, height),
            bt709: false,
            full_range: false,
        };
        let mut out = Frame::new(width, height, captured);
        let (to, to_strides) = frame_pointers_mut(&mut out);
        // SAFETY: `from` points at whole planes inside `padded`, TAIL bytes before its end at
        // the latest; `to` at the planes of a frame of the job's size.
        unsafe { self.run(job, from, from_strides, to, to_strides) };
        Some(out)
    }

    /// A picture decoded by FFmpeg, in any pixel format it knows, as a frame; `None` when
    /// swscale can't read the format.
    pub fn decoded(
        &mut self,
        picture: &AvFrame,
        width: u32,
        height: u32,
        captured: std::time::Instant,
    ) -> Option<Frame> {
        let job = Job {
            from: (picture.format(), picture.width(), picture.height()),
            to: (Pixel::YUV420P, width, height),
            bt709: picture.color_space() == color::Space::BT709,
            full_range: is_full_range(picture),
        };
        let mut out = Frame::new(width, height, captured);
        let (to, to_strides) = frame_pointers_mut(&mut out);
        // SAFETY: a decoded AVFrame's `data` and `linesize` describe a picture of its format and
        // size, padded as FFmpeg's own code needs it; `to` points at a frame of the job's size.
        let done = unsafe {
            let av = &*picture.as_ptr();
            let from = [av.data[0], av.data[1], av.data[2], av.data[3]].map(|p| p.cast_const());
            let strides = [av.linesize[0], av.linesize[1], av.linesize[2], av.linesize[3]];
            self.run(job, from, strides, to, to_strides)
        };
        done.then_some(out)
    }

    /// Runs swscale; `false` when it does not know how.
    ///
    /// # Safety
    ///
    /// The pointers and strides must describe readable and writable pictures of the job's formats
    /// and sizes, with TAIL accessible bytes behind each plane.
    unsafe fn run(
        &mut self,
        job: Job,
        from: [*const u8; 4],
        from_strides: [c_int; 4],
        to: [*mut u8; 4],
        to_strides: [c_int; 4],
    ) -> bool {
        if self.job != Some(job) {
            self.prepare(job);
        }
        if self.context.is_null() {
            return false;
        }
        // SAFETY: the context was made for this job, the rest is the caller's promise.
        let rows = unsafe {
            ffi::sws_scale(
                self.context,
                from.as_ptr(),
                from_strides.as_ptr(),
                0,
                job.from.2 as c_int,
                to.as_ptr(),
                to_strides.as_ptr(),
            )
        };
        rows > 0
    }

    fn prepare(&mut self, job: Job) {
        self.job = Some(job);
        let ((from, from_width, from_height), (to, to_width, to_height)) = (job.from, job.to);
        let (from, to): (AVPixelFormat, AVPixelFormat) = (from.into(), to.into());
        // SAFETY: `context` is null or ours; the sizes are positive and the optional filters and
        // parameters are null. The coefficient tables are static in swscale.
        unsafe {
            ffi::sws_freeContext(self.context);
            self.context = ffi::sws_getContext(
                from_width as c_int,
                from_height as c_int,
                from,
                to_width as c_int,
                to_height as c_int,
                to,
                ffmpeg_next::software::scaling::Flags::BILINEAR.bits(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
            );
            if !self.context.is_null() {
                const BT709: c_int = 1;
                const BT601: c_int = 5;
                let source = ffi::sws_getCoefficients(if job.bt709 { BT709 } else { BT601 });
                let target = ffi::sws_getCoefficients(BT601);
                let (full, unit) = (c_int::from(job.full_range), 1 << 16);
                // Refused for pairs of formats to which it means nothing; then nothing is lost.
                ffi::sws_setColorspaceDetails(self.context, source, full, target, 0, 0, unit, unit);
            }
        }
    }
}

impl Drop for Converter {
    fn drop(&mut self) {
        // SAFETY: null or a context of ours that nobody uses after this.
        unsafe { ffi::sws_freeContext(self.context) };
    }
}

/// A picture in FFmpeg's memory: 8-bit planar 4:2:0, strides positive.
pub(crate) struct DecodedPicture(AvFrame);

impl DecodedPicture {
    /// `None` when it is anything else.
    pub fn new(picture: AvFrame) -> Option<Self> {
        // SAFETY: an AvFrame always points at a valid AVFrame.
        let av = unsafe { &*picture.as_ptr() };
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let fits = |plane: usize, width: usize| {
            let stride = usize::try_from(av.linesize[plane]).unwrap_or(0);
            stride >= width && !av.data[plane].is_null()
        };
        let half = width.div_ceil(2);
        let right = picture.format() == Pixel::YUV420P && width > 0 && height > 0;
        (right && fits(0, width) && fits(1, half) && fits(2, half)).then_some(Self(picture))
    }

    /// The samples of plane 0, 1 or 2 from the first of the first row to the last of the last,
    /// and the stride.
    pub fn plane(&self, plane: usize) -> (&[u8], usize) {
        let (width, height) = (self.0.width() as usize, self.0.height() as usize);
        let (width, height) =
            if plane == 0 { (width, height) } else { (width.div_ceil(2), height.div_ceil(2)) };
        // SAFETY: `new` has checked the format, so FFmpeg's contract for `data` and `linesize`
        // is that `height` rows of `width` samples stand `linesize` bytes apart; they live and
        // stay unchanged as long as the reference that the AVFrame holds. `data` is not null and
        // `linesize` is positive.
        unsafe {
            let av = &*self.0.as_ptr();
            let stride = av.linesize[plane] as usize;
            let len = stride * (height - 1) + width;
            (std::slice::from_raw_parts(av.data[plane], len), stride)
        }
    }
}

/// Whether the samples use all values from 0 to 255.
pub(crate) fn is_full_range(picture: &AvFrame) -> bool {
    let jpeg = [Pixel::YUVJ420P, Pixel::YUVJ422P, Pixel::YUVJ444P, Pixel::YUVJ440P];
    picture.color_range() == color::Range::JPEG || jpeg.contains(&picture.format())
}

fn frame_pointers(frame: &Frame) -> ([*const u8; 4], [c_int; 4]) {
    let planes = [frame.y(), frame.u(), frame.v()];
    let [y, u, v] = planes.map(|plane| plane.data.as_ptr());
    let [ys, us, vs] = planes.map(|plane| stride(plane.stride));
    ([y, u, v, ptr::null()], [ys, us, vs, 0])
}

fn frame_pointers_mut(frame: &mut Frame) -> ([*mut u8; 4], [c_int; 4]) {
    let (mut pointers, mut strides) = ([ptr::null_mut(); 4], [0; 4]);
    for plane in 0..3 {
        let (data, bytes) = frame.plane_mut(plane);
        (pointers[plane], strides[plane]) = (data.as_mut_ptr(), stride(bytes));
    }
    (pointers, strides)
}

fn stride(bytes: usize) -> c_int {
    c_int::try_from(bytes).expect("a row of a picture of at most 4096 pixels fits")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A picture of one red: in every format it must come out the same.
    fn check(format: PackedFormat, data: &[u8]) {
        let picture = Packed { format, width: 6, height: 4, data };
        let now = Instant::now();
        let mut converter = Converter::default();
        for (width, height) in [(6, 4), (3, 2), (30, 20)] {
            let frame = converter.packed(picture, width, height, now).unwrap();
            assert_eq!((frame.width(), frame.height()), (width, height));
            let near = |plane: crate::Plane<'_>, wanted: u8| {
                plane.rows().flatten().all(|sample| sample.abs_diff(wanted) <= 2)
            };
            assert!(near(frame.y(), 81), "{format:?}");
            assert!(near(frame.u(), 90) && near(frame.v(), 240), "{format:?}");
        }
        let short = Packed { data: &data[..data.len() - 1], ..picture };
        assert!(converter.packed(short, 6, 4, now).is_none());
    }

    #[test]
    fn every_format_of_a_camera_becomes_the_same_picture() {
        check(PackedFormat::Yuyv, &[81, 90, 81, 240].repeat(12));
        check(PackedFormat::Nv12, &[[81; 24].as_slice(), &[90, 240].repeat(6)].concat());
        check(PackedFormat::Rgb, &[255, 0, 0].repeat(24));
        check(PackedFormat::Bgr, &[0, 0, 255].repeat(24));
        check(PackedFormat::Rgba, &[255, 0, 0, 255].repeat(24));
        let grey = Packed { format: PackedFormat::Grey, width: 2, height: 2, data: &[255; 4] };
        let frame = Converter::default().packed(grey, 2, 2, Instant::now()).unwrap();
        assert!(frame.y().rows().flatten().all(|sample| *sample >= 234));
    }
}
