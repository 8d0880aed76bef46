//! Extended regular expressions as POSIX has them: the leftmost longest match, over bytes. The
//! crate `regex` takes the first alternative that matches instead, so `/a|ab/` would find "a" in
//! "ab". This file reads the expression; `automaton` matches it.

mod automaton;

use super::run::value::escape;
use automaton::Automaton;
use std::cell::RefCell;

/// Nested groups. Deeper ones are an error: reading, building and dropping an expression recurse,
/// and together with `MAX_STACKED` this bounds how deep, to less than 8 MiB of stack in a build
/// without optimisation (the test `the_deepest_expression_fits_on_a_small_stack`).
const MAX_DEPTH: usize = 200;
/// Repetitions of one part that cannot be merged, as in `a{2,3}{4,5}`. `a**` and `a+?` can.
const MAX_STACKED: usize = 4;
/// The largest count in `{n,m}`, as RE_DUP_MAX of most systems allows at least.
const MAX_REPEAT: usize = 1000;

/// A set of bytes.
type Set = [bool; 256];

#[derive(Debug, Clone)]
enum Node {
    Empty,
    Set(Box<Set>),
    Begin,
    End,
    Concat(Vec<Node>),
    Either(Vec<Node>),
    Repeat(Box<Node>, usize, Option<usize>),
}

/// Where a search over a text that arrives in pieces goes on.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Bytes that are searched.
    at: usize,
    /// The states of the automaton after them; `None` before the first byte.
    states: Option<Vec<u32>>,
}

/// What a text that may go on says of its first match that is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// From and to: more bytes change nothing.
    Match(usize, usize),
    /// More bytes may begin an earlier match or make the match longer.
    Open,
    /// The text has no match yet.
    None,
}

/// A compiled regular expression.
#[derive(Debug)]
pub(super) struct Regex {
    /// Its automaton grows while it is used.
    automaton: RefCell<Automaton>,
}

impl Regex {
    pub(super) fn new(pattern: &[u8]) -> Result<Regex, String> {
        let mut parser = Parser { pattern, at: 0, depth: 0 };
        let fault = |what| format!("{what} in the regular expression /{}/", String::from_utf8_lossy(pattern));
        let node = parser.parse_alternation().map_err(fault)?;
        if parser.at < pattern.len() {
            return Err(fault("unmatched )".into()));
        }
        Ok(Regex { automaton: RefCell::new(Automaton::new(&node).map_err(fault)?) })
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        self.automaton.borrow_mut().is_match(text, 0)
    }

    /// Returns the longest of the leftmost matches that begin at `from` or later. `^` matches only
    /// where the text begins, not at `from`.
    pub(super) fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        self.automaton.borrow_mut().find(text, from)
    }

    /// Goes on with a search over a text that has grown. Returns whether a match, which may be an
    /// empty one, ends in it.
    pub(super) fn resume(&self, text: &[u8], scan: &mut Scan) -> bool {
        self.automaton.borrow_mut().resume(text, scan)
    }

    /// Returns the first match that is not empty; `ended` says that the text does not go on.
    pub(super) fn find_ahead(&self, text: &[u8], ended: bool) -> Ahead {
        self.automaton.borrow_mut().find_ahead(text, ended)
    }
}

