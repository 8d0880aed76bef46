//! Keeps faults of brush-parser from the shell: a text that makes the parser panic, loop or take
//! time without bound is a syntax error, and the session lives.

use super::depth::Stack;
use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// `(`, `$(` and `${` of one text that may lack their other half. The parser tries each of them
/// both as an expansion and as plain text, so its time doubles with each.
pub(super) const UNCLOSED_MAX: usize = 8;

thread_local! {
    /// True while a panic of this thread is caught, and so is not printed.
    static CATCHES: Cell<bool> = const { Cell::new(false) };
}

/// Runs the parser. Returns `None` if it panicked, and prints nothing of that.
pub(super) fn catch_panic<T>(parse: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !CATCHES.get() {
                print(panic);
            }
        }));
    });
    let outer = CATCHES.replace(true);
    let result = catch_unwind(AssertUnwindSafe(parse));
    CATCHES.set(outer);
    result.ok()
}

/// A text that ends with an error where the stack does. The tokenizer calls itself for each `$(`
/// and `${`, and reads character by character, so it is stopped before it goes too deep.
pub(super) struct Watched<'a> {
    rest: &'a [u8],
    stack: Stack,
}

impl<'a> Watched<'a> {
    pub(super) fn new(text: &'a str, stack: Stack) -> Watched<'a> {
        Watched { rest: text.as_bytes(), stack }
    }
}

impl BufRead for Watched<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.stack.has_room() { Ok(self.rest) } else { Err(io::Error::other("it is too deep")) }
    }

    fn consume(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Returns the text with a newline at its end that no backslash takes away.
///
/// At the end of a text, the tokenizer (brush-parser 0.4.0, `next_token_until`) looks for the word
/// that ends the first here-document. If that word is empty, as in `cat <<""` with a blank behind,
/// and the line of `<<` has not ended, it finds the word again and again, and keeps a token each
/// time: it loops for ever and takes memory without bound. Behind a newline it cannot be there, as
/// the newline begins the document.
pub(super) fn end_first_document(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    while text.contains("<<") && (!text.ends_with('\n') || text.ends_with("\\\n")) {
        text.to_mut().push('\n');
    }
    text
}

/// Counts the `$(` and `${`, and the `(` inside them, that nothing closes. Apostrophes inside
/// `$(…)` are looked at, double quotes and comments are not, so it is an estimate.
pub(super) fn count_unclosed(text: &str) -> usize {
    count_expansions(text, true).0
}

/// Returns how deep expansions are inside each other at most, whatever is quoted.
pub(super) fn depth(text: &str) -> usize {
    count_expansions(text, false).1
}

/// Returns the expansions that nothing closes, and how deep they are at most.
fn count_expansions(text: &str, quotes: bool) -> (usize, usize) {
    let mut deepest = 0;
    let mut open: Vec<char> = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, open.last()) {
            ('\\', _) => drop(chars.next()),
            ('$', _) => open.extend(chars.next_if(|c| matches!(c, '(' | '{'))),
            ('(', Some(_)) => open.push('('),
            (')', Some('(')) | ('}', Some('{')) => drop(open.pop()),
            ('\'', Some('(')) if quotes && chars.clone().any(|c| c == '\'') => {
                chars.by_ref().take_while(|c| *c != '\'').for_each(drop);
            }
            _ => {}
        }
        deepest = deepest.max(open.len());
    }
    (open.len(), deepest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_and_the_next_one_is_reported() {
        assert_eq!(catch_panic(|| 1), Some(1));
        assert_eq!(catch_panic(|| -> i32 { catch_panic(|| panic!("inner")).unwrap_or(2) }), Some(2));
        assert_eq!(catch_panic(|| panic!("outer")), None::<()>);
        assert!(!CATCHES.get());
    }

    #[test]
    fn only_texts_with_here_documents_get_a_newline() {
        for (text, end) in [
            ("echo", "echo"),
            ("echo a\\\n", "echo a\\\n"),
            ("cat <<E", "cat <<E\n"),
            ("cat <<E\n", "cat <<E\n"),
            ("cat <<E \\", "cat <<E \\\n\n"),
            ("cat <<E \\\n", "cat <<E \\\n\n"),
        ] {
            assert_eq!(end_first_document(text), end, "{text}");
        }
    }

    #[test]
    fn brackets_without_their_other_half_are_counted() {
        for (text, count) in [
            (":( :( $(a) :(", 0),
            ("$( ((", 3),
            ("$((1 + (2)))${x:-$(a)}", 0),
            ("${x:-$(a", 2),
            ("$(echo '((' \\( \"it's\")", 0),
            ("\\$(((", 0),
        ] {
            assert_eq!(count_unclosed(text), count, "{text}");
        }
    }
}
