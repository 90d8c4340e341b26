//! What an image really is, from its first bytes: PNG, JPEG, GIF or WebP, and how large its
//! picture is. Nothing is decoded.

use wire::limits;

/// The type of an image whose picture is small enough to be decoded.
///
/// # Errors
/// A sentence for people.
pub(crate) fn inspect(bytes: &[u8]) -> Result<&'static str, String> {
    let (mime, size) = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        ("image/png", png(bytes))
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        ("image/jpeg", jpeg(bytes))
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        ("image/gif", gif(bytes))
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        ("image/webp", webp(bytes))
    } else {
        return Err("it is not a PNG, JPEG, GIF or WebP image".to_owned());
    };
    let (width, height) = size.ok_or_else(|| "the image is damaged".to_owned())?;
    let pixels = u64::from(width) * u64::from(height);
    let side = limits::IMAGE_SIDE_PIXELS;
    if width == 0 || height == 0 || width > side || height > side || pixels > limits::IMAGE_PIXELS {
        return Err(format!("its picture of {width} × {height} pixels is not accepted"));
    }
    Ok(mime)
}

type Size = Option<(u32, u32)>;

fn big_endian(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<[u8; 2]> {
    bytes.get(at..at + 2)?.try_into().ok()
}

fn png(bytes: &[u8]) -> Size {
    if bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    Some((big_endian(bytes, 16)?, big_endian(bytes, 20)?))
}

fn gif(bytes: &[u8]) -> Size {
    let side = |at| short(bytes, at).map(|side| u32::from(u16::from_le_bytes(side)));
    Some((side(6)?, side(8)?))
}

/// Walks from marker to marker up to the start of a frame (ITU T.81, annex B).
fn jpeg(bytes: &[u8]) -> Size {
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xFF {
            return None;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            0xFF => at += 1,
            0x01 | 0xD0..=0xD8 => at += 2,
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                let side = |at| short(bytes, at).map(|side| u32::from(u16::from_be_bytes(side)));
                return Some((side(at + 7)?, side(at + 5)?));
            }
            0xD9 | 0xDA | 0x00 => return None,
            _ => {
                let length = usize::from(u16::from_be_bytes(short(bytes, at + 2)?));
                at += 2 + length.max(2);
            }
        }
    }
}

fn webp(bytes: &[u8]) -> Size {
    let chunk = bytes.get(12..16)?;
    let data = bytes.get(20..)?;
    match chunk {
        b"VP8 " => {
            if data.get(3..6)? != [0x9D, 0x01, 0x2A] {
                return None;
            }
            let side =
                |at| short(data, at).map(|side| u32::from(u16::from_le_bytes(side) & 0x3FFF));
            Some((side(6)?, side(8)?))
        }
        b"VP8L" => {
            if *data.first()? != 0x2F {
                return None;
            }
            let bits = u32::from_le_bytes(data.get(1..5)?.try_into().ok()?);
            Some(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
        }
        b"VP8X" => {
            let side = |at: usize| {
                let b = data.get(at..at + 3)?;
                Some(u32::from_le_bytes([b[0], b[1], b[2], 0]) + 1)
            };
            Some((side(4)?, side(7)?))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The beginning of a PNG.
    pub(in crate::transfer) fn png(width: u32, height: u32) -> Vec<u8> {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        png.extend(width.to_be_bytes());
        png.extend(height.to_be_bytes());
        png.extend([8, 6, 0, 0, 0]);
        png
    }

    fn riff(chunk: &[u8; 4], data: &[u8]) -> Vec<u8> {
        [b"RIFF\0\0\0\0WEBP", &chunk[..], &[0; 4], data].concat()
    }

    #[test]
    fn each_type_is_known_by_its_content() {
        let jpeg =
            b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08\x00\x1e\x00\x28\x03rest".to_vec();
        assert_eq!(super::jpeg(&jpeg), Some((40, 30)));
        let webp = riff(b"VP8 ", &[0, 0, 0, 0x9D, 1, 0x2A, 40, 0, 30, 0]);
        assert_eq!(super::webp(&webp), Some((40, 30)));
        let lossless = riff(b"VP8L", &[0x2F, 39, 0x40, 7, 0]);
        assert_eq!(super::webp(&lossless), Some((40, 30)));
        let extended = riff(b"VP8X", &[0, 0, 0, 0, 39, 0, 0, 29, 0, 0]);
        assert_eq!(super::webp(&extended), Some((40, 30)));
        for (bytes, mime) in [
            (png(40, 30), "image/png"),
            (jpeg, "image/jpeg"),
            (b"GIF89a\x28\x00\x1e\x00".to_vec(), "image/gif"),
            (webp, "image/webp"),
        ] {
            assert_eq!(inspect(&bytes), Ok(mime));
        }
    }

    #[test]
    fn what_is_cut_off_or_monstrous_is_refused() {
        for bytes in [
            &b""[..],
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xd9",
            b"GIF89a\x28",
            b"RIFF\0\0\0\0WEBPVP8 ",
            &png(0, 30),
            &png(16_385, 1),
            &png(9_000, 9_000),
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        ] {
            assert!(inspect(bytes).is_err(), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in 0_usize..6, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let head: &[u8] = [
                &b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..], b"\xff\xd8\xff", b"GIF89a",
                b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8L", b"RIFF\0\0\0\0WEBPVP8X",
            ][head];
            let _ = inspect(&[head, &bytes].concat());
        }
    }
}
