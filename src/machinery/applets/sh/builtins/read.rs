//! `read`.

use super::super::expand::IFS;
use super::super::pattern::{Glyph, Kind};
use super::super::state::is_name;
use super::super::{Run, Shell, reason, write_stderr};
use linux::script_fds;
use linux::trap::{self, Input};
use nix::errno::Errno;
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What the options of `read` ask for.
#[derive(Debug, PartialEq)]
struct Ask<'a> {
    raw: bool,
    prompt: Option<&'a str>,
    /// `-t`: longest wait for all of it. Zero asks only whether there is input.
    limit: Option<Duration>,
    /// `-n`: bytes that are enough.
    most: Option<usize>,
    /// `-s`: what is typed is not shown.
    silent: bool,
    /// `-d`: ends the input in place of a newline.
    end: u8,
    names: &'a [String],
}

/// Reads the arguments of `read`. The error is what stands behind `read: `.
fn parse(args: &[String]) -> Result<Ask<'_>, String> {
    let mut ask =
        Ask { raw: false, prompt: None, limit: None, most: None, silent: false, end: b'\n', names: args };
    while let [word, more @ ..] = ask.names {
        if !word.starts_with('-') || word.len() < 2 {
            break;
        }
        ask.names = more;
        if word == "--" {
            break;
        }
        for (at, letter) in word.char_indices().skip(1) {
            match letter {
                'r' => ask.raw = true,
                's' => ask.silent = true,
                'p' | 't' | 'n' | 'd' => {
                    // The rest of the word, else the next one.
                    let value = match (&word[at + 1..], ask.names) {
                        ("", []) => return Err(format!("-{letter} requires an argument")),
                        ("", [value, more @ ..]) => {
                            ask.names = more;
                            value.as_str()
                        }
                        (value, _) => value,
                    };
                    let wrong = || format!("-{letter}: invalid number {value}");
                    match letter {
                        'p' => ask.prompt = Some(value),
                        't' => {
                            let seconds: f64 = value.parse().map_err(|_| wrong())?;
                            ask.limit = Some(Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?);
                        }
                        'n' => ask.most = Some(value.parse().map_err(|_| wrong())?),
                        _ => ask.end = value.bytes().next().unwrap_or(0),
                    }
                    break;
                }
                letter => return Err(format!("illegal option -{letter}")),
            }
        }
    }
    Ok(ask)
}

/// A terminal without echo, or that does not wait for whole lines; as before when it is dropped.
struct Quiet(Option<Termios>);

impl Quiet {
    fn new(ask: &Ask) -> Quiet {
        let single = ask.most.is_some() || ask.end != b'\n';
        if !ask.silent && !single {
            return Quiet(None);
        }
        // `None` if standard input is no terminal; then there is nothing to change.
        let before = termios::tcgetattr(std::io::stdin()).ok();
        if let Some(mut now) = before.clone() {
            if ask.silent {
                now.local_flags.remove(LocalFlags::ECHO);
            }
            if single {
                now.local_flags.remove(LocalFlags::ICANON);
            }
            let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &now);
        }
        Quiet(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, before); // it may be gone
        }
    }
}

impl Shell {
    /// `read [-rs] [-p PROMPT] [-t SECONDS] [-n BYTES] [-d END] [NAME…]`: status 1 at the end of
    /// input, or of the time. `-t 0` reads nothing, as in busybox and bash.
    pub(crate) fn read_builtin(&mut self, args: &[String]) -> Run {
        let ask = match parse(args) {
            Ok(ask) => ask,
            Err(wrong) => return self.report_misuse("read", wrong),
        };
        if let Some(name) = ask.names.iter().find(|name| !is_name(name)) {
            return self.report_misuse("read", format_args!("{name}: bad variable name"));
        }
        // As dash, busybox and bash: a prompt is for a person.
        if let Some(prompt) = ask.prompt
            && script_fds::is_terminal(0)
        {
            write_stderr(prompt);
        }
        let quiet = Quiet::new(&ask);
        let read = self.read_bytes(&ask)?;
        drop(quiet);
        let (line, complete) = match read {
            Ok(read) => read,
            Err(status) => return Ok(status),
        };
        let separators = self.state.get("IFS").unwrap_or(IFS).to_string();
        let default = ["REPLY".to_string()];
        let names = if ask.names.is_empty() { &default[..] } else { ask.names };
        let values = split_fields(&line_glyphs(&line, ask.raw), &separators, names.len());
        for (name, value) in names.iter().zip(values) {
            // A read-only variable ends no script here: `read` is no special builtin.
            if self.set(name, value).is_err() {
                return Ok(2);
            }
        }
        Ok(i32::from(!complete))
    }

