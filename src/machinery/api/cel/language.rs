//! The language itself, as `cel-spec` has it: its functions, its reserved words, its tokens, and
//! how deep an expression nests. A lesson's checks are written in it, too.

/// Functions and macros of the language itself (`cel-spec`, section *List of Standard
/// Definitions*). A name that is neither here nor among the functions of the place of the
/// expression is refused before it runs: the evaluator would fail only where it calls it.
pub const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "has",
    "all",
    "exists",
    "exists_one",
    "filter",
    "map",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "bytes",
    "duration",
    "timestamp",
    "type",
    "dyn",
    "getFullYear",
    "getMonth",
    "getDate",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
];

/// Words that are no names in CEL.
pub(crate) const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Returns an upper bound of the levels of an expression's tree, from its tokens: brackets,
/// operators, selections and calls each make one; a comma, `&&`, `||`, `?` or `:` begins a new
/// branch, whose operators do not stand above those of the branch before. A parser that recurses
/// needs the bound before it reads the expression.
///
/// `a.b[0] == 'x((('` has four levels: the selection, the index, its brackets and the comparison.
/// The string has none.
///
/// # Errors
/// The first place that is no token of CEL, or a closing bracket without its opening one. Both are
/// errors of syntax. A parser skips them and reads on, so what it would then take for a string or
/// for a bracket is not known here.
pub fn levels(source: &str) -> Result<usize, String> {
    /// One bracket that is open: levels of branches that ended, and of the one that is being read.
    #[derive(Default)]
    struct Open {
        closes: &'static str,
        deepest: usize,
        here: usize,
        joints: usize,
    }
    impl Open {
        fn new(closes: &'static str) -> Open {
            Open { closes, ..Open::default() }
        }
        fn end(&mut self) {
            self.deepest = self.deepest.max(self.here);
            self.here = 0;
        }
        fn levels(&self) -> usize {
            self.deepest.max(self.here) + self.joints
        }
    }
    let (mut outer, mut last) = (Vec::new(), Open::default());
    for next in tokens(source) {
        let (at, token) = next?;
        match token {
            "(" => outer.push(std::mem::replace(&mut last, Open::new(")"))),
            "[" => outer.push(std::mem::replace(&mut last, Open::new("]"))),
            "{" => outer.push(std::mem::replace(&mut last, Open::new("}"))),
            ")" | "]" | "}" => {
                let before = outer.pop().filter(|_| last.closes == token);
                let inner = last.levels();
                last = before.ok_or_else(|| unreadable(source, at, "extraneous input"))?;
                last.here += inner + 1;
            }
            "," => last.end(),
            "&&" | "||" | "?" | ":" => {
                last.end();
                last.joints += 1;
            }
            "+" | "-" | "*" | "/" | "%" | "!" | "<" | ">" | "<=" | ">=" | "==" | "!=" | "in" => {
                last.here += 1
            }
            token if token.starts_with('.') => last.here += 1,
            _ => {}
        }
    }
    // What is not closed nests as deep as what is.
    Ok(last.levels() + outer.iter().map(|o| o.levels() + 1).sum::<usize>())
}

/// Returns the tokens of an expression, each with the byte at which it begins. White space and
/// comments count as tokens, so together they are the whole text.
///
/// # Errors
/// The first place that is no token of CEL. Nothing follows it.
pub fn tokens(source: &str) -> impl Iterator<Item = Result<(usize, &str), String>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = source.get(at..).filter(|rest| !rest.is_empty())?;
        let Some(length) = token(rest) else {
            let why = unreadable(source, at, "token recognition error at");
            at = source.len();
            return Some(Err(why));
        };
        let begin = at;
        at += length;
        Some(Ok((begin, &rest[..length])))
    })
}

/// Says in the parser's words that the character at byte `at` cannot be read.
fn unreadable(source: &str, at: usize, what: &str) -> String {
    let (before, rest) = source.split_at(at);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let found = rest.chars().next().unwrap_or_default();
    format!("ERROR: <input>:{line}:{column}: Syntax error: {what} {found:?}")
}

/// Returns the length in bytes of the first token of `rest`, by the lexical grammar of `cel-spec`.
/// White space and comments count as tokens. `None` if it begins with none.
fn token(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let run = |from: usize, of: fn(&u8) -> bool| bytes.iter().skip(from).take_while(|b| of(b)).count();
    let first = *bytes.first()?;
    match first {
        b' ' | b'\t' | b'\r' | b'\n' | 0x0c => Some(1),
        b'/' if bytes.get(1) == Some(&b'/') => Some(rest.find('\n').unwrap_or(rest.len())),
        b'=' | b'&' | b'|' => {
            let twice = bytes.get(1) == Some(&first);
            twice.then_some(2)
        }
        b'<' | b'>' | b'!' if bytes.get(1) == Some(&b'=') => Some(2),
        b'0'..=b'9' => Some(number(bytes)),
        b'.' if bytes.get(1).is_some_and(u8::is_ascii_digit) => Some(number(bytes)),
        b'<' | b'>' | b'!' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'.' | b',' | b'-' | b'?' | b':'
        | b'+' | b'*' | b'/' | b'%' => Some(1),
        b'"' | b'\'' => quoted(bytes, false),
        b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
            let marks = usize::from(matches!(first, b'b' | b'B'));
            let raw = matches!(bytes.get(marks), Some(b'r' | b'R'));
            let marks = marks + usize::from(raw);
            match bytes.get(marks) {
                Some(b'"' | b'\'') if marks > 0 => Some(marks + quoted(&bytes[marks..], raw)?),
                _ => Some(run(0, |b| b.is_ascii_alphanumeric() || *b == b'_')),
            }
        }
        _ => None,
    }
}

