//! Asks the terminal once, before the interface begins, what it can show: the colour of its
//! background, and how wide it draws signs.

use super::super::look::Look;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Write, stdin, stdout};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A terminal that has not answered by then does not know the question.
const PATIENCE: Duration = Duration::from_millis(400);
/// An answer that comes later than this after the question is not waited for any more.
const LATEST: Duration = Duration::from_secs(10);
/// How an answer about the background's colour begins: keys, as the keyboard's reader takes it for
/// them. The first is held with Alt.
const LATE_ANSWER: &str = "]11;rgb:";
/// No answer is longer: what follows is typed.
const LATE_MAX: usize = 48;
/// Signs whose width is "ambiguous": some terminals draw them two cells wide.
const AMBIGUOUS: &str = "●│①";

/// The terminal's answers, and what was typed in the meantime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Where the cursor was behind the signs, counted from 1.
    pub column: Option<u16>,
    /// Its background is light.
    pub light: Option<bool>,
    pub typed: Vec<u8>,
}

/// Asks the terminal, which must be raw; nothing else may read from it.
pub(super) fn ask() -> io::Result<Answer> {
    let mut out = stdout();
    // The background's colour, then a line of signs, then where the cursor is; then the line is
    // wiped.
    write!(out, "\x1b]11;?\x07\r{AMBIGUOUS}\x1b[6n\r\x1b[K")?;
    out.flush()?;
    let end = Instant::now() + PATIENCE;
    let mut heard = Vec::new();
    loop {
        let answer = parse(&heard);
        let left = end.saturating_duration_since(Instant::now());
        if answer.column.is_some() || left.is_zero() {
            return Ok(answer);
        }
        let input = stdin();
        let mut wanted = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let answered = match poll(&mut wanted, timeout) {
            Err(nix::errno::Errno::EINTR) => continue, // a child has ended, the window has changed
            answered => answered? > 0,
        };
        if answered {
            let mut bytes = [0; 256];
            match nix::unistd::read(input.as_fd(), &mut bytes)? {
                0 => return Ok(answer),
                n => heard.extend_from_slice(&bytes[..n]),
            }
        }
    }
}

/// Takes an answer that comes after [`PATIENCE`] out of the keys: the reader of the keyboard does
/// not know it, and it would stand on the learner's first line. (A late answer about the cursor it
/// knows, and drops.)
pub(super) struct Late {
    until: Option<Instant>,
    /// Keys that may be the beginning of the answer, or belong to it.
    kept: Vec<KeyEvent>,
}

impl Late {
    /// `expected`: the terminal has not answered yet which colour the background has.
    pub(super) fn new(expected: bool) -> Late {
        Late { until: expected.then(|| Instant::now() + LATEST), kept: Vec::new() }
    }

    /// Takes in a key; returns those that were typed.
    pub(super) fn filter(&mut self, key: KeyEvent, now: Instant) -> Vec<KeyEvent> {
        let Some(until) = self.until else { return vec![key] };
        if self.kept.is_empty() && now > until {
            self.until = None;
            return vec![key];
        }
        let (at, KeyCode::Char(c)) = (self.kept.len(), key.code) else { return self.give_back(key) };
        let (alt, control) =
            (key.modifiers.contains(KeyModifiers::ALT), key.modifiers.contains(KeyModifiers::CONTROL));
        let ends = at >= LATE_ANSWER.len() && (control && c == 'g' || alt && c == '\\');
        if ends {
            (self.until, self.kept) = (None, Vec::new());
            return vec![];
        }
        let belongs = match LATE_ANSWER.chars().nth(at) {
            Some(next) => c == next && alt == (at == 0) && !control,
            None => at < LATE_MAX && (c.is_ascii_hexdigit() || c == '/') && !alt && !control,
        };
        if !belongs {
            return self.give_back(key);
        }
        self.kept.push(key);
        vec![]
    }

    fn give_back(&mut self, key: KeyEvent) -> Vec<KeyEvent> {
        let mut typed = std::mem::take(&mut self.kept);
        typed.push(key);
        typed
    }
}

