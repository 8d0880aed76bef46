//! From the text of a selector to its requirements, token by token. Source: `labels.Parse` of
//! apimachinery, whose texts these are.

use super::{Op, Requirement};
use crate::gostr::quote;
use crate::validate::names;
use std::collections::BTreeSet;

/// Characters between tokens.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];
/// Characters that end a word.
const MARKS: [char; 7] = ['=', '!', '(', ')', ',', '>', '<'];
/// Tokens made of these characters, the longer ones first.
const SIGNS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

/// A part of the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A key or a value. Behind a key `in` and `notin` are operators.
    Word(&'a str),
    /// One of [`SIGNS`].
    Sign(&'a str),
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// Returns the sentence for a token in the wrong place.
    fn instead_of(self, expected: &str) -> String {
        let found = match self {
            Token::Word(text) | Token::Sign(text) => text,
            Token::End => "",
        };
        format!("found '{found}', expected: {expected}")
    }
}

/// Reads the requirements of a selector, in their order; none of an empty text.
///
/// # Errors
/// Upstream's sentence: a token in the wrong place, or a key or value that no label can have.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { rest: text };
    let mut all = vec![];
    let mut expected = "!, identifier, or 'end of string'";
    loop {
        match parser.peek() {
            Token::End if all.is_empty() => return Ok(all),
            Token::Word(_) | Token::Sign("!") => {}
            other => return Err(other.instead_of(expected)),
        }
        all.push(parser.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?);
        match parser.next() {
            Token::End => return Ok(all),
            Token::Sign(",") => expected = "identifier after ','",
            other => return Err(other.instead_of("',' or 'end of string'")),
        }
    }
}

/// The text that is not read yet.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// Returns the next token, and what follows it.
    fn split(&self) -> (Token<'a>, &'a str) {
        let rest = self.rest.trim_start_matches(SPACES);
        if rest.is_empty() {
            return (Token::End, rest);
        }
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            let (sign, rest) = rest.split_at(sign.len());
            return (Token::Sign(sign), rest);
        }
        let end = rest.find(|c: char| SPACES.contains(&c) || MARKS.contains(&c));
        let (word, rest) = rest.split_at(end.unwrap_or(rest.len()));
        (Token::Word(word), rest)
    }

    /// Returns the next token and leaves it.
    fn peek(&self) -> Token<'a> {
        self.split().0
    }

    /// Takes the next token.
    fn next(&mut self) -> Token<'a> {
        let (token, rest) = self.split();
        self.rest = rest;
        token
    }

    /// Reads `a`, `!a`, `a=b`, `a in (b,c)`.
    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.next();
        let is_absent = token == Token::Sign("!");
        if is_absent {
            token = self.next();
        }
        let Token::Word(key) = token else { return Err(token.instead_of("identifier")) };
        if let Some(problem) = names::qualified_name(key).first() {
            return Err(refused("<nil>", key, problem));
        }
        let made = |op: Op, values: Vec<String>| Requirement { key: key.to_string(), op, values };
        if is_absent {
            return Ok(made(Op::DoesNotExist, vec![]));
        }
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(made(Op::Exists, vec![]));
        }
        let op = match self.next() {
            Token::Word("in") => Op::In,
            Token::Word("notin") => Op::NotIn,
            Token::Sign("=" | "==") => Op::Equals,
            Token::Sign("!=") => Op::NotEquals,
            Token::Sign(">") => Op::GreaterThan,
            Token::Sign("<") => Op::LessThan,
            other => return Err(other.instead_of("in, notin, =, ==, !=, gt, lt")),
        };
        let values = match op {
            Op::In | Op::NotIn => self.values()?,
            _ => BTreeSet::from([self.value()?]),
        };
        check_values(key, &op, &values)?;
        Ok(made(op, values.into_iter().map(str::to_string).collect()))
    }

    /// Reads the one value behind a sign; nothing is the empty value.
    fn value(&mut self) -> Result<&'a str, String> {
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok("");
        }
        match self.next() {
            Token::Word(value) => Ok(value),
            other => Err(other.instead_of("identifier")),
        }
    }

    /// Reads the values in parentheses: each once, in alphabetical order. A comma without a value
    /// stands beside the empty value: `(,a)`, `(a,)`, `(a,,b)`.
    fn values(&mut self) -> Result<BTreeSet<&'a str>, String> {
        match self.next() {
            Token::Sign("(") => {}
            Token::Word(found) | Token::Sign(found) => return Err(format!("found '{found}' expected: '('")),
            Token::End => return Err("found '' expected: '('".into()),
        }
        let mut found = BTreeSet::new();
        match self.peek() {
            Token::Word(_) | Token::Sign(",") => {}
            Token::Sign(")") => {
                found.insert("");
                self.next();
                return Ok(found);
            }
            other => return Err(other.instead_of("',', ')' or identifier")),
        }
        loop {
            match self.next() {
                Token::Word(value) => {
                    found.insert(value);
                    match self.peek() {
                        Token::Sign(",") => continue,
                        Token::Sign(")") => {}
                        other => return Err(other.instead_of("',' or ')'")),
                    }
                }
                Token::Sign(",") => {
                    let behind = self.peek();
                    if found.is_empty() || matches!(behind, Token::Sign("," | ")")) {
                        found.insert("");
                    }
                    if behind != Token::Sign(")") {
                        continue;
                    }
                }
                other => return Err(other.instead_of("',', or identifier")),
            }
            self.next();
            return Ok(found);
        }
    }
}

