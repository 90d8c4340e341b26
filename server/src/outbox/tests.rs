use proptest::prelude::*;

use super::*;

fn line() -> Arc<Line> {
    Line::new(None, Instant::now())
}

fn attached(resumable: bool) -> Outbox {
    let outbox = Outbox::new(resumable);
    outbox.attach(line(), None);
    outbox
}

/// A frame that costs exactly so much.
fn frame(class: Class, letter: char, cost: usize) -> Frame {
    let extra = Frame::text(class, "").cost() - 2;
    let header = if cost - extra - 2 <= 125 {
        2
    } else if cost - extra - 4 <= 65_535 {
        4
    } else {
        10
    };
    let frame = Frame::text(class, &letter.to_string().repeat(cost - extra - header));
    assert_eq!(frame.cost(), cost);
    frame
}

fn kept(letter: char, cost: usize) -> Frame {
    frame(Class::Kept, letter, cost)
}

fn firsts(outbox: &Outbox) -> String {
    outbox.drain().iter().filter_map(|frame| frame.json().chars().next()).collect()
}

/// A socket that takes so many bytes.
fn take(bytes: &mut Vec<u8>, space: usize, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let before = bytes.len();
    for slice in slices {
        let room = space.saturating_sub(bytes.len() - before);
        bytes.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    match bytes.len() - before {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        written => Ok(written),
    }
}

#[test]
fn one_push_of_many_asks_for_a_flush() {
    let outbox = attached(false);
    assert!(outbox.push(kept('a', 100)).flush);
    assert!(!outbox.push(kept('b', 100)).flush);
    let mut bytes = Vec::new();
    let flushed = outbox.flush(Instant::now(), |slices| take(&mut bytes, 1 << 20, slices));
    assert_eq!((flushed, outbox.bytes(), outbox.is_empty()), (Flushed::Idle, 0, true));
    assert!(outbox.push(kept('c', 100)).flush);
}

#[test]
fn a_full_socket_keeps_what_is_left_in_order() {
    let (outbox, now) = (attached(false), Instant::now());
    let frames: Vec<Frame> = ('a'..='z').map(|letter| kept(letter, 200)).collect();
    for frame in &frames {
        outbox.push(frame.clone());
    }
    let mut bytes = Vec::new();
    let mut budget = 5;
    let flushed = outbox.flush(now, |slices| {
        budget -= 1;
        take(&mut bytes, if budget > 0 { 111 } else { 0 }, slices)
    });
    assert_eq!((flushed, bytes.len()), (Flushed::Blocked, 444));
    let later = now + Duration::from_secs(3);
    assert_eq!(outbox.blocked_for(later), Duration::from_secs(3));
    // While it is blocked, nobody else has to try.
    assert!(!outbox.push(kept('!', 200)).flush);
    assert!(outbox.wants_own_flush());
    let flushed = outbox.flush(later, |slices| take(&mut bytes, 1 << 20, slices));
    assert_eq!((flushed, outbox.blocked_for(later)), (Flushed::Idle, Duration::ZERO));
    let mut expected: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes().to_vec()).collect();
    expected.extend_from_slice(kept('!', 200).bytes());
    assert_eq!(bytes, expected);
}

#[test]
fn typing_is_lost_first_then_the_client() {
    let outbox = attached(false);
    let line = outbox.line().unwrap();
    outbox.push(frame(Class::Typing, 't', OUTBOX_BYTES / 2));
    outbox.push(kept('a', OUTBOX_BYTES / 2));
    assert_eq!(outbox.push(kept('b', OUTBOX_BYTES / 2)).lost, Some(Lost::Typing(1)));
    assert_eq!(outbox.push(frame(Class::Typing, 'u', 60)).lost, Some(Lost::Typing(1)));
    assert_eq!((outbox.bytes(), line.ending()), (OUTBOX_BYTES, None));
    assert_eq!(outbox.push(kept('c', 60)).lost, Some(Lost::Slow));
    assert_eq!(line.ending(), Some(Closing::TOO_SLOW));
    outbox.push(kept('d', 60));
    outbox.close(Frame::close(Some(1013), "slow"));
    assert_eq!(outbox.drain().len(), 1);
}

#[test]
fn a_frame_that_has_begun_is_never_dropped() {
    let (outbox, now) = (attached(false), Instant::now());
    let first = frame(Class::Typing, 't', OUTBOX_BYTES / 2);
    outbox.push(first.clone());
    let mut bytes = Vec::new();
    let mut calls = 0;
    outbox.flush(now, |slices| {
        calls += 1;
        take(&mut bytes, if calls == 1 { 10 } else { 0 }, slices)
    });
    outbox.push(kept('a', OUTBOX_BYTES / 2));
    assert_eq!(outbox.push(kept('b', OUTBOX_BYTES / 2)).lost, Some(Lost::Slow));
    let last = Frame::close(Some(1013), "slow");
    outbox.close(last.clone());
    outbox.flush(now, |slices| take(&mut bytes, 1 << 20, slices));
    assert_eq!(bytes, [first.bytes(), last.bytes()].concat());
}

#[test]
fn a_slow_client_gets_only_the_newest_of_snapshots_in_a_row() {
    let outbox = attached(false);
    outbox.push(frame(Class::Roster(7), '1', 100));
    outbox.push(frame(Class::Roster(7), '2', ROSTER_BYTES));
    assert_eq!(outbox.push(frame(Class::Roster(7), '3', 100)).lost, Some(Lost::Roster));
    assert_eq!(outbox.push(frame(Class::Roster(8), '4', 100)).lost, None);
    outbox.push(frame(Class::Roster(7), '5', ROSTER_BYTES));
    assert_eq!(outbox.push(frame(Class::Roster(8), '6', 100)).lost, None);
    assert_eq!(firsts(&outbox), "13456");
}

