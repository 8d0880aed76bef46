//! Cuts a line into words, as a shell would. Pure.

use std::iter::Peekable;
use std::str::Chars;

/// A line, cut as a shell would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub words: Vec<String>,
    /// Something in it only a shell can do: `| > < & ; $`, a backtick, a group, a pattern, a list
    /// in braces, a second line. Also a quote that is not closed, which the shell refuses.
    pub special: bool,
}

/// Cuts a line into words; quotes and backslashes as in sh. A quote that is not closed ends with
/// the text.
pub(crate) fn cut(text: &str) -> Cut {
    let mut cut = Cut::default();
    let mut word: Option<String> = None;
    let mut braces = Braces::default();
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                cut.special |= !single_quoted(&mut chars, word);
            }
            '"' => {
                let word = word.get_or_insert_default();
                cut.special |= !double_quoted(&mut chars, word);
            }
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            '#' if word.is_none() => {
                // A comment to the end of the line.
                if chars.by_ref().any(|c| c == '\n') {
                    cut.special = true;
                }
            }
            '\n' => {
                cut.special = true;
                cut.words.extend(word.take());
            }
            c if c.is_whitespace() => {
                cut.words.extend(word.take());
                braces = Braces::default();
            }
            _ => {
                let word = word.get_or_insert_default();
                cut.special |= "|><&;$`()*?[".contains(c);
                cut.special |= c == '~' && expands_tilde(word);
                cut.special |= braces.closes_list(c);
                word.push(c);
            }
        }
    }
    cut.words.extend(word);
    cut
}

/// Takes the rest of a text in double quotes. Returns whether it is closed, and plain: without what
/// a shell expands.
fn double_quoted(chars: &mut Peekable<Chars<'_>>, word: &mut String) -> bool {
    let mut plain = true;
    while let Some(c) = chars.next() {
        match c {
            '"' => return plain,
            '\\' if matches!(chars.peek(), Some('"' | '\\' | '$' | '`')) => word.extend(chars.next()),
            '\\' if chars.peek() == Some(&'\n') => drop(chars.next()), // the line goes on
            _ => {
                plain &= !matches!(c, '$' | '`');
                word.push(c);
            }
        }
    }
    false
}

/// Takes the rest of a text in single quotes. Returns whether it is closed.
fn single_quoted(chars: &mut impl Iterator<Item = char>, word: &mut String) -> bool {
    for c in chars {
        if c == '\'' {
            return true;
        }
        word.push(c);
    }
    false
}

/// Returns whether a shell may put a home directory in place of a tilde behind `before`, the word
/// so far. In bash it does so also in a word that looks like an assignment, as in
/// `PATH=/bin:~/bin`. Source: bash(1), Tilde Expansion.
fn expands_tilde(before: &str) -> bool {
    before.is_empty() || before.ends_with(['=', ':'])
}

/// The braces of a word, as far as they stand outside of quotes.
#[derive(Default)]
struct Braces {
    /// For each brace that is open, whether a comma or two dots stand in it, and in none inside it.
    open: Vec<bool>,
    before: Option<char>,
}

impl Braces {
    /// Takes the next character of the word. Returns whether a shell may make several words of
    /// what it ends: of `web-{1,2}`, `{1..3}` and `{"a":1,"b":2}`, but not of `{}`, `{.a},{.b}` or
    /// `{","}`. A brace without a list in it closes nothing if it would be the last: `{a}b,c}` is
    /// `a}b c`. Source: bash(1), Brace Expansion.
    fn closes_list(&mut self, c: char) -> bool {
        let is_list = c == ',' || (c == '.' && self.before == Some('.'));
        self.before = Some(c);
        match c {
            '{' => self.open.push(false),
            '}' if self.open.last() == Some(&true) => return true,
            '}' if self.open.len() > 1 => drop(self.open.pop()),
            _ if is_list => self.open.last_mut().into_iter().for_each(|list| *list = true),
            _ => {}
        }
        false
    }
}