/// Takes the answers out of what came from the terminal.
fn parse(heard: &[u8]) -> Answer {
    let mut answer = Answer::default();
    let mut rest = heard;
    while let Some((first, after)) = rest.split_first() {
        if let Some(body) = rest.strip_prefix(b"\x1b]11;") {
            let Some(end) = body.iter().position(|b| matches!(b, 0x07 | 0x1b)) else { break };
            answer.light = light(&String::from_utf8_lossy(&body[..end]));
            let close = if body[end] == 0x1b { 2 } else { 1 };
            rest = &body[(end + close).min(body.len())..];
            continue;
        }
        if let Some(body) = rest.strip_prefix(b"\x1b[")
            && let Some(end) = body.iter().position(|b| *b == b'R')
            && let Ok(text) = std::str::from_utf8(&body[..end])
            && let Some((row, column)) = text.split_once(';')
            && row.parse::<u16>().is_ok()
            && let Ok(column) = column.parse()
        {
            answer.column = Some(column);
            rest = &body[end + 1..];
            continue;
        }
        answer.typed.push(*first);
        rest = after;
    }
    answer
}

/// `rgb:ffff/ffff/ffff`: light, if more white than black.
fn light(colour: &str) -> Option<bool> {
    let parts: Vec<u32> = colour
        .strip_prefix("rgb:")?
        .split('/')
        .map(|p| u32::from_str_radix(p.get(..2).unwrap_or(p), 16))
        .collect::<Result<_, _>>()
        .ok()?;
    let [red, green, blue] = parts[..] else { return None };
    Some(red * 299 + green * 587 + blue * 114 > 128_000)
}

/// Decides from the answer how the interface looks. Without an answer it draws ASCII only.
pub(super) fn look(answer: &Answer, ascii: bool, colour: bool) -> Look {
    let narrow = answer.column == Some(1 + AMBIGUOUS.chars().count() as u16);
    Look { ascii: ascii || !narrow, colour, light: answer.light.unwrap_or(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_typing() {
        let answer = parse(b"l\x1b]11;rgb:ffff/ffff/eeee\x07s\x1b[12;4R\r");
        assert_eq!(answer, Answer { column: Some(4), light: Some(true), typed: b"ls\r".to_vec() });
        assert_eq!(parse(b"\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\").light, Some(false));
        assert_eq!(parse(b"\x1b[A").typed, b"\x1b[A");
    }

    #[test]
    fn an_answer_that_comes_late_is_not_typed_into_the_shell() {
        let key = |c: char, modifiers| KeyEvent::new(KeyCode::Char(c), modifiers);
        let (none, alt, control) = (KeyModifiers::NONE, KeyModifiers::ALT, KeyModifiers::CONTROL);
        let now = Instant::now();
        for end in [key('g', control), key('\\', alt)] {
            let mut late = Late::new(true);
            let mut typed = late.filter(key('l', none), now);
            typed.extend(late.filter(key(']', alt), now));
            for c in "11;rgb:1e1e/1e1e/2e2e".chars() {
                typed.extend(late.filter(key(c, none), now));
            }
            typed.extend(late.filter(end, now));
            typed.extend(late.filter(key('s', none), now));
            assert_eq!(typed, [key('l', none), key('s', none)]);
        }
        // What only looks like it is typed, and nothing is held once it is too late for an answer.
        let mut late = Late::new(true);
        assert_eq!(late.filter(key(']', alt), now), []);
        assert_eq!(late.filter(key('x', none), now), [key(']', alt), key('x', none)]);
        let after = now + LATEST * 2;
        assert_eq!(late.filter(key(']', alt), after), [key(']', alt)]);
        assert_eq!(Late::new(false).filter(key(']', alt), now), [key(']', alt)]);
    }

    #[test]
    fn wide_signs_or_silence_mean_ascii() {
        let at = |column| Answer { column, ..Answer::default() };
        assert!(!look(&at(Some(4)), false, true).ascii);
        assert!(look(&at(Some(7)), false, true).ascii);
        assert!(look(&at(None), false, true).ascii);
        assert!(look(&at(Some(4)), true, true).ascii);
    }
}
