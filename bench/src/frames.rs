//! Just enough of WebSocket (RFC 6455) for a lean client: frames are masked before the run, and
//! what comes back is looked through where it lies.

/// The mask of every frame that this generator sends. Any will do (RFC 6455 §5.3 wants it
/// unpredictable against attacks that a measurement need not fear), but not zero, so that the
/// server has something to do.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];

/// The digits of a stamp.
const STAMP_DIGITS: usize = 16;
/// What stands before a stamp, and nowhere else in any message.
const STAMP_MARK: u8 = b'@';

/// A masked text frame with `payload`.
#[must_use]
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u16::try_from(payload.len()) {
        Ok(bytes @ 0..126) => frame.push(0x80 | bytes as u8),
        Ok(bytes) => {
            frame.push(0x80 | 126);
            frame.extend(bytes.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A masked chat message whose stamp is filled in when it is sent.
#[derive(Debug, Clone)]
pub struct Stamped {
    frame: Vec<u8>,
    stamp_at: usize,
    mask_phase: usize,
}

impl Stamped {
    /// A `chat.message` to `room` with a text of `bytes` bytes.
    #[must_use]
    pub fn chat(room: &str, bytes: usize) -> Self {
        let filler = "x".repeat(bytes.saturating_sub(1 + STAMP_DIGITS));
        let mark = char::from(STAMP_MARK);
        let payload = format!(
            r#"{{"type":"chat.message","room":"{room}","data":{{"message":"{mark}{:016}{filler}"}}}}"#,
            0
        );
        let frame = masked(1, payload.as_bytes());
        let at = payload.find(mark).expect("the mark was just written") + 1;
        Self { stamp_at: frame.len() - payload.len() + at, mask_phase: at, frame }
    }

    /// The frame, stamped with `nanoseconds`.
    pub fn stamp(&mut self, mut nanoseconds: u64) -> &[u8] {
        for place in (0..STAMP_DIGITS).rev() {
            let digit = b'0' + (nanoseconds % 10) as u8;
            self.frame[self.stamp_at + place] = digit ^ MASK[(self.mask_phase + place) % 4];
            nanoseconds /= 10;
        }
        &self.frame
    }
}

/// The stamp in a message, if it has one.
#[must_use]
pub fn stamp_of(payload: &[u8]) -> Option<u64> {
    let at = payload.iter().position(|byte| *byte == STAMP_MARK)? + 1;
    let digits = payload.get(at..at + STAMP_DIGITS)?;
    digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

/// A frame as it came, whole and unmasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// RFC 6455 §5.2.
    pub opcode: u8,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Cuts a stream into frames. Keeps bytes only while a frame is incomplete.
#[derive(Debug, Default)]
pub struct Cutter {
    rest: Vec<u8>,
}

impl Cutter {
    /// Calls `each` for every frame that `bytes` complete.
    pub fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(Received<'_>)) {
        if self.rest.is_empty() {
            let used = cut(bytes, &mut each);
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            self.rest.extend_from_slice(bytes);
            let used = cut(&self.rest, &mut each);
            self.rest.drain(..used);
            if self.rest.is_empty() {
                self.rest = Vec::new();
            }
        }
    }
}

/// Masked frames come back with their payload unmasked.
fn cut(bytes: &[u8], each: &mut impl FnMut(Received<'_>)) -> usize {
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        let [first, second, ..] = *rest else { return used };
        let (head, length): (usize, usize) = match second & 0x7f {
            126 => match rest.get(2..4) {
                Some(length) => (4, usize::from(u16::from_be_bytes([length[0], length[1]]))),
                None => return used,
            },
            127 => match rest.get(2..10).and_then(|length| length.try_into().ok()) {
                Some(length) => (10, u64::from_be_bytes(length) as usize),
                None => return used,
            },
            length => (2, usize::from(length)),
        };
        let opcode = first & 0x0f;
        if second & 0x80 == 0 {
            let Some(payload) = rest.get(head..head.saturating_add(length)) else { return used };
            each(Received { opcode, payload });
            used += head + length;
        } else {
            let Some(masked) = rest.get(head..head.saturating_add(length).saturating_add(4)) else {
                return used;
            };
            let (mask, payload) = masked.split_at(4);
            let plain: Vec<u8> =
                payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            each(Received { opcode, payload: &plain });
            used += head + 4 + length;
        }
    }
}

/// A text frame as servers send it.
#[must_use]
pub fn unmasked(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(payload.len()) {
        Ok(bytes @ 0..126) => frame.push(bytes as u8),
        Ok(bytes) => {
            frame.push(126);
            frame.extend(bytes.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
        let (mut cutter, mut found) = (Cutter::default(), Vec::new());
        for piece in pieces {
            cutter.feed(piece, |frame| found.push((frame.opcode, frame.payload.to_vec())));
        }
        assert!(cutter.rest.is_empty());
        found
    }

    #[test]
    fn frames_are_found_wherever_the_stream_was_cut() {
        let mut bytes = unmasked(b"short");
        bytes.extend(unmasked(&[b'm'; 300]));
        bytes.extend(unmasked(&[b'l'; 70_000]));
        bytes.extend(masked(2, b"masked"));
        let whole = all(&[&bytes]);
        assert_eq!(whole.len(), 4);
        assert_eq!((whole[3].0, whole[3].1.as_slice()), (2, &b"masked"[..]));
        for cut in [1, 2, 7, 8, 10, 11, 300, 320, 60_000, bytes.len() - 1] {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(all(&[head, tail]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_stamp_comes_back_as_it_was_sent() {
        for room in ["r", "ro", "roo", "room"] {
            let mut chat = Stamped::chat(room, 300);
            for stamp in [0, 7, 1_234_567_890_123_456] {
                let frames = all(&[chat.stamp(stamp)]);
                assert_eq!(stamp_of(&frames[0].1), Some(stamp));
                let text = String::from_utf8(frames[0].1.clone()).unwrap();
                assert_eq!(
                    text.len() - 300,
                    r#"{"type":"chat.message","room":"","data":{"message":""}}"#.len() + room.len()
                );
            }
        }
        assert_eq!(stamp_of(b"no stamp"), None);
        assert_eq!(stamp_of(b"@12"), None);
    }
}