/// Checks the values of a requirement, as labels have them.
fn check_values(key: &str, op: &Op, values: &BTreeSet<&str>) -> Result<(), String> {
    for (i, value) in values.iter().enumerate() {
        if matches!(op, Op::GreaterThan | Op::LessThan) && value.parse::<i64>().is_err() {
            let why = "for 'Gt', 'Lt' operators, the value must be an integer";
            return Err(refused(&format!("values[{i}]"), value, why));
        }
        if let Some(problem) = names::label_value(value).first() {
            return Err(refused(&format!("values[{i}][{key}]"), value, problem));
        }
    }
    Ok(())
}

fn refused(place: &str, value: &str, why: &str) -> String {
    format!("{place}: Invalid value: {}: {why}", quote(value))
}

#[cfg(test)]
mod tests {
    use super::super::Selector;

    /// As `labels.Parse` of apimachinery 0.35 reads them.
    #[test]
    fn texts_are_read_token_by_token() {
        for (text, want) in [
            ("", ""),
            (" \t", ""),
            ("a", "a"),
            ("! a ,b", "!a,b"),
            ("a=,b= ", "a=,b="),
            ("a == b,c!=d", "a=b,c!=d"),
            ("in in(notin,in)", "in in (in,notin)"),
            ("notin=in", "notin=in"),
            ("a in ()", "a in ()"),
            ("a in (,b)", "a in (,b)"),
            ("a in (b,)", "a in (,b)"),
            ("a notin (b,,c)", "a notin (,b,c)"),
            ("a in (b,,)", "a in (,b)"),
            ("a in (,,)", "a in ()"),
            ("a>1,b<2", "a>1,b<2"),
        ] {
            assert_eq!(Selector::parse(text).map(|s| s.to_string()).as_deref(), Ok(want), "{text:?}");
        }
    }

    #[test]
    fn a_token_in_the_wrong_place_is_named() {
        for (text, why) in [
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a,,b", "found ',', expected: identifier after ','"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            ("a in (b) c", "found 'c', expected: ',' or 'end of string'"),
        ] {
            assert_eq!(Selector::parse(text).unwrap_err(), why, "{text}");
        }
        for (text, why) in [
            ("!", "found '', expected: identifier"),
            ("!!a", "found '!', expected: identifier"),
            ("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a (b)", "found '(', expected: in, notin, =, ==, !=, gt, lt"),
            ("a = = b", "found '=', expected: identifier"),
            ("a=(b)", "found '(', expected: identifier"),
            ("a in b", "found 'b' expected: '('"),
            ("a in", "found '' expected: '('"),
            ("a in (", "found '', expected: ',', ')' or identifier"),
            ("a in (b c)", "found 'c', expected: ',' or ')'"),
            ("a in (b", "found '', expected: ',' or ')'"),
            ("a in (b,=c)", "found '=', expected: ',', or identifier"),
        ] {
            let want = format!("unable to parse requirement: {why}");
            assert_eq!(Selector::parse(text).unwrap_err(), want, "{text}");
        }
    }
}
