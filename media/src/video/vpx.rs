//! The VP8 encoder: libvpx itself, because FFmpeg's wrapper ignores bit rate changes.
//!
//! The only module that talks to libvpx; everything else is safe.

use std::ffi::{CStr, c_int, c_uint};
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use bytes::Bytes;
use vpx_sys::{self as vpx, vp8e_enc_control_id as control};

use crate::Frame;
use crate::video::VIDEO_CLOCK_HZ;

/// Fixed speed: with a positive value libvpx spends the time that is left on quality, with a
/// negative one it leaves it to others.
const SPEED: c_int = -8;
/// The coarsest quantiser (0 to 63) before pictures are left out instead.
const MAX_QUANTIZER: c_uint = 56;
/// Buffer fullness in percent below which a picture is left out to hold the bit rate.
const DROP_BELOW: c_uint = 30;
/// The decoder buffer that the rate control models, in milliseconds: whole, at the start, aimed
/// at.
const BUFFER_MS: [c_uint; 3] = [1000, 500, 600];

/// What libvpx said no to.
#[derive(Debug, thiserror::Error)]
#[error("libvpx cannot {what}: {why}")]
pub(crate) struct VpxError {
    what: &'static str,
    why: String,
}

/// A VP8 encoder for pictures of one size.
pub(crate) struct Vp8Encoder {
    /// Boxed because libvpx keeps no pointer to it but its documentation never promises so.
    context: Box<vpx::vpx_codec_ctx_t>,
    config: vpx::vpx_codec_enc_cfg_t,
}

// SAFETY: a codec context has no thread affinity; `&mut self` guards every use.
unsafe impl Send for Vp8Encoder {}

/// One picture out of the encoder.
pub(crate) struct Encoded {
    pub data: Bytes,
    pub key: bool,
}

impl Vp8Encoder {
    /// An encoder for pictures of `width` × `height`.
    pub fn new(width: u32, height: u32, fps: u32, bitrate_bps: u32) -> Result<Self, VpxError> {
        let mut config = MaybeUninit::zeroed();
        // SAFETY: the interface pointer is a static of libvpx; the call fills `config` when it
        // returns OK, and all-zero bytes are not read before.
        let (interface, mut config) = unsafe {
            let interface = vpx::vpx_codec_vp8_cx();
            check("find its defaults", || {
                vpx::vpx_codec_enc_config_default(interface, config.as_mut_ptr(), 0)
            })?;
            (interface, config.assume_init())
        };
        config.g_w = width;
        config.g_h = height;
        config.g_timebase = vpx::vpx_rational { num: 1, den: VIDEO_CLOCK_HZ as c_int };
        config.g_threads = if width * height > 1280 * 720 { 2 } else { 1 };
        config.g_error_resilient = vpx::VPX_ERROR_RESILIENT_DEFAULT;
        config.g_lag_in_frames = 0;
        config.g_pass = vpx::vpx_enc_pass::VPX_RC_ONE_PASS;
        config.rc_end_usage = vpx::vpx_rc_mode::VPX_CBR;
        config.rc_target_bitrate = kilobits(bitrate_bps);
        config.rc_resize_allowed = 0;
        config.rc_dropframe_thresh = DROP_BELOW;
        config.rc_min_quantizer = 2;
        config.rc_max_quantizer = MAX_QUANTIZER;
        config.rc_undershoot_pct = 100;
        config.rc_overshoot_pct = 15;
        [config.rc_buf_sz, config.rc_buf_initial_sz, config.rc_buf_optimal_sz] = BUFFER_MS;
        // Key frames only on demand: they are ten times as large as others.
        config.kf_mode = vpx::vpx_kf_mode::VPX_KF_DISABLED;

        // SAFETY: a context of zeroes is what libvpx expects to initialise.
        let mut context: Box<vpx::vpx_codec_ctx_t> =
            Box::new(unsafe { MaybeUninit::zeroed().assume_init() });
        let version = vpx::VPX_ENCODER_ABI_VERSION as c_int;
        // SAFETY: the pointers are valid; libvpx copies the configuration.
        check("open an encoder", || unsafe {
            vpx::vpx_codec_enc_init_ver(&mut *context, interface, &config, 0, version)
        })?;
        let mut encoder = Self { context, config };
        encoder.control(control::VP8E_SET_CPUUSED, SPEED)?;
        encoder.control(control::VP8E_SET_NOISE_SENSITIVITY, 0)?;
        encoder.control(control::VP8E_SET_TOKEN_PARTITIONS, 0)?;
        encoder.control(control::VP8E_SET_STATIC_THRESHOLD, 1)?;
        // A key frame may be as large as half the modelled buffer: WebRTC's own rule.
        let intra = (BUFFER_MS[2] / 2 * fps / 10).max(300);
        encoder.control(control::VP8E_SET_MAX_INTRA_BITRATE_PCT, intra as c_int)?;
        Ok(encoder)
    }