/// Returns the length of the number that `bytes` begin with. `1in` is a number and an operator.
fn number(bytes: &[u8]) -> usize {
    let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    let unsigned = |end: usize| end + usize::from(matches!(bytes.get(end), Some(b'u' | b'U')));
    let hex = bytes.iter().skip(2).take_while(|b| b.is_ascii_hexdigit()).count();
    if bytes.starts_with(b"0x") && hex > 0 {
        return unsigned(2 + hex);
    }
    let whole = digits(0);
    let fraction = if bytes.get(whole) == Some(&b'.') { digits(whole + 1) } else { 0 };
    let end = whole + if fraction > 0 { 1 + fraction } else { 0 };
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            return end + 1 + sign + exponent;
        }
    }
    if fraction > 0 { end } else { unsigned(end) }
}

/// Returns the length of the string that `bytes` begin with, quotes included. `None` if it does not
/// end, or has an escape that CEL has not.
fn quoted(bytes: &[u8], raw: bool) -> Option<usize> {
    let quote = *bytes.first()?;
    let long = bytes.starts_with(&[quote; 3]);
    let end: &[u8] = if long { &[quote; 3] } else { &[quote] };
    let mut at = end.len();
    loop {
        let rest = bytes.get(at..)?;
        if rest.starts_with(end) {
            return Some(at + end.len());
        }
        at += match *rest.first()? {
            b'\n' | b'\r' if !long => return None,
            b'\\' if !raw => escape(rest)?,
            _ => 1,
        };
    }
}

/// Returns the length of the escape that `bytes` begin with.
fn escape(bytes: &[u8]) -> Option<usize> {
    let all = |digits: usize, of: fn(&u8) -> bool| {
        let found = bytes.get(2..2 + digits)?.iter().all(of);
        found.then_some(2 + digits)
    };
    match bytes.get(1)? {
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`' => Some(2),
        b'x' | b'X' => all(2, u8::is_ascii_hexdigit),
        b'u' => all(4, u8::is_ascii_hexdigit),
        b'U' => all(8, u8::is_ascii_hexdigit),
        b'0'..=b'3' => all(2, |b| matches!(b, b'0'..=b'7')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_from_tokens() {
        for (source, want) in [
            ("", 0),
            ("self.a == 'x(((' && (self.b || !self.c) // (((", 5),
            ("a in [[1]]", 3),
            ("a in[[1]]", 3),
            ("1in[[1]]", 3),
            ("1uin[[1]]", 3),
            ("0xain[[1]]", 3),
            ("1ein[[1]]", 2),
            ("[[[", 3),
            (".5 + 1.5e3", 2),
            (r#"r"\" + [[["]"]]"#, 4),
            (r#"1r"\" + b'''[[[' ''' + br'\' + ("x")"#, 4),
            (r#"bar"\"[" + rb"\"[""#, 1),
            (r#""""[" [""" + '\u00e9\x41\101\'['"#, 1),
            ("'ключ('", 0),
        ] {
            assert_eq!(levels(source), Ok(want), "{source}");
        }
    }

    #[test]
    fn tokens_are_the_whole_text() {
        let source = "a && r'\\' // && b\n== 'ключ'";
        let all: Vec<(usize, &str)> = tokens(source).map(Result::unwrap).collect();
        let texts: Vec<&str> = all.iter().map(|(_, token)| *token).collect();
        assert_eq!(texts, ["a", " ", "&&", " ", r"r'\'", " ", "// && b", "\n", "==", " ", "'ключ'"]);
        assert!(all.iter().all(|(at, token)| source[*at..].starts_with(token)));
        let ends: Vec<bool> = tokens("a # b").map(|token| token.is_ok()).collect();
        assert_eq!(ends, [true, true, false]);
    }

    #[test]
    fn an_expression_whose_tokens_cannot_be_told_apart_is_refused() {
        for (source, place) in [
            ("1 + \"a", "1:5"),
            ("\n'a\n[[['", "2:1"),
            ("\"\"\"a\" [[[", "1:1"),
            (r"'\q[[['", "1:1"),
            (r"'\400'", "1:1"),
            (r"'\u12' + '[[['", "1:1"),
            (r#"r"\"[[[""#, "1:8"),
            ("'' + '''[[[", "1:6"),
            ("a &'[[['", "1:3"),
            ("a = b", "1:3"),
            ("a === b", "1:5"),
            ("self.`a.b`", "1:6"),
            ("a # [", "1:3"),
            ("é", "1:1"),
            ("[1),[1),[1),", "1:3"),
            ("a]", "1:2"),
            ("(]", "1:2"),
        ] {
            let why = levels(source).expect_err(source);
            assert!(why.starts_with(&format!("ERROR: <input>:{place}: Syntax error: ")), "{source}: {why}");
        }
    }
}