    /// Reads one line (with its continuations unless raw). Returns also whether its end came before
    /// that of the input or of the time. Reads byte by byte, so that the next reader gets the rest.
    fn read_bytes(&mut self, ask: &Ask) -> Result<Result<(String, bool), i32>, super::super::Flow> {
        let wait = |left| trap::wait_readable_within(std::io::stdin().as_fd(), left).unwrap_or(Input::Ready);
        if ask.limit == Some(Duration::ZERO) {
            let input = loop {
                match wait(ask.limit) {
                    Input::Signal => self.run_traps()?, // the signal came before the read
                    input => break input,
                }
            };
            return Ok(Err(i32::from(input != Input::Ready)));
        }
        let begun = Instant::now();
        let mut bytes = Vec::new();
        let (mut escaped, mut left_out) = (false, 0);
        let complete = loop {
            if ask.most.is_some_and(|most| bytes.len() + left_out >= most) {
                break true;
            }
            let mut byte = [0];
            // A signal just before the read must not wait for input.
            let left = ask.limit.map(|limit| limit.saturating_sub(begun.elapsed()));
            let waited = match (bytes.is_empty(), left) {
                (false, None) => Input::Ready,
                // Of input without an end there is always more.
                (_, Some(Duration::ZERO)) => Input::Late,
                (_, left) => wait(left),
            };
            let read = match waited {
                Input::Ready => nix::unistd::read(std::io::stdin(), &mut byte),
                Input::Signal => Err(Errno::EINTR),
                Input::Late => break false,
            };
            match read {
                Ok(0) => break false,
                Ok(_) if byte[0] == b'\n' && escaped => {
                    bytes.pop(); // the backslash goes with the newline
                    escaped = false;
                }
                Ok(_) if byte[0] == ask.end => break true,
                // No variable can hold it; busybox counts it for `-n` all the same.
                Ok(_) if byte[0] == 0 => left_out += 1,
                Ok(_) => {
                    escaped = !ask.raw && byte[0] == b'\\' && !escaped;
                    bytes.push(byte[0]);
                }
                Err(Errno::EINTR) => self.run_traps()?,
                Err(e) => {
                    self.print_error(format_args!("read: {}", reason(&std::io::Error::from(e))));
                    return Ok(Err(1));
                }
            }
        };
        Ok(Ok((String::from_utf8_lossy(&bytes).into_owned(), complete)))
    }
}

/// Returns the characters of a line. An escaped one separates no fields.
fn line_glyphs(line: &str, raw: bool) -> Vec<Glyph> {
    let mut glyphs = Vec::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && !raw {
            glyphs.extend(chars.next().map(|c| Glyph { c, kind: Kind::Quoted }));
        } else {
            glyphs.push(Glyph { c, kind: Kind::Result });
        }
    }
    glyphs
}

/// `count` fields, of which the last one takes all that is left.
fn split_fields(line: &[Glyph], separators: &str, count: usize) -> Vec<String> {
    let separates = |g: &Glyph| g.kind == Kind::Result && separators.contains(g.c);
    let blank = |g: &Glyph| separates(g) && g.c.is_whitespace();
    let text = |glyphs: &[Glyph]| glyphs.iter().map(|g| g.c).collect::<String>();
    let skip_blanks = |rest: &[Glyph]| rest.iter().take_while(|g| blank(g)).count();
    let without_blanks = |rest: &[Glyph]| rest.len() - rest.iter().rev().take_while(|g| blank(g)).count();
    let mut found = Vec::new();
    let mut rest = line;
    for nth in 1..=count {
        rest = &rest[skip_blanks(rest)..];
        if nth == count {
            rest = &rest[..without_blanks(rest)];
            // A single separator after the last field belongs to it no more than a blank, and takes
            // the blanks before it along.
            let only_last = rest.iter().filter(|g| separates(g) && !blank(g)).count() == 1;
            if only_last && rest.last().is_some_and(separates) {
                rest = &rest[..rest.len() - 1];
                rest = &rest[..without_blanks(rest)];
            }
            found.push(text(rest));
        } else {
            let end = rest.iter().position(separates).unwrap_or(rest.len());
            found.push(text(&rest[..end]));
            rest = &rest[end..];
            rest = &rest[skip_blanks(rest)..];
            if rest.first().is_some_and(|g| separates(g) && !blank(g)) {
                rest = &rest[1..];
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_may_stand_together_and_have_their_values_beside_them() {
        let words = |line: &str| line.split(' ').map(str::to_string).collect::<Vec<_>>();
        let line = words("-rp ask -t0.5 -n 3 -sd : a b");
        let ask = parse(&line).unwrap();
        assert!(ask.raw && ask.silent && ask.prompt == Some("ask"));
        assert_eq!((ask.limit, ask.most, ask.end), (Some(Duration::from_millis(500)), Some(3), b':'));
        assert_eq!(ask.names, ["a", "b"]);
        for (line, wrong) in
            [("-z", "illegal option -z"), ("-t", "-t requires an argument"), ("-n x", "-n: invalid number x")]
        {
            assert_eq!(parse(&words(line)), Err(wrong.to_string()));
        }
    }

    #[test]
    fn a_line_is_shared_out() {
        let read =
            |line: &str, separators: &str, count| split_fields(&line_glyphs(line, false), separators, count);
        assert_eq!(read("  a b  c d ", IFS, 2), ["a", "b  c d"]);
        assert_eq!(read("root:x:0", ":", 3), ["root", "x", "0"]);
        assert_eq!(read("a", IFS, 3), ["a", "", ""]);
        assert_eq!(read("a\\ b c", IFS, 2), ["a b", "c"]);
        assert_eq!(read("a:", ":", 1), ["a"]);
        assert_eq!(read("a b :", " :", 2), ["a", "b"]);
        assert_eq!(read("a: b : ", " :", 2), ["a", "b"]);
        assert_eq!(read("a b : :", " :", 2), ["a", "b : :"]);
        assert_eq!(read("a b\\ :", " :", 2), ["a", "b "], "an escaped blank is text");
    }
}
