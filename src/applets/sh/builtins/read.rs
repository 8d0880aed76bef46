//! `read`.

use super::super::expand::IFS;
use super::super::pattern::{Glyph, Kind};
use super::super::{Run, Shell, say};
use crate::linux::trap;
use nix::errno::Errno;
use std::os::fd::AsFd;

impl Shell {
    /// `read [-r] [-p PROMPT] [NAME…]`: status 1 at the end of input.
    pub fn read_builtin(&mut self, args: &[String]) -> Run {
        let (mut raw, mut names) = (false, args);
        while let [option, more @ ..] = names {
            match option.as_str() {
                "-r" => (raw, names) = (true, more),
                "-p" => match more {
                    [prompt, more @ ..] => {
                        say(prompt);
                        names = more;
                    }
                    [] => return self.misused("read", "-p requires an argument"),
                },
                "--" => {
                    names = more;
                    break;
                }
                option if option.starts_with('-') && option.len() > 1 => {
                    return self.misused("read", format_args!("illegal option {option}"));
                }
                _ => break,
            }
        }
        let (line, complete) = match self.read_bytes(raw)? {
            Ok(read) => read,
            Err(status) => return Ok(status),
        };
        let separators = self.state.get("IFS").unwrap_or(IFS).to_string();
        let default = ["REPLY".to_string()];
        let names = if names.is_empty() { &default[..] } else { names };
        for (name, value) in names.iter().zip(fields(&glyphs(&line, raw), &separators, names.len())) {
            self.set(name, value)?;
        }
        Ok(i32::from(!complete))
    }

    /// One line (with its continuations unless `raw`), and whether a newline ended it. Byte by byte, so that the next reader
    /// gets the rest.
    fn read_bytes(&mut self, raw: bool) -> Result<Result<(String, bool), i32>, super::super::Flow> {
        let mut bytes = Vec::new();
        let mut escaped = false;
        let complete = loop {
            let mut byte = [0];
            // A signal just before the read must not wait for input.
            let interrupted =
                bytes.is_empty() && trap::wait_readable(std::io::stdin().as_fd()).is_ok_and(|ready| !ready);
            let read =
                if interrupted { Err(Errno::EINTR) } else { nix::unistd::read(std::io::stdin(), &mut byte) };
            match read {
                Ok(0) => break false,
                Ok(_) if byte[0] == b'\n' && escaped => {
                    bytes.pop(); // the backslash goes with the newline
                    escaped = false;
                }
                Ok(_) if byte[0] == b'\n' => break true,
                Ok(_) => {
                    escaped = !raw && byte[0] == b'\\' && !escaped;
                    bytes.push(byte[0]);
                }
                Err(Errno::EINTR) => self.run_traps()?,
                Err(e) => {
                    self.complain(format_args!("read: {}", e.desc()));
                    return Ok(Err(1));
                }
            }
        };
        Ok(Ok((String::from_utf8_lossy(&bytes).into_owned(), complete)))
    }
}

/// Characters, of which escaped ones separate nothing.
fn glyphs(line: &str, raw: bool) -> Vec<Glyph> {
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
fn fields(line: &[Glyph], separators: &str, count: usize) -> Vec<String> {
    let separates = |g: &Glyph| g.kind == Kind::Result && separators.contains(g.c);
    let blank = |g: &Glyph| separates(g) && g.c.is_whitespace();
    let text = |glyphs: &[Glyph]| glyphs.iter().map(|g| g.c).collect::<String>();
    let skip_blanks = |rest: &[Glyph]| rest.iter().take_while(|g| blank(g)).count();
    let mut found = Vec::new();
    let mut rest = line;
    for nth in 1..=count {
        rest = &rest[skip_blanks(rest)..];
        if nth == count {
            let end = rest.len() - rest.iter().rev().take_while(|g| blank(g)).count();
            rest = &rest[..end];
            // A single separator after the last field belongs to it no more than a blank.
            let only_last = rest.iter().filter(|g| separates(g) && !blank(g)).count() == 1;
            if only_last && rest.last().is_some_and(separates) {
                rest = &rest[..rest.len() - 1];
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
    fn a_line_is_shared_out() {
        let read = |line: &str, separators: &str, count| fields(&glyphs(line, false), separators, count);
        assert_eq!(read("  a b  c d ", IFS, 2), ["a", "b  c d"]);
        assert_eq!(read("root:x:0", ":", 3), ["root", "x", "0"]);
        assert_eq!(read("a", IFS, 3), ["a", "", ""]);
        assert_eq!(read("a\\ b c", IFS, 2), ["a b", "c"]);
        assert_eq!(read("a:", ":", 1), ["a"]);
    }
}
