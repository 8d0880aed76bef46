//! Mail addresses as Go's `net/mail` reads them: `a@b`, `"a b"@c.d`, `Bob <a@b.c>`.

use crate::schema::decode::BASE64;
use base64::Engine as _;
use std::net::IpAddr;

/// Returns whether a text is one address, with or without a name and a comment behind it
/// (`mail.ParseAddress`). A group is one, too, if it has one member: `Team: a@b.c;`.
pub(super) fn is_address(text: &str) -> bool {
    let text = skip_space(text);
    let end = mailbox(text).or_else(|| group(text)).and_then(skip_comments);
    end.is_some_and(str::is_empty)
}

/// Skips `local@domain` or `Bob Smith <local@domain>`.
fn mailbox(text: &str) -> Option<&str> {
    specification(text).or_else(|| named(text))
}

/// Skips `Team: local@domain;`. A group without members or with more is no address.
fn group(text: &str) -> Option<&str> {
    let member = skip_space(phrase(text)?.strip_prefix(':')?);
    mailbox(member).and_then(skip_comments)?.strip_prefix(';')
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// Skips space and comments in parentheses; `None` for a comment without an end.
fn skip_comments(text: &str) -> Option<&str> {
    let mut rest = skip_space(text);
    while rest.starts_with('(') {
        let (mut depth, mut is_escaped) = (0, false);
        let end = rest.find(|c: char| {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        rest = skip_space(&rest[end + 1..]);
    }
    Some(rest)
}

/// Skips `local@domain`; `None` if the text does not begin with that.
fn specification(text: &str) -> Option<&str> {
    let text = skip_space(text);
    let rest = match text.starts_with("\"\"") {
        true => None,
        false if text.starts_with('"') => quoted(text),
        false => atom(text).filter(|rest| is_plain(&text[..text.len() - rest.len()])),
    };
    let domain = skip_space(rest?.strip_prefix('@')?);
    if let Some(literal) = domain.strip_prefix('[') {
        let (ip, rest) = literal.split_once(']')?;
        return ip.parse::<IpAddr>().is_ok().then_some(rest);
    }
    atom(domain).filter(|rest| is_plain(&domain[..domain.len() - rest.len()]))
}

/// Skips `Bob Smith <local@domain>`.
fn named(text: &str) -> Option<&str> {
    let rest = if text.starts_with('<') { text } else { phrase(text)? };
    specification(rest.strip_prefix('<')?)?.strip_prefix('>')
}

/// Skips the words of a name and the comments behind them; `None` without a word. A word of an
/// unknown charset is none at the front, and ends the name behind another word.
fn phrase(text: &str) -> Option<&str> {
    let after = word(text)?;
    if is_of_unknown_charset(&text[..text.len() - after.len()]) {
        return None;
    }
    let mut rest = skip_comments(after)?;
    while let Some(after) = word(rest) {
        if is_of_unknown_charset(&rest[..rest.len() - after.len()]) {
            return Some(skip_space(after));
        }
        rest = skip_comments(after)?;
    }
    Some(rest)
}

/// Skips a word of a name, in quotes or without.
fn word(text: &str) -> Option<&str> {
    if text.starts_with('"') { quoted(text) } else { atom(text) }
}

/// Returns whether a word is a well-formed encoded word of RFC 2047, such as `=?koi8-r?q?=C1?=`, in
/// a charset that Go does not know. What is not well-formed stands for itself.
fn is_of_unknown_charset(word: &str) -> bool {
    const KNOWN: [&str; 3] = ["utf-8", "iso-8859-1", "us-ascii"];
    let inner = word.strip_prefix("=?").and_then(|rest| rest.strip_suffix("?="));
    let Some(parts) = inner.map(|inner| inner.split('?').collect::<Vec<_>>()) else { return false };
    let [charset, encoding, content] = parts[..] else { return false };
    let can_be_decoded = match encoding {
        "b" | "B" => BASE64.decode(content).is_ok(),
        "q" | "Q" => is_quoted_printable(content),
        _ => false,
    };
    can_be_decoded && !charset.is_empty() && !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(charset))
}

/// Returns whether a text has only visible characters of ASCII, and two hexadecimal digits behind
/// every `=`.
fn is_quoted_printable(text: &str) -> bool {
    let is_hex = |escaped: &str| escaped.get(..2).is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
    text.bytes().all(|b| b.is_ascii_graphic()) && text.split('=').skip(1).all(is_hex)
}

/// Skips a text in double quotes.
fn quoted(text: &str) -> Option<&str> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if !is_visible(c) && !matches!(c, ' ' | '\t') => return None,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

/// Skips a word, which may have dots in it.
fn atom(text: &str) -> Option<&str> {
    const SPECIALS: &str = "()<>[]:;@\\,\"";
    let rest = text.trim_start_matches(|c: char| is_visible(c) && !SPECIALS.contains(c));
    (rest.len() < text.len()).then_some(rest)
}

/// Returns whether a word has no dot at an end and no dot beside another.
fn is_plain(word: &str) -> bool {
    word.split('.').all(|part| !part.is_empty())
}

fn is_visible(c: char) -> bool {
    c.is_ascii_graphic() || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::is_address;

    /// As `mail.ParseAddress` of Go judges them.
    #[test]
    fn addresses_are_those_of_net_mail() {
        let right = [
            "a@b",
            "a.b@c.d",
            "a+b@c.d",
            " a@b.c ",
            "<a@b.c>",
            "Bob <a@b.c>",
            "\"Bob\" <a@b.c>",
            "Bob. <a@b>",
            "Bob Smith <a@b.c>",
            "a@b (comment)",
            "\"a b\"@c.d",
            "a@[1.2.3.4]",
            "a@-b",
            "a@b_c",
            "a@한국.kr",
            "한@b.c",
            "g: a@b.c;",
            "g:a@b.c;",
            "g: Bob <a@b.c>;",
            "g: a@b.c (d) ; (c)",
            "g h (c): <a@b.c>;",
            "\"\": a@b;",
            "  g.: \"a b\"@c;  ",
        ];
        for text in right {
            assert!(is_address(text), "{text}");
        }
        let wrong = [
            "",
            "a",
            "a b@c.d",
            "a@b@c",
            "a@",
            "@b",
            "a..b@c",
            ".a@c",
            "a.@c",
            "a@b.",
            "a@b..c",
            "a,b@c",
            "a(b)@c",
            "a@b<c>",
            "a@b (comment",
            "a@[b]",
            "Bob <a@b",
            "Bob Smith <a@b.c>, x@y.z",
            "\"\"@b",
            "g: a@b.c",
            "g:;",
            "undisclosed-recipients: ;",
            "g: a@b.c, d@e.f;",
            "g: a@b.c,;",
            "g: a@b.c; x",
            "g: a@b.c;;",
            "g: h: a@b.c;;",
            "g: (c) a@b.c;",
            ": a@b.c;",
            "a@b.c;",
            "Bob <a@b>;",
        ];
        for text in wrong {
            assert!(!is_address(text), "{text}");
        }
    }

    /// As `mail.ParseAddress` of Go judges them: only words that it can decode have a charset.
    #[test]
    fn encoded_words_of_a_name_have_a_charset_that_go_knows() {
        for text in [
            "=?utf-8?q?a?= <b@c>",
            "=?US-ASCII?b?YQ==?= <b@c>",
            "=?iso-8859-1?q?=E1?= <b@c>",
            "=?koi8-r?x?a?= <b@c>",
            "=?koi8-r?b?%?= <b@c>",
            "=?koi8-r?b?YQ?= <b@c>",
            "=?koi8-r?q?a=?= <b@c>",
            "=?koi8-r?q?=zz?= <b@c>",
            "=?koi8-r?q?\u{e9}?= <b@c>",
            "=?koi8-r?q?a?b?= <b@c>",
            "=?koi8-r?q?a?=@c",
            "\"=?koi8-r?q?a?=\" <b@c>",
            "=??q?a?= <b@c>",
            "a =?koi8-r?q?a?= <b@c>",
            "g =?koi8-r?q?a?=: a@b;",
        ] {
            assert!(is_address(text), "{text}");
        }
        for text in [
            "=?koi8-r?q?a?= <b@c>",
            "=?koi8-r?q?a=e1?= <b@c>",
            "=?koi8-r?b?YR==?= <b@c>",
            "=?k?q??= <b@c>",
            "=?koi8-r?q?a_b?= x <b@c>",
            "=?koi8-r?q?a?=: a@b;",
            "a =?koi8-r?q?a?= b <b@c>",
            "a =?koi8-r?q?a?= (c) <b@c>",
        ] {
            assert!(!is_address(text), "{text}");
        }
    }
}
