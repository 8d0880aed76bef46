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
            return self.report_misuse(name, "missing ]");
        }
        if words.len() > WORDS_MAX {
            return self.report_misuse(name, "too many arguments");
        }
        match evaluate(&words) {
            Ok(truth) => Ok(i32::from(!truth)),
            Err(what) => self.report_misuse(name, what),
        }
    }
}

/// Words of one expression. Each `!` and each `(` may evaluate a part inside another part.
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

/// What a word means at its place in an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// There is no word: the expression has ended.
    End,
    Operand,
    Unary,
    Binary,
    Not,
    And,
    Or,
    Open,
    Close,
}

/// Evaluates a test as dash does. An operator in the middle of three words is binary. A test of
/// three or four words is negated, or in parentheses, as a whole. In all others `-o` binds weaker
/// than `-a`, and that weaker than `!`.
///
/// An expression that is missing is false: `a -a` is false, and `a -o` is true.
///
/// # Errors
/// Which word has no place in the test, or that one is missing.
fn evaluate(words: &[&str]) -> Result<bool, String> {
    let words = match words {
        [] => return Ok(false),
        [left, operator, right] if is_binary(operator) => return test_binary(left, operator, right),
        ["(", inner @ .., ")"] if matches!(inner.len(), 1 | 2) => inner,
        ["!", rest @ ..] if matches!(rest.len(), 2 | 3) => return evaluate(rest).map(|truth| !truth),
        _ => words,
    };
    let mut expression = Expression { words, at: 0 };
    let truth = expression.alternatives()?;
    match words.get(expression.at + 1) {
        Some(word) => Err(format!("{word}: unknown operand")),
        None => Ok(truth),
    }
}

/// A test that is evaluated from left to right. All its parts are evaluated, also those that no
/// longer change the result.
struct Expression<'a> {
    words: &'a [&'a str],
    /// The word that a part begins with; when a part is evaluated, its last word.
    at: usize,
}

impl Expression<'_> {
    /// Returns what a word means. At the end of a test, and before a binary operator with an
    /// operand, `-n` and its like are operands. At the end of a test `(` is one, too.
    fn meaning(&self, at: usize) -> Meaning {
        let Some(word) = self.words.get(at) else { return Meaning::End };
        let behind = self.words.get(at + 1..).unwrap_or_default();
        match *word {
            "!" => Meaning::Not,
            "-a" => Meaning::And,
            "-o" => Meaning::Or,
            ")" => Meaning::Close,
            "(" if !behind.is_empty() => Meaning::Open,
            word if is_unary(word) => match behind {
                [] => Meaning::Operand,
                [operator, _, ..] if is_binary(operator) => Meaning::Operand,
                _ => Meaning::Unary,
            },
            word if is_binary(word) => Meaning::Binary,
            _ => Meaning::Operand,
        }
    }

    /// Evaluates parts that `-o` joins.
    fn alternatives(&mut self) -> Result<bool, String> {
        let mut truth = self.conjunction()?;
        while self.meaning(self.at + 1) == Meaning::Or {
            self.at += 2;
            truth |= self.conjunction()?;
        }
        Ok(truth)
    }

    /// Evaluates parts that `-a` joins.
    fn conjunction(&mut self) -> Result<bool, String> {
        let mut truth = self.negation()?;
        while self.meaning(self.at + 1) == Meaning::And {
            self.at += 2;
            truth &= self.negation()?;
        }
        Ok(truth)
    }

    /// Evaluates a part that may have `!` before it.
    fn negation(&mut self) -> Result<bool, String> {
        if self.meaning(self.at) != Meaning::Not {
            return self.primary();
        }
        if self.at + 1 == self.words.len() {
            return Ok(true); // `!` alone negates an expression that is missing
        }
        self.at += 1;
        self.negation().map(|truth| !truth)
    }

    /// Evaluates an operand, an operator with its operands, or what is in parentheses.
    fn primary(&mut self) -> Result<bool, String> {
        let Some(word) = self.words.get(self.at).copied() else { return Ok(false) };
        match self.meaning(self.at) {
            Meaning::Open => {
                self.at += 1;
                if self.meaning(self.at) == Meaning::Close {
                    return Ok(false);
                }
                let truth = self.alternatives()?;
                self.at += 1;
                match self.meaning(self.at) {
                    Meaning::Close => Ok(truth),
                    _ => Err("closing parenthesis expected".into()),
                }
            }
            Meaning::Unary => {
                self.at += 1;
                let operand = self.words.get(self.at).copied().unwrap_or_default();
                if word == "-t" && operand.trim().parse::<i64>().is_err() {
                    return Err(format!("{operand}: bad number"));
                }
                Ok(test_unary(word, operand))
            }
            _ if self.meaning(self.at + 1) == Meaning::Binary => {
                let operator = self.words[self.at + 1];
                self.at += 2;
                match self.words.get(self.at) {
                    Some(right) => test_binary(word, operator, right),
                    None => Err(format!("{operator}: argument expected")),
                }
            }
            _ => Ok(!word.is_empty()),
        }
    }
}

pub(crate) fn test_unary(operator: &str, operand: &str) -> bool {
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

pub(crate) fn test_binary(left: &str, operator: &str, right: &str) -> Result<bool, String> {
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

    /// As in dash 0.5.12. `''` is an empty word.
    #[test]
    fn a_test_has_the_status_that_it_has_in_dash() {
        let status = |line: &str| {
            let words: Vec<&str> = line.split(' ').map(|word| if word == "''" { "" } else { word }).collect();
            evaluate(&words).map_or(2, |truth| i32::from(!truth))
        };
        for (wanted, lines) in [
            (
                0,
                "a = a | -n | = = = | -f /etc/nothing -o -d / | ! -d / -o -d / | ( a = b ) -o 3 -gt 2 \
                 | -z = -z | x = ) -o a = a | ( x != ( -a a = a ) -a 1 -lt 2 | -a = -a -a b = b | 1 \
                 -eq 01 | a -a b -o | a -o | a -o b -o | -a | -o -o -o | ! a -a | ! | ! ! ! | a -a ! \
                 | a -o b -a | a -a -n | a -a -t | = -a = | ( | ( '' ) -o a | ( ( a ) ) | a -a ( | ! \
                 ( a = b ) -a c",
            ),
            (
                1,
                "! a = a | ! -d / -a -d / | x = ( -a a = a | a -a | -n a -a | '' -o | '' -a | '' -a \
                 '' -o | -a -a | ! -a | ! ! | a -a ! ! | a -a ! b | '' -o a -a | a = a -a | a = b -o \
                 | -z -a | -n = = | -n = a -a | ( ) | ( a -a ) | ( ) -a a | a -a ( ) | 1 -gt 2 -o 2 \
                 -gt 1 -a 3 -gt 4",
            ),
            (
                2,
                "a -a -a a | a b -a | a -a b -n | -t -a | -z -a -z | -n -o -z '' | = = | ( a = a -a ) \
                 | ( a | a ) | '' -a x -eq 1 | a = b = c | a b c d",
            ),
        ] {
            for line in lines.split(" | ") {
                assert_eq!(status(line), wanted, "{line}");
            }
        }
        assert_eq!(evaluate(&["a", "-eq", "1"]), Err("a: bad number".into()));
        assert_eq!(evaluate(&["a", "b", "c"]), Err("b: unknown operand".into()));
        assert_eq!(evaluate(&["1", "-eq"]), Err("-eq: argument expected".into()));
    }
}