    /// Changes the target bit rate from the next picture on.
    pub fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), VpxError> {
        self.config.rc_target_bitrate = kilobits(bitrate_bps);
        // SAFETY: the context is open and the configuration is the one it was opened with, but
        // for the rate.
        check("change the bit rate", || unsafe {
            vpx::vpx_codec_enc_config_set(&mut *self.context, &self.config)
        })
    }

    /// Encodes a picture of the encoder's size, shown at `time` for `duration`, both on the
    /// 90 kHz clock; `time` grows with every picture. `None` when it was left out to hold the bit
    /// rate.
    pub fn encode(
        &mut self,
        frame: &Frame,
        time: i64,
        duration: u32,
        key: bool,
    ) -> Result<Option<Encoded>, VpxError> {
        assert_eq!((frame.width(), frame.height()), (self.config.g_w, self.config.g_h));
        let mut image = MaybeUninit::<vpx::vpx_image_t>::zeroed();
        let (width, height) = (frame.width(), frame.height());
        let format = vpx::vpx_img_fmt::VPX_IMG_FMT_I420;
        // SAFETY: `vpx_img_wrap` only fills `image`; it does not read through the data pointer,
        // which must merely not be null. On success every field is set.
        let mut image = unsafe {
            let data = frame.y().data.as_ptr().cast_mut();
            let wrapped = vpx::vpx_img_wrap(image.as_mut_ptr(), format, width, height, 1, data);
            if wrapped.is_null() {
                return Err(VpxError { what: "describe a picture", why: "bad size".into() });
            }
            image.assume_init()
        };
        for (index, plane) in [frame.y(), frame.u(), frame.v()].into_iter().enumerate() {
            image.planes[index] = plane.data.as_ptr().cast_mut();
            image.stride[index] = plane.stride as c_int;
        }
        let flags = if key { i64::from(vpx::VPX_EFLAG_FORCE_KF) } else { 0 };
        // SAFETY: the planes outlive the call, hold `height` rows of `stride` bytes (the last of
        // `width`), and the encoder reads but never writes them.
        check("encode a picture", || unsafe {
            vpx::vpx_codec_encode(
                &mut *self.context,
                &image,
                time,
                u64::from(duration.max(1)) as _,
                flags as _,
                u64::from(vpx::VPX_DL_REALTIME) as _,
            )
        })?;
        Ok(self.take_packet())
    }

    fn take_packet(&mut self) -> Option<Encoded> {
        let mut iterator = ptr::null();
        let mut encoded = None;
        loop {
            // SAFETY: the context is open; the returned packet is valid until the next call on
            // it, and its data is copied before that.
            unsafe {
                let packet = vpx::vpx_codec_get_cx_data(&mut *self.context, &mut iterator);
                let Some(packet) = packet.as_ref() else { return encoded };
                if packet.kind != vpx::vpx_codec_cx_pkt_kind::VPX_CODEC_CX_FRAME_PKT {
                    continue;
                }
                let frame = packet.data.frame;
                let data = slice::from_raw_parts(frame.buf.cast::<u8>(), frame.sz);
                let key = frame.flags & vpx::VPX_FRAME_IS_KEY != 0;
                encoded = Some(Encoded { data: Bytes::copy_from_slice(data), key });
            }
        }
    }

    fn control(&mut self, id: control, value: c_int) -> Result<(), VpxError> {
        // SAFETY: every control that this module sets takes one int.
        check("set a control", || unsafe {
            vpx::vpx_codec_control_(&mut *self.context, id as c_int, value)
        })
    }
}

impl Drop for Vp8Encoder {
    fn drop(&mut self) {
        // SAFETY: the context was opened and nobody uses it after this.
        unsafe { vpx::vpx_codec_destroy(&mut *self.context) };
    }
}

impl std::fmt::Debug for Vp8Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vp8Encoder({}×{})", self.config.g_w, self.config.g_h)
    }
}

fn check(what: &'static str, call: impl FnOnce() -> vpx::vpx_codec_err_t) -> Result<(), VpxError> {
    let code = call();
    if code == vpx::vpx_codec_err_t::VPX_CODEC_OK {
        return Ok(());
    }
    // SAFETY: libvpx answers with a static string for every code.
    let why = unsafe { CStr::from_ptr(vpx::vpx_codec_err_to_string(code)) };
    Err(VpxError { what, why: why.to_string_lossy().into_owned() })
}

fn kilobits(bps: u32) -> c_uint {
    (bps / 1000).max(1)
}
