//! Splits a program into tokens. Whether `/` divides or begins a regular expression depends on the
//! grammar, so the parser asks for a regular expression where one may stand.

use super::ast::Builtin;
use crate::awk::run::value::{leading_number, unescape};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Newline,
    End,
    Number(f64),
    Text(Vec<u8>),
    /// A name, and whether `(` follows at once: then it is a call of a function.
    Name(String, bool),
    Builtin(Builtin),
    Keyword(&'static str),
    Symbol(&'static str),
}

const KEYWORDS: [&str; 20] = [
    "BEGIN", "END", "break", "continue", "delete", "do", "else", "exit", "for", "func", "function",
    "getline", "if", "in", "next", "nextfile", "print", "printf", "return", "while",
];

const SYMBOLS: [&str; 44] = [
    "**=", "&&", "||", "++", "--", "+=", "-=", "*=", "/=", "%=", "^=", "**", "<=", ">=", "==", "!=", "!~",
    ">>", "|&", "{", "}", "(", ")", "[", "]", ";", ",", "+", "-", "*", "/", "%", "^", "!", "<", ">", "|",
    "?", ":", "~", "$", "=", "@", "&",
];

const BUILTINS: [(&str, Builtin); 23] = [
    ("atan2", Builtin::Atan2),
    ("close", Builtin::Close),
    ("cos", Builtin::Cos),
    ("exp", Builtin::Exp),
    ("fflush", Builtin::Fflush),
    ("gsub", Builtin::Gsub),
    ("index", Builtin::Index),
    ("int", Builtin::Int),
    ("length", Builtin::Length),
    ("log", Builtin::Log),
    ("match", Builtin::Match),
    ("rand", Builtin::Rand),
    ("sin", Builtin::Sin),
    ("split", Builtin::Split),
    ("sprintf", Builtin::Sprintf),
    ("sqrt", Builtin::Sqrt),
    ("srand", Builtin::Srand),
    ("sub", Builtin::Sub),
    ("substr", Builtin::Substr),
    ("system", Builtin::System),
    ("systime", Builtin::Systime),
    ("tolower", Builtin::Tolower),
    ("toupper", Builtin::Toupper),
];

/// Where the lexer stands. A copy of it is a place to come back to.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    source: &'a [u8],
    at: usize,
    pub line: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a [u8]) -> Lexer<'a> {
        Lexer { source, at: 0, line: 1 }
    }

    fn peek(&self) -> Option<u8> {
        self.source.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Result<Token, String> {
        self.skip_blanks();
        let Some(byte) = self.peek() else { return Ok(Token::End) };
        match byte {
            b'\n' => {
                self.at += 1;
                self.line += 1;
                Ok(Token::Newline)
            }
            b'"' => self.read_text(),
            b'0'..=b'9' | b'.' => self.read_number(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.read_word(),
            _ => {
                let rest = &self.source[self.at..];
                let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(symbol.as_bytes()));
                let symbol = symbol.ok_or_else(|| {
                    let text = String::from_utf8_lossy(&rest[..rest.len().min(4)]);
                    format!("unexpected character '{}'", text.chars().next().unwrap_or('?').escape_default())
                })?;
                self.at += symbol.len();
                match *symbol {
                    "|&" => Err("|& is gawk's own and not supported".into()),
                    "@" => Err("@ (indirect calls, @include) is gawk's own and not supported".into()),
                    "&" => Err("unexpected character '&'".into()),
                    "**" => Ok(Token::Symbol("^")),
                    "**=" => Ok(Token::Symbol("^=")),
                    symbol => Ok(Token::Symbol(symbol)),
                }
            }
        }
    }

    fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.source[self.at + 1..].starts_with(b"\n") => {
                    self.at += 2;
                    self.line += 1;
                }
                b'\\' if self.source[self.at + 1..].starts_with(b"\r\n") => {
                    self.at += 3;
                    self.line += 1;
                }
                b'#' => self.at += self.source[self.at..].iter().take_while(|&&b| b != b'\n').count(),
                _ => break,
            }
        }
    }

    fn read_text(&mut self) -> Result<Token, String> {
        let start = self.at + 1;
        self.at = start;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.line += usize::from(self.source.get(self.at + 1) == Some(&b'\n'));
                    self.at += 2;
                }
                Some(b'\n') | None => return Err("unterminated string".into()),
                Some(_) => self.at += 1,
            }
        }
        let raw = &self.source[start..self.at];
        self.at += 1;
        Ok(Token::Text(unescape(raw)))
    }

    fn read_number(&mut self) -> Result<Token, String> {
        let rest = &self.source[self.at..];
        if rest.len() > 2 && rest[0] == b'0' && matches!(rest[1], b'x' | b'X') && rest[2].is_ascii_hexdigit()
        {
            return Err("hexadecimal numbers are not supported".into());
        }
        match leading_number(rest) {
            (_, 0) => Err("unexpected character '.'".into()),
            (number, length) => {
                self.at += length;
                Ok(Token::Number(number))
            }
        }
    }

    fn read_word(&mut self) -> Result<Token, String> {
        let rest = &self.source[self.at..];
        let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        let word = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length;
        if let Some(keyword) = KEYWORDS.iter().find(|keyword| **keyword == word) {
            return match *keyword {
                "func" => Ok(Token::Keyword("function")),
                keyword => Ok(Token::Keyword(keyword)),
            };
        }
        if let Some((_, builtin)) = BUILTINS.iter().find(|(name, _)| *name == word) {
            return Ok(Token::Builtin(*builtin));
        }
        let called = self.peek() == Some(b'(');
        Ok(Token::Name(word, called))
    }

    /// Reads the regular expression whose opening `/` was the last token; `/=` has `=` as its first
    /// byte.
    pub(super) fn read_regex(&mut self, opening: &str) -> Result<Vec<u8>, String> {
        let start = self.at + 1 - opening.len();
        self.at = start;
        let mut bracket: Option<usize> = None;
        // Once a bracket has no end in this line, no later one has: looking again at each would
        // take quadratic time.
        let mut closes = true;
        loop {
            let byte = match self.peek() {
                Some(b'\n') | None => return Err("unterminated regular expression".into()),
                Some(byte) => byte,
            };
            match (byte, bracket) {
                (b'\\', _) if self.source.get(self.at + 1).is_some_and(|&b| b != b'\n') => self.at += 1,
                // A bracket expression may contain a slash, if it has an end in this line.
                (b'[', None) if closes && self.closes() => {
                    let negated = usize::from(self.source.get(self.at + 1) == Some(&b'^'));
                    bracket = Some(self.at + 1 + negated);
                }
                (b'[', None) => closes = false,
                (b'[', Some(_)) if self.source.get(self.at + 1) == Some(&b':') => {
                    let rest = &self.source[self.at + 2..];
                    let name = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
                    if rest[name..].starts_with(b":]") {
                        self.at += 2 + name + 1;
                    }
                }
                (b']', Some(first)) if self.at > first => bracket = None,
                (b'/', None) => break,
                _ => {}
            }
            self.at += 1;
        }
        let pattern = self.source[start..self.at].to_vec();
        self.at += 1;
        Ok(pattern)
    }

    /// Returns whether a bracket that opens here is closed before the end of the line.
    fn closes(&self) -> bool {
        let rest = &self.source[self.at + 1..];
        let skip = usize::from(rest.first() == Some(&b'^'));
        rest.iter().skip(skip + 1).take_while(|&&b| b != b'\n').any(|&b| b == b']')
    }

    /// Returns up to 30 bytes of what follows in the line, for messages.
    pub(super) fn rest_of_line(&self) -> String {
        let rest = &self.source[self.at.min(self.source.len())..];
        let length = rest.iter().take_while(|&&b| b != b'\n').count().min(30);
        String::from_utf8_lossy(&rest[..length]).trim().to_string()
    }
}
