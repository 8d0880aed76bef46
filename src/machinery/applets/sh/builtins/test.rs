//! `test` and `[`.

use super::super::{Run, Shell};
use linux::script_fds;
use nix::unistd::{AccessFlags, access};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

impl Shell {
    pub(crate) fn test(&mut self, args: &[String], bracket: bool) -> Run {
        let name = if bracket { "[" } else { "test" };
        let mut words: Vec<&str> = args.iter().map(String::as_str).collect();
        if bracket && words.pop() != Some("]") {
            return self.misused(name, "missing ]");
        }
        if words.len() > WORDS_MAX {
            return self.misused(name, "too many arguments");
        }
        match evaluate(&words) {
            Ok(truth) => Ok(i32::from(!truth)),
            Err(what) => self.misused(name, what),
        }
    }
}

/// Words of one expression: each operator may be a call of [`evaluate`] inside another.
const WORDS_MAX: usize = 1000;

const UNARY: &str = "bcdefghLnprSsStuwxzkOG";

fn is_unary(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|letter| letter.chars().count() == 1 && UNARY.contains(letter))
}

fn is_binary(word: &str) -> bool {
    matches!(
        word,
        "=" | "==" | "!=" | "<" | ">" | "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" | "-nt" | "-ot" | "-ef"
    )
}

/// Evaluates a test. POSIX decides by the number of words; beyond four, `-o` binds weaker than
/// `-a`, and that weaker than `!`.
fn evaluate(words: &[&str]) -> Result<bool, String> {
    match words {
        [] => Ok(false),
        [word] => Ok(!word.is_empty()),
        ["!", word] => Ok(word.is_empty()),
        [operator, operand] if is_unary(operator) => Ok(unary(operator, operand)),
        [left, operator, right] if is_binary(operator) => binary(left, operator, right),
        ["(", word, ")"] => Ok(!word.is_empty()),
        ["!", rest @ ..] if rest.len() <= 3 => evaluate(rest).map(|truth| !truth),
        _ => {
            if let Some(at) = outside(words, "-o") {
                return Ok(evaluate(&words[..at])? | evaluate(&words[at + 1..])?);
            }
            if let Some(at) = outside(words, "-a") {
                return Ok(evaluate(&words[..at])? & evaluate(&words[at + 1..])?);
            }
            match words {
                ["!", rest @ ..] => evaluate(rest).map(|truth| !truth),
                ["(", inner @ .., ")"] => evaluate(inner),
                [_, operator, ..] => Err(format!("{operator}: unknown operand")),
                _ => Err("argument expected".into()),
            }
        }
    }
}

/// Returns where the operator last stands between two expressions, outside of parentheses. Behind a
/// binary operator each word is an operand: in `$x = ")" -o $y = b` there are no parentheses.
fn outside(words: &[&str], operator: &str) -> Option<usize> {
    let mut depth = 0;
    let mut found = None;
    for (at, word) in words.iter().enumerate() {
        match *word {
            _ if at > 1 && is_binary(words[at - 1]) => {}
            "(" => depth += 1,
            ")" => depth -= 1,
            word if word == operator && depth == 0 && at > 0 && at + 1 < words.len() => found = Some(at),
            _ => {}
        }
    }
    found
}

pub(crate) fn unary(operator: &str, operand: &str) -> bool {
    let allowed = |how| access(operand, how).is_ok();
    let found = || fs::metadata(operand).ok();
    match operator {
        "-n" => !operand.is_empty(),
        "-z" => operand.is_empty(),
        "-t" => operand.parse().is_ok_and(script_fds::is_terminal),
        "-r" => allowed(AccessFlags::R_OK),
        "-w" => allowed(AccessFlags::W_OK),
        "-x" => allowed(AccessFlags::X_OK),
        "-L" | "-h" => fs::symlink_metadata(operand).is_ok_and(|m| m.is_symlink()),
        "-e" => found().is_some(),
        "-f" => found().is_some_and(|m| m.is_file()),
        "-d" => found().is_some_and(|m| m.is_dir()),
        "-s" => found().is_some_and(|m| m.len() > 0),
        "-p" => found().is_some_and(|m| m.file_type().is_fifo()),
        "-S" => found().is_some_and(|m| m.file_type().is_socket()),
        "-b" => found().is_some_and(|m| m.file_type().is_block_device()),
        "-c" => found().is_some_and(|m| m.file_type().is_char_device()),
        "-u" => found().is_some_and(|m| m.mode() & 0o4000 != 0),
        "-g" => found().is_some_and(|m| m.mode() & 0o2000 != 0),
        "-k" => found().is_some_and(|m| m.mode() & 0o1000 != 0),
        "-O" => found().is_some_and(|m| m.uid() == nix::unistd::geteuid().as_raw()),
        "-G" => found().is_some_and(|m| m.gid() == nix::unistd::getegid().as_raw()),
        _ => false,
    }
}

pub(crate) fn binary(left: &str, operator: &str, right: &str) -> Result<bool, String> {
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("{text}: bad number"));
    let compare = |fits: fn(i64, i64) -> bool| Ok(fits(number(left)?, number(right)?));
    let changed = |path: &str| fs::metadata(path).and_then(|m| m.modified()).ok();
    match operator {
        "=" | "==" => Ok(left == right),
        "!=" => Ok(left != right),
        "<" => Ok(left < right),
        ">" => Ok(left > right),
        "-eq" => compare(|a, b| a == b),
        "-ne" => compare(|a, b| a != b),
        "-lt" => compare(|a, b| a < b),
        "-le" => compare(|a, b| a <= b),
        "-gt" => compare(|a, b| a > b),
        "-ge" => compare(|a, b| a >= b),
        "-nt" => Ok(changed(left) > changed(right)),
        "-ot" => Ok(changed(left) < changed(right)),
        _ => {
            let id = |path: &str| fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
            Ok(id(left).is_some() && id(left) == id(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_words_decides() {
        for (line, truth) in [
            ("a = a", true),
            ("! a = a", false),
            ("-n", true),
            ("= = =", true),
            ("-f /etc/nothing -o -d /", true),
            ("! -d / -a -d /", false),
            ("( a = b ) -o 3 -gt 2", true),
            ("-z = -z", true),
            ("x = ) -o a = a", true),
            ("x = ( -a a = a", false),
            ("( x != ( -a a = a ) -a 1 -lt 2", true),
            ("-a = -a -a b = b", true),
            ("1 -eq 01", true),
        ] {
            assert_eq!(evaluate(&line.split(' ').collect::<Vec<_>>()), Ok(truth), "{line}");
        }
        assert_eq!(evaluate(&["a", "-eq", "1"]), Err("a: bad number".into()));
        assert_eq!(evaluate(&["a", "b", "c"]), Err("b: unknown operand".into()));
    }
}