struct Parser<'a> {
    pattern: &'a [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.at).copied()
    }

    fn parse_alternation(&mut self) -> Result<Node, String> {
        let mut branches = vec![self.parse_concatenation()?];
        while self.peek() == Some(b'|') {
            self.at += 1;
            branches.push(self.parse_concatenation()?);
        }
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Either(branches) })
    }

    fn parse_concatenation(&mut self) -> Result<Node, String> {
        let mut parts: Vec<Node> = Vec::new();
        while let Some(byte) = self.peek() {
            if byte == b'|' || (byte == b')' && self.depth > 0) {
                break;
            }
            // A repetition of nothing is a literal character.
            let literal = parts.is_empty() && matches!(byte, b'*' | b'+' | b'?' | b'{');
            let mut part = if literal { self.parse_literal() } else { self.parse_atom()? };
            let mut stacked = 0;
            while let Some((min, max)) = self.parse_repetition()? {
                part = match part {
                    Node::Begin | Node::End => part,
                    Node::Repeat(inner, least, most)
                        if is_symbol_repetition(least, most) && is_symbol_repetition(min, max) =>
                    {
                        Node::Repeat(inner, least * min, most.and(max))
                    }
                    part => {
                        stacked += 1;
                        if stacked > MAX_STACKED {
                            return Err("too many repetitions".into());
                        }
                        Node::Repeat(Box::new(part), min, max)
                    }
                };
            }
            parts.push(part);
        }
        Ok(match parts.len() {
            0 => Node::Empty,
            1 => parts.remove(0),
            _ => Node::Concat(parts),
        })
    }

    fn parse_literal(&mut self) -> Node {
        let mut set = [false; 256];
        set[usize::from(self.pattern[self.at])] = true;
        self.at += 1;
        Node::Set(Box::new(set))
    }

    /// `*`, `+`, `?` or `{n,m}`, if one follows. A brace that begins no count is a literal.
    fn parse_repetition(&mut self) -> Result<Option<(usize, Option<usize>)>, String> {
        let found = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => {
                // Only what a count may have is looked at, not everything up to a far `}`.
                let rest = &self.pattern[self.at + 1..];
                let length = rest.iter().take_while(|b| b.is_ascii_digit() || **b == b',').count();
                if rest.get(length) != Some(&b'}') {
                    return Ok(None);
                }
                let Some(counts) = parse_counts(&rest[..length]) else { return Ok(None) };
                let (min, max) = counts;
                if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
                    return Err("invalid repetition count".into());
                }
                self.at += 1 + length;
                counts
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(found))
    }

    fn parse_atom(&mut self) -> Result<Node, String> {
        let byte = self.pattern[self.at];
        match byte {
            b'(' => {
                self.at += 1;
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err("too many nested groups".into());
                }
                let node = self.parse_alternation()?;
                self.depth -= 1;
                if self.peek() != Some(b')') {
                    return Err("missing )".into());
                }
                self.at += 1;
                // A group around an anchor can be repeated, the anchor alone cannot.
                Ok(Node::Concat(vec![node]))
            }
            b'^' | b'$' => {
                self.at += 1;
                Ok(if byte == b'^' { Node::Begin } else { Node::End })
            }
            b'.' => {
                self.at += 1;
                Ok(Node::Set(Box::new([true; 256])))
            }
            b'[' => match self.parse_bracket() {
                Some(node) => node,
                None => Err("missing ]".into()),
            },
            b'\\' => self.parse_escape(),
            _ => Ok(self.parse_literal()),
        }
    }

    fn parse_escape(&mut self) -> Result<Node, String> {
        self.at += 1;
        let rest = &self.pattern[self.at..];
        let mut set = [false; 256];
        let Some(&byte) = rest.first() else {
            set[usize::from(b'\\')] = true;
            return Ok(Node::Set(Box::new(set)));
        };
        let mut length = 1;
        match byte {
            b'y' | b'B' | b'<' | b'>' | b'`' | b'\'' => {
                return Err(format!("\\{} is gawk's own and not supported", char::from(byte)));
            }
            b'w' | b'W' => {
                set_to_matching(&mut set, |b| (b.is_ascii_alphanumeric() || b == b'_') == (byte == b'w'))
            }
            b's' | b'S' => set_to_matching(&mut set, |b| is_space(b) == (byte == b's')),
            _ => {
                let (code, bytes) = escape(rest).unwrap_or((byte, 1));
                set[usize::from(code)] = true;
                length = bytes;
            }
        }
        self.at += length;
        Ok(Node::Set(Box::new(set)))
    }

    /// Parses a bracket expression; `None` if its end is missing.
    fn parse_bracket(&mut self) -> Option<Result<Node, String>> {
        let mut set = [false; 256];
        self.at += 1;
        let negated = self.peek()? == b'^';
        self.at += usize::from(negated);
        let first = self.at;
        loop {
            let byte = self.peek()?;
            if byte == b']' && self.at > first {
                self.at += 1;
                break;
            }
            if byte == b'[' && self.pattern.get(self.at + 1) == Some(&b':') {
                let rest = &self.pattern[self.at + 2..];
                let length = rest.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
                if rest[length..].starts_with(b":]") {
                    let Some(test) = class_predicate(&rest[..length]) else {
                        let name = String::from_utf8_lossy(&rest[..length]).into_owned();
                        return Some(Err(format!("unknown class [:{name}:]")));
                    };
                    insert_matching(&mut set, test);
                    self.at += 4 + length;
                    continue;
                }
            }
            if let Some(name) = self.long_symbol() {
                return Some(Err(format!("[{name}] is no single byte, so it is not supported")));
            }
            let low = self.bracket_byte()?;
            let ends =
                self.peek() == Some(b'-') && !matches!(self.pattern.get(self.at + 1), Some(b']') | None);
            if !ends {
                set[usize::from(low)] = true;
                continue;
            }
            self.at += 1;
            let high = self.bracket_byte()?;
            if high < low {
                return Some(Err("invalid range".into()));
            }
            insert_matching(&mut set, |b| (low..=high).contains(&b));
        }
        if negated {
            set.iter_mut().for_each(|member| *member = !*member);
        }
        Some(Ok(Node::Set(Box::new(set))))
    }

    /// `[.name.]` or `[=name=]` of more than one letter, if that stands here: its inner part.
    fn long_symbol(&self) -> Option<String> {
        let [b'[', mark @ (b'.' | b'='), rest @ ..] = &self.pattern[self.at..] else { return None };
        let length = rest.iter().take_while(|b| b.is_ascii_alphabetic() || **b == b'-').count();
        let named = length > 1 && rest[length..].starts_with(&[*mark, b']']);
        named.then(|| {
            let (mark, name) = (char::from(*mark), String::from_utf8_lossy(&rest[..length]));
            format!("{mark}{name}{mark}")
        })
    }

    /// Reads one byte of a bracket expression, which may be written as `[.x.]` or `[=x=]`.
    fn bracket_byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        if let [b'[', mark @ (b'.' | b'='), symbol, end, b']', ..] = &self.pattern[self.at..]
            && mark == end
        {
            self.at += 5;
            return Some(*symbol);
        }
        self.at += 1;
        if byte != b'\\' {
            return Some(byte);
        }
        let rest = &self.pattern[self.at..];
        let (code, length) = escape(rest).or_else(|| rest.first().map(|&other| (other, 1)))?;
        self.at += length;
        Some(code)
    }
}

