//! Character references in attributes of HTML: `&#47;api` is the link `/api` (HTML Standard,
//! "character reference state"; upstream: `golang.org/x/net/html/escape.go`).
//!
//! Names of characters beyond ASCII, as `&eacute;`, are not decoded: links are judged by slashes,
//! dots and other characters of ASCII. Such a name is written again as it was, with a semicolon.

use std::fmt::Write;

/// Stands in decoded text for the `&` of a reference that stays as it is written. This character
/// itself is decoded as `%7F`, which is what browsers make of it in a link.
const KEPT: char = '\u{7f}';

/// Names of ASCII characters, with what they stand for. A reference ends with a semicolon.
const NAMES: &[(&str, &str)] = &[
    ("AMP", "&"),
    ("DiacriticalGrave", "`"),
    ("GT", ">"),
    ("Hat", "^"),
    ("LT", "<"),
    ("NewLine", "\n"),
    ("QUOT", "\""),
    ("Tab", "\t"),
    ("UnderBar", "_"),
    ("VerticalLine", "|"),
    ("amp", "&"),
    ("apos", "'"),
    ("ast", "*"),
    ("bsol", "\\"),
    ("colon", ":"),
    ("comma", ","),
    ("commat", "@"),
    ("dollar", "$"),
    ("equals", "="),
    ("excl", "!"),
    ("fjlig", "fj"),
    ("grave", "`"),
    ("gt", ">"),
    ("lbrace", "{"),
    ("lbrack", "["),
    ("lcub", "{"),
    ("lowbar", "_"),
    ("lpar", "("),
    ("lsqb", "["),
    ("lt", "<"),
    ("midast", "*"),
    ("num", "#"),
    ("percnt", "%"),
    ("period", "."),
    ("plus", "+"),
    ("quest", "?"),
    ("quot", "\""),
    ("rbrace", "}"),
    ("rbrack", "]"),
    ("rcub", "}"),
    ("rpar", ")"),
    ("rsqb", "]"),
    ("semi", ";"),
    ("sol", "/"),
    ("verbar", "|"),
    ("vert", "|"),
];

/// Names that need no semicolon, unless `=` or a letter follows them.
const OLD_NAMES: [&str; 8] = ["AMP", "GT", "LT", "QUOT", "amp", "gt", "lt", "quot"];

/// As [`OLD_NAMES`], of characters beyond ASCII.
const OLD_NAMES_BEYOND_ASCII: &[&str] = &[
    "AElig", "Aacute", "Acirc", "Agrave", "Aring", "Atilde", "Auml", "COPY", "Ccedil", "ETH", "Eacute",
    "Ecirc", "Egrave", "Euml", "Iacute", "Icirc", "Igrave", "Iuml", "Ntilde", "Oacute", "Ocirc", "Ograve",
    "Oslash", "Otilde", "Ouml", "REG", "THORN", "Uacute", "Ucirc", "Ugrave", "Uuml", "Yacute", "aacute",
    "acirc", "acute", "aelig", "agrave", "aring", "atilde", "auml", "brvbar", "ccedil", "cedil", "cent",
    "copy", "curren", "deg", "divide", "eacute", "ecirc", "egrave", "eth", "euml", "frac12", "frac14",
    "frac34", "iacute", "icirc", "iexcl", "igrave", "iquest", "iuml", "laquo", "macr", "micro", "middot",
    "nbsp", "not", "ntilde", "oacute", "ocirc", "ograve", "ordf", "ordm", "oslash", "otilde", "ouml", "para",
    "plusmn", "pound", "raquo", "reg", "sect", "shy", "sup1", "sup2", "sup3", "szlig", "thorn", "times",
    "uacute", "ucirc", "ugrave", "uml", "uuml", "yacute", "yen", "yuml",
];

/// The characters for the numbers 0x80 to 0x9F, which are those of Windows-1252.
const WINDOWS_1252: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}',
    '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}', '\u{2018}',
    '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}',
    '\u{203a}', '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
];

/// Returns the value of an attribute with its references decoded. [`encode`] writes it again.
///
/// ```text
/// &#47;a&sol;b&amp;c    /a/b&c
/// /a?b=1&lt=2           as it is: what names a parameter is no reference
/// /caf&eacute;          as it is, with KEPT for its `&`
/// ```
pub(super) fn decode(value: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(value.len()), value);
    while let Some((before, behind)) = rest.split_once('&') {
        put_text(before, &mut out);
        rest = match behind.strip_prefix('#') {
            Some(number) => decode_number(number, &mut out).unwrap_or(behind),
            None => decode_name(behind, &mut out),
        };
    }
    put_text(rest, &mut out);
    out
}

