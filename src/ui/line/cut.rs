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
            c if c.is_whitespace() => cut.words.extend(word.take()),
            _ => {
                let begins = word.is_none();
                cut.special |= "|><&;$`()*?[".contains(c) || (c == '~' && begins);
                cut.special |= c == '{' && brace_list(chars.clone());
                word.get_or_insert_default().push(c);
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

/// Returns whether a shell makes several words of the braces that have just been opened: of
/// `web-{1,2}` and `{1..3}`, but not of `{}` or `{.items}`.
fn brace_list(rest: impl Iterator<Item = char>) -> bool {
    let mut before = ' ';
    for c in rest {
        match c {
            ',' => return true,
            '.' if before == '.' => return true,
            '}' | '\'' | '"' | '\\' => return false,
            c if c.is_whitespace() => return false,
            _ => before = c,
        }
    }
    false
}