fn set_to_matching(set: &mut Set, test: impl Fn(u8) -> bool) {
    for (byte, member) in (0..=255u8).zip(set.iter_mut()) {
        *member = test(byte);
    }
}

fn insert_matching(set: &mut Set, test: impl Fn(u8) -> bool) {
    for (byte, member) in (0..=255u8).zip(set.iter_mut()) {
        *member |= test(byte);
    }
}

/// Returns whether a repetition is `*`, `+`, `?` or what means the same. Two of them in a row are
/// one again: `a+?` is `a*`. Of other counts that is not so: `a{2,3}?` is none, two or three.
fn is_symbol_repetition(min: usize, max: Option<usize>) -> bool {
    min <= 1 && max.is_none_or(|max| max == 1)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Reads what stands between braces: `n`, `n,` or `n,m`.
fn parse_counts(text: &[u8]) -> Option<(usize, Option<usize>)> {
    let text = std::str::from_utf8(text).ok()?;
    let count = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse().ok()).flatten();
    match text.split_once(',') {
        None => count(text).map(|n| (n, Some(n))),
        Some((min, "")) => Some((count(min)?, None)),
        Some((min, max)) => Some((count(min)?, Some(count(max)?))),
    }
}

fn class_predicate(name: &[u8]) -> Option<fn(u8) -> bool> {
    Some(match name {
        b"alpha" => |b| b.is_ascii_alphabetic(),
        b"digit" => |b| b.is_ascii_digit(),
        b"alnum" => |b| b.is_ascii_alphanumeric(),
        b"upper" => |b| b.is_ascii_uppercase(),
        b"lower" => |b| b.is_ascii_lowercase(),
        b"space" => is_space,
        b"blank" => |b| b == b' ' || b == b'\t',
        b"punct" => |b| b.is_ascii_punctuation(),
        b"print" => |b| (b' '..=b'~').contains(&b),
        b"graph" => |b| b.is_ascii_graphic(),
        b"cntrl" => |b| b.is_ascii_control(),
        b"xdigit" => |b| b.is_ascii_hexdigit(),
        _ => return None,
    })
}