/// Writes text without references.
fn put_text(text: &str, out: &mut String) {
    out.push_str(&text.replace(KEPT, "%7F"));
}

/// Writes the character with the number that stands behind `&#`, and returns what follows the
/// reference. `None`: there is no number, and `&` is written as text.
fn decode_number<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    let (digits, radix) = match text.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(end);
    if number.is_empty() {
        out.push('&');
        return None;
    }
    // A number that is too large for a u32 is too large for a character.
    let c = match u32::from_str_radix(number, radix).unwrap_or(u32::MAX) {
        0 => char::REPLACEMENT_CHARACTER,
        number @ 0x80..=0x9f => WINDOWS_1252[number as usize - 0x80],
        number => char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    put_text(c.encode_utf8(&mut [0; 4]), out);
    Some(rest.strip_prefix(';').unwrap_or(rest))
}

/// Writes what the name behind an `&` stands for, and returns what follows. What is no reference is
/// written as text.
fn decode_name<'a>(text: &'a str, out: &mut String) -> &'a str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let found = NAMES.iter().find(|(known, _)| *known == name).map(|(_, meant)| *meant);
    match (found, rest.strip_prefix(';')) {
        (Some(meant), Some(rest)) => {
            out.push_str(meant);
            rest
        }
        (Some(meant), None) if OLD_NAMES.contains(&name) && !rest.starts_with('=') => {
            out.push_str(meant);
            rest
        }
        (None, Some(_)) if !name.is_empty() => {
            out.push(KEPT);
            text
        }
        // With a semicolon: what follows may be decoded to more letters of another name.
        (None, None) if OLD_NAMES_BEYOND_ASCII.contains(&name) && !rest.starts_with('=') => {
            out.push(KEPT);
            out.push_str(name);
            out.push(';');
            rest
        }
        _ => {
            out.push('&');
            text
        }
    }
}

/// Writes decoded text as the value of an attribute, which may have quotes around it or none.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            KEPT => out.push('&'),
            '&' => out.push_str("&amp;"),
            '\0'..=' ' | '"' | '\'' | '<' | '>' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `unescape` of `golang.org/x/net/html`, for attributes.
    #[test]
    fn references_to_ascii_are_decoded() {
        for (value, decoded) in [
            ("&#47;a&#x2F;b&#X2fx&sol;d&sol", "/a/b/x/d&sol"),
            ("&Tab;&NewLine;&bsol;&period;&colon;", "\t\n\\.:"),
            ("?a&amp;b&ampc&amp=d&amp;lt;", "?a&b&ampc&amp=d&lt;"),
            ("&AMP&quot/&LT", "&\"/<"),
            ("&#; &#x; &#xg &; & &&amp;", "&#; &#x; &#xg &; & &&"),
            ("&#150;&#0;&#xd800;&#99999999999;", "\u{2013}\u{fffd}\u{fffd}\u{fffd}"),
            ("caf&#233 &fjlig;", "caf\u{e9} fj"),
            ("\u{7f}&#127;", "%7F%7F"),
        ] {
            assert_eq!(decode(value), decoded, "{value}");
        }
    }

    #[test]
    fn what_is_not_decoded_is_written_as_it_was() {
        for (value, written) in [
            ("/caf&eacute;/&nosuch;", "/caf&eacute;/&nosuch;"),
            ("/caf&amp;eacute;", "/caf&amp;eacute;"),
            ("?a&copy", "?a&copy;"),
            ("?a&copy=1&copyx", "?a&amp;copy=1&amp;copyx"),
            ("?a&copy&#49;", "?a&copy;1"),
            ("?a=1&b=2", "?a=1&amp;b=2"),
            ("&per&#105;od;", "&amp;period;"),
            ("a&#32;\"b\"&gt;'c'", "a&#32;&#34;b&#34;&#62;&#39;c&#39;"),
        ] {
            assert_eq!(encode(&decode(value)), written, "{value}");
            assert_eq!(decode(&encode(&decode(value))), decode(value), "{value}");
        }
    }
}
