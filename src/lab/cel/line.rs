//! A typed line, split as a shell splits it: quotes, `$(…)`, redirections, comments and
//! here-documents.

use std::iter::Peekable;
use std::str::Chars;

/// The word by which a command is given the other end of `<(…)` or `>(…)`.
const PIPE: &str = "/dev/fd/63";

/// What stands between two commands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sign {
    /// `;` or the end of a line.
    End,
    /// `&`
    Background,
    And,
    Or,
    Pipe,
}

/// A word, or what stands between words.
#[derive(Debug)]
pub(super) enum Part {
    Word(String),
    /// The text of a `$(…)`, of backquotes, of a subshell, or of a `<(…)`.
    Inner(String),
    Sign(Sign),
    /// A function's definition: what follows is not read.
    Unknown,
}

/// Reads the characters of a line.
struct Splitter<'a> {
    chars: Peekable<Chars<'a>>,
    parts: Vec<Part>,
    /// The word that has begun.
    word: Option<String>,
    /// Redirections whose file is the next word: two of `< <(…)`.
    redirections: usize,
    /// A here-document begins at the next line.
    has_document: bool,
}

/// Splits a line into words and signs. `None`: quotes or brackets are not closed.
pub(super) fn split(line: &str) -> Option<Vec<Part>> {
    let chars = line.chars().peekable();
    let mut line = Splitter { chars, parts: Vec::new(), word: None, redirections: 0, has_document: false };
    while let Some(c) = line.chars.next() {
        match c {
            '\n' if line.has_document => break,
            '\\' => match line.chars.next() {
                Some('\n') | None => {}
                Some(c) => line.push(c),
            },
            '\'' => {
                let text = line.until('\'')?;
                line.word.get_or_insert_default().push_str(&text);
            }
            '"' => line.double_quoted()?,
            '`' | '$' => line.inner(c)?,
            '#' if line.word.is_none() => while line.chars.next_if(|c| *c != '\n').is_some() {},
            '(' if line.redirections > 0 && line.word.is_none() => {
                let text = line.until_closed()?;
                line.parts.push(Part::Inner(text));
                line.redirections -= 1;
                line.word = Some(PIPE.into());
                line.end_word();
            }
            '(' => {
                line.end_word();
                if matches!(line.parts.last(), Some(Part::Word(_))) {
                    line.parts.push(Part::Unknown);
                    break;
                }
                let text = line.until_closed()?;
                line.parts.push(Part::Inner(text));
            }
            ')' => return None,
            '<' | '>' => line.redirection(c),
            '&' if line.chars.next_if_eq(&'>').is_some() => line.redirection('>'),
            ';' | '\n' | '&' | '|' => line.sign(c),
            c if c.is_whitespace() => line.end_word(),
            c => line.push(c),
        }
    }
    line.end_word();
    Some(line.parts)
}

impl Splitter<'_> {
    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if self.redirections > 0 {
            self.redirections = 0;
        } else {
            self.parts.push(Part::Word(word));
        }
    }

    fn sign(&mut self, first: char) {
        self.end_word();
        let sign = match first {
            '&' if self.chars.next_if_eq(&'&').is_some() => Sign::And,
            '&' => Sign::Background,
            '|' if self.chars.next_if_eq(&'|').is_some() => Sign::Or,
            '|' => {
                self.chars.next_if_eq(&'&');
                Sign::Pipe
            }
            _ => Sign::End,
        };
        self.parts.push(Part::Sign(sign));
    }

    /// Reads the sign of a redirection. The file's number before it is no word of the command.
    fn redirection(&mut self, first: char) {
        let is_number = |word: &String| word.chars().all(|c| c.is_ascii_digit());
        if self.word.as_ref().is_some_and(is_number) {
            self.word = None;
        }
        self.end_word();
        if first == '<' && self.chars.next_if_eq(&'<').is_some() {
            // `<<<` has a word, and no document.
            self.has_document |= self.chars.next_if_eq(&'<').is_none();
            self.chars.next_if_eq(&'-');
        }
        while self.chars.next_if(|c| matches!(c, '>' | '&' | '|')).is_some() {}
        self.redirections += 1;
    }

    /// Reads what runs inside a word: `$(…)` or backquotes. Another `$` is a letter like others.
    fn inner(&mut self, first: char) -> Option<()> {
        let text = match first {
            '`' => self.until('`')?,
            _ if self.chars.next_if_eq(&'(').is_some() => self.until_closed()?,
            letter => {
                self.push(letter);
                return Some(());
            }
        };
        self.word.get_or_insert_default();
        self.parts.push(Part::Inner(text));
        Some(())
    }

    fn double_quoted(&mut self) -> Option<()> {
        self.word.get_or_insert_default();
        loop {
            match self.chars.next()? {
                '"' => return Some(()),
                '\\' => match self.chars.next()? {
                    '\n' => {}
                    c @ ('"' | '\\' | '$' | '`') => self.push(c),
                    c => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                c @ ('$' | '`') => self.inner(c)?,
                c => self.push(c),
            }
        }
    }

    /// Returns the text up to a sign.
    fn until(&mut self, end: char) -> Option<String> {
        let mut text = String::new();
        loop {
            match self.chars.next()? {
                c if c == end => return Some(text),
                c => text.push(c),
            }
        }
    }

    /// Returns the text up to the bracket that closes the one that was read.
    fn until_closed(&mut self) -> Option<String> {
        let mut text = String::new();
        let (mut open, mut quote) = (1, None);
        loop {
            let c = self.chars.next()?;
            match (c, quote) {
                ('\\', None | Some('"')) => {
                    text.push(c);
                    text.push(self.chars.next()?);
                    continue;
                }
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(end)) if c == end => quote = None,
                ('(', None) => open += 1,
                (')', None) => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Some(text);
            }
            text.push(c);
        }
    }
}
