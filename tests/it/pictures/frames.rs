//! Frames of a moving picture, from what a terminal received in a session.

use super::reading::Picture;
use super::svg::{Frame, HOLD, svg};
use crate::session::Recording;
use std::time::Duration;
use tui_term::vt100;

/// The interface writes a screen in several pieces, and the terminal shows it between two of them
/// for less than this.
const SETTLED: Duration = Duration::from_millis(10);
/// A longer pause is cut to this. A busy machine pauses longer than readers need.
const LONGEST_PAUSE: Duration = Duration::from_millis(2500);
/// A picture that lasts longer is played faster.
const LONGEST: Duration = Duration::from_secs(29);
/// Bytes of a moving picture, at most: it is loaded with the README.
pub(super) const LARGEST: usize = 400_000;
/// The shortest time between two frames, in milliseconds; the next one if the picture is too large.
const GAPS: [u64; 4] = [50, 100, 200, 400];

/// Reads the screens that stood for a moment since `from`, at least `gap` apart.
fn read_frames(recording: &Recording, from: Duration, gap: Duration) -> Vec<Frame> {
    let (rows, columns) = recording.size;
    let mut terminal = vt100::Parser::new(rows, columns, 0);
    let (mut frames, mut done): (Vec<Frame>, usize) = (vec![], 0);
    for (number, &(at, upto)) in recording.reads.iter().enumerate() {
        terminal.process(&recording.bytes[done..upto]);
        done = upto;
        let next = recording.reads.get(number + 1).map(|(next, _)| *next);
        if next.is_some_and(|next| next <= from || next.saturating_sub(at) < SETTLED) {
            continue;
        }
        let mut frame = Frame::new(at.saturating_sub(from), terminal.screen());
        match frames.last_mut() {
            Some(last) if frame.at.saturating_sub(last.at) < gap => {
                frame.at = last.at;
                *last = frame;
            }
            _ => frames.push(frame),
        }
    }
    frames.dedup_by(|next, kept| next.looks_like(kept));
    frames
}

/// Begins at zero, cuts long pauses, and plays faster what is still too long.
fn shorten(mut frames: Vec<Frame>) -> Vec<Frame> {
    let mut before = frames.first().map_or(Duration::ZERO, |first| first.at);
    let mut cut = before;
    for frame in &mut frames {
        cut += (frame.at - before).saturating_sub(LONGEST_PAUSE);
        before = frame.at;
        frame.at -= cut;
    }
    let (last, longest) = (frames.last().map_or(Duration::ZERO, |last| last.at), LONGEST - HOLD);
    if last > longest {
        let share = longest.as_secs_f64() / last.as_secs_f64();
        frames.iter_mut().for_each(|frame| frame.at = frame.at.mul_f64(share));
    }
    frames
}

/// Draws what the terminal showed since `from` as a moving picture of at most `LARGEST` bytes, with
/// as many frames as fit. Returns the frames, too.
pub(super) fn moving(recording: &Recording, from: Duration, title: &str) -> (Vec<Frame>, String) {
    let mut sizes = vec![];
    for gap in GAPS {
        let frames = shorten(read_frames(recording, from, Duration::from_millis(gap)));
        let picture = svg(&frames, title);
        if picture.len() <= LARGEST {
            return (frames, picture);
        }
        sizes.push(picture.len());
    }
    panic!("the moving picture is too large, whatever its frames: {sizes:?} bytes, at most {LARGEST}");
}

/// A terminal of four rows that received these bytes at these milliseconds.
fn recording(pieces: &[(u64, &str)]) -> Recording {
    let (mut bytes, mut reads) = (vec![], vec![]);
    for (at, piece) in pieces {
        bytes.extend(piece.bytes());
        reads.push((Duration::from_millis(*at), bytes.len()));
    }
    Recording { size: (4, 30), bytes, reads }
}

fn times(frames: &[Frame]) -> Vec<u128> {
    frames.iter().map(|frame| frame.at.as_millis()).collect()
}

#[test]
fn a_moving_picture_shows_each_screen_at_its_time_and_draws_again_only_what_changed() {
    let typed = recording(&[
        (0, "before it begins"),
        (900, "\x1b[2J\x1b[Ha <title> & \x1b[32mcolours\x1b[0m\x1b[2;1H$ "),
        (1100, "l"),
        (1300, "s"),
        (1900, "\r\n\x1b[1mlist\x1b[0m\r\n$ "),
        (2600, "\x1b[2;1H\x1b[K"),
    ]);
    let (frames, picture) = moving(&typed, Duration::from_secs(1), "typed");
    assert_eq!(times(&frames), [0, 100, 300, 900, 1600]);
    assert!(!picture.contains("before it begins"), "{picture}");
    assert_eq!(picture.matches("&lt;title&gt; &amp;").count(), 1, "the line that stands is drawn once");
    Picture::read(&picture).is_of(&frames);
    assert_eq!(frames[3].lines, ["a <title> & colours", "$ ls", "list", "$"]);
}

#[test]
fn a_screen_that_is_written_in_pieces_is_one_frame() {
    let pieces = recording(&[(0, "$ "), (500, "one "), (504, "screen"), (508, " whole"), (600, "\r\n")]);
    let (frames, _) = moving(&pieces, Duration::ZERO, "pieces");
    assert_eq!(times(&frames), [0, 508, 600]);
    assert_eq!(frames[1].lines[0], "$ one screen whole");
}

#[test]
fn long_pauses_are_cut_and_long_sessions_are_played_faster() {
    let slow = recording(&[(0, "$ "), (60_000, "slow"), (60_500, " machine")]);
    assert_eq!(times(&moving(&slow, Duration::ZERO, "slow").0), [0, 2500, 3000]);
    let busy: Vec<(u64, &str)> = (0..60).map(|n| (n * 1000, if n % 2 == 0 { "x" } else { "y" })).collect();
    let (frames, picture) = moving(&recording(&busy), Duration::ZERO, "busy");
    assert_eq!((frames.len(), frames[59].at), (60, LONGEST - HOLD));
    assert_eq!(Picture::read(&picture).seconds, LONGEST.as_secs_f64());
    Picture::read(&picture).is_of(&frames);
}

#[test]
fn one_screen_does_not_move() {
    let (frames, picture) = moving(&recording(&[(0, "$ ")]), Duration::ZERO, "still");
    assert_eq!(frames.len(), 1);
    assert!(!picture.contains("<style>") && !picture.contains("<g "), "{picture}");
}