#[test]
fn one_frame_larger_than_the_outbox_passes_alone() {
    let outbox = attached(false);
    outbox.push(kept('a', OUTBOX_BYTES + 1));
    assert_eq!(firsts(&outbox), "a");
}

#[test]
fn a_session_goes_on_with_what_was_not_received() {
    let (outbox, now) = (attached(true), Instant::now());
    for letter in ['a', 'b', 'c'] {
        outbox.push(kept(letter, 100));
    }
    outbox.push_own(Frame::ping(b""));
    let mut bytes = Vec::new();
    outbox.flush(now, |slices| take(&mut bytes, 1 << 20, slices));
    outbox.push(kept('d', 100));
    let old = outbox.line().unwrap();
    assert!(outbox.detach(&old));
    assert!(!outbox.push(kept('e', 100)).flush);
    assert_eq!(outbox.push(frame(Class::Typing, 't', 100)).lost, Some(Lost::Typing(1)));

    let welcome = || frame(Class::Control, 'w', 100);
    assert_eq!(outbox.resume(line(), welcome(), Some(6)).unwrap_err(), Gap);
    assert!(outbox.resume(line(), welcome(), Some(1)).unwrap().is_none());
    assert_eq!(firsts(&outbox), "wbcde");
    // Once more, from further on; those before are let go.
    let middle = outbox.line().unwrap();
    let moved = outbox.resume(line(), welcome(), Some(4)).unwrap();
    assert!(Arc::ptr_eq(&moved.unwrap(), &middle));
    assert!(!outbox.detach(&middle));
    assert_eq!(firsts(&outbox), "we");
    assert_eq!(outbox.resume(line(), welcome(), Some(3)).unwrap_err(), Gap);
    assert!(outbox.resume(line(), welcome(), None).is_ok());
    assert_eq!(firsts(&outbox), "w");
}

#[test]
fn pongs_let_go_of_what_was_received() {
    let outbox = attached(true);
    for letter in ['a', 'b', 'c'] {
        outbox.push(kept(letter, 100));
    }
    assert_eq!(outbox.mark(), Some([0; 8]));
    assert_eq!(firsts(&outbox), "abc");
    let mark = outbox.mark().unwrap();
    assert_eq!((u64::from_be_bytes(mark), outbox.bytes()), (3, 300));
    outbox.confirm(b"no mark");
    outbox.confirm(&2_u64.to_be_bytes());
    assert_eq!(outbox.bytes(), 100);
    outbox.confirm(&u64::MAX.to_be_bytes());
    assert_eq!((outbox.bytes(), outbox.mark()), (0, Some(mark)));
}

#[test]
fn an_absent_session_keeps_so_much_and_no_more() {
    let outbox = attached(true);
    outbox.detach(&outbox.line().unwrap());
    outbox.push(kept('a', MISSED_BYTES));
    assert_eq!(outbox.push(kept('b', 60)).lost, Some(Lost::Missed));
    assert!(outbox.is_closed());
    assert!(outbox.resume(line(), Frame::ping(b""), None).is_err());
}

proptest! {
    #[test]
    fn whatever_the_socket_takes_each_connection_sees_whole_frames_in_order_and_none_twice(
        steps in prop::collection::vec((0..4_u8, 1..400_usize), 1..120)
    ) {
        let (outbox, now) = (attached(true), Instant::now());
        let (mut pushed, mut received) = (0_u64, 0_u64);
        let mut bytes: Vec<u8> = Vec::new();
        // Reads whole frames off the connection, as a client would.
        fn read(bytes: &[u8], received: &mut u64) -> usize {
            let mut at = 0;
            while let Some(&[_, length]) = bytes.get(at..at + 2) {
                let (head, length) = if length == 126 {
                    let Some(long) = bytes.get(at + 2..at + 4) else { break };
                    (4, usize::from(u16::from_be_bytes([long[0], long[1]])))
                } else { (2, usize::from(length)) };
                let Some(payload) = bytes.get(at + head..at + head + length) else { break };
                let number = std::str::from_utf8(payload).unwrap().trim();
                if number != "welcome" {
                    assert_eq!(number.parse(), Ok(*received));
                    *received += 1;
                }
                at += head + length;
            }
            at
        }
        for (what, size) in steps {
            match what {
                0 | 1 => {
                    outbox.push(Frame::text(Class::Kept, &format!("{pushed:>size$}")));
                    pushed += 1;
                }
                2 => {
                    let mut space = size;
                    outbox.flush(now, |slices| {
                        let before = bytes.len();
                        let written = take(&mut bytes, space, slices);
                        space -= bytes.len() - before;
                        written
                    });
                }
                _ => {
                    let read_to = read(&bytes, &mut received);
                    bytes.drain(..read_to);
                    if size % 2 == 0 {
                        // The connection breaks; what was half there is gone.
                        bytes.clear();
                        let welcome = Frame::text(Class::Control, "welcome");
                        prop_assert!(outbox.resume(line(), welcome, Some(received)).is_ok());
                    }
                }
            }
        }
        outbox.flush(now, |slices| take(&mut bytes, usize::MAX, slices));
        read(&bytes, &mut received);
        prop_assert_eq!(received, pushed);
    }
}
