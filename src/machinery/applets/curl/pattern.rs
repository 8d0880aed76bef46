//! Patterns in URLs and in the files of `-T`, as curl's manual describes them under "URL": `{a,b}`
//! stands for each of its texts, `[1-9]`, `[001-100:10]` and `[a-z:2]` for each number or letter of
//! a range. The last pattern of a text runs fastest.

use super::super::http;
use super::faults::{Fault, fault};
use std::net::Ipv6Addr;

/// A part of a URL: one text, or several to choose from.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `{a,b}`.
    Set(Vec<String>),
    /// `[1-9:2]`; a number has as many digits as the first one was written with.
    Numbers {
        first: u64,
        step: u64,
        count: u64,
        digits: usize,
    },
    /// `[a-z:2]`.
    Letters {
        first: u8,
        step: u8,
        count: u64,
    },
}

impl Part {
    fn count(&self) -> u64 {
        match self {
            Part::Text(_) => 1,
            Part::Set(texts) => texts.len() as u64,
            Part::Numbers { count, .. } | Part::Letters { count, .. } => *count,
        }
    }

    /// `nth` is below [`Part::count`].
    fn text(&self, nth: u64) -> String {
        match self {
            Part::Text(text) => text.clone(),
            Part::Set(texts) => {
                usize::try_from(nth).ok().and_then(|n| texts.get(n)).cloned().unwrap_or_default()
            }
            Part::Numbers { first, step, digits, .. } => format!("{:0digits$}", first + step * nth),
            Part::Letters { first, step, .. } => {
                char::from(u8::try_from(u64::from(*first) + u64::from(*step) * nth).unwrap_or(*first)).into()
            }
        }
    }
}

/// A URL of the call with all that it stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    count: u64,
}

/// One of the URLs that a pattern stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub url: String,
    /// What each pattern became, for `#1` and so on in the name of a file.
    pub chosen: Vec<String>,
}

impl Pattern {
    /// Makes the pattern of a URL whose brackets are plain text (`-g`).
    pub(super) fn plain(url: &str) -> Pattern {
        Pattern { parts: vec![Part::Text(url.to_string())], count: 1 }
    }

    /// # Errors
    /// A bracket that begins or ends no pattern (3), with its place as curl counts it: from 1, and
    /// without the closing brace of each set before it and without the brackets that are plain
    /// text.
    pub(super) fn parse(url: &str) -> Result<Pattern, Fault> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), url);
        let (mut count, mut uncounted) = (1_u64, 0);
        let bad = |what: &str, at: usize| {
            fault(3, format!("{what} in URL position {}:\n{url}\n{}^", at + 1, " ".repeat(at)))
        };
        while let Some(c) = rest.chars().next() {
            let behind = &rest[c.len_utf8()..];
            let place = url.len() - rest.len() - uncounted;
            match c {
                '\\' if behind.starts_with(['{', '}', '[', ']']) => {
                    plain.push_str(&behind[..1]);
                    rest = &behind[1..];
                    continue;
                }
                '[' => {
                    let inner = behind.split_once(']').map(|(inner, _)| inner);
                    if let Some(inner) = inner.filter(|inner| is_no_range(inner)) {
                        let length = inner.len() + 2;
                        plain.push_str(&rest[..length]);
                        uncounted += length;
                        rest = &rest[length..];
                        continue;
                    }
                    let (range, length) = parse_range(behind.as_bytes()).map_err(|read| {
                        let begins = behind.starts_with(|c: char| c.is_ascii_alphanumeric());
                        let what = if begins { "bad range" } else { "bad range specification" };
                        bad(what, place + 1 + read)
                    })?;
                    let all = count.checked_mul(range.count());
                    count = all.ok_or_else(|| bad("range overflow", place + 1 + length))?;
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(range);
                    rest = &behind[length..];
                    continue;
                }
                '{' => {
                    let (texts, after) = parse_set(behind).map_err(|wrong| {
                        let read = wrong.at.map_or(0, |at| 1 + behind.len() - at.len());
                        bad(wrong.what, place + read)
                    })?;
                    let all = count.checked_mul(texts.len() as u64);
                    count = all.ok_or_else(|| fault(3, "range overflow"))?;
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                    parts.push(Part::Set(texts));
                    uncounted += 1;
                    rest = after;
                    continue;
                }
                '}' | ']' => return Err(bad("unmatched close brace/bracket", place)),
                c => plain.push(c),
            }
            rest = behind;
        }
        parts.push(Part::Text(plain));
        Ok(Pattern { parts, count })
    }

    /// Returns all URLs, one after the other: there may be very many.
    pub(super) fn expand(&self) -> impl Iterator<Item = Expanded> {
        (0..self.count).map(|nth| {
            let mut left = nth;
            let mut texts: Vec<String> = Vec::with_capacity(self.parts.len());
            for part in self.parts.iter().rev() {
                texts.push(part.text(left % part.count()));
                left /= part.count();
            }
            texts.reverse();
            let is_chosen = |at: usize| !matches!(self.parts[at], Part::Text(_));
            let chosen =
                texts.iter().enumerate().filter(|(at, _)| is_chosen(*at)).map(|(_, text)| text.clone());
            Expanded { chosen: chosen.collect(), url: texts.concat() }
        })
    }
}

impl Expanded {
    /// Returns the name of a file, with what the nth pattern became in the place of `#n`.
    pub(super) fn file_name(&self, name: &str) -> String {
        let (mut out, mut rest) = (String::new(), name);
        while let Some((before, behind)) = rest.split_once('#') {
            out.push_str(before);
            let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
            let nth = behind[..digits].parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            match nth.and_then(|n| self.chosen.get(n)) {
                Some(text) => {
                    out.push_str(text);
                    rest = &behind[digits..];
                }
                None => {
                    out.push('#');
                    rest = behind;
                }
            }
        }
        out + rest
    }
}

/// Brackets that are plain text: empty ones, and those of an IPv6 address, which may have a zone
/// (`[fe80::1%25eth0]`).
fn is_no_range(inner: &str) -> bool {
    let (address, is_zone) = match inner.split_once('%') {
        Some((address, zone)) => (address, http::zone_id(zone).is_some()),
        None => (inner, true),
    };
    inner.is_empty() || (is_zone && address.parse::<Ipv6Addr>().is_ok())
}

/// `1-9]`, `001-100:10]`, `a-z]`: a range behind its bracket. Returns its length, too.
///
/// # Errors
/// How far curl reads before it complains.
fn parse_range(text: &[u8]) -> Result<(Part, usize), usize> {
    match text.first() {
        Some(first) if first.is_ascii_alphabetic() => parse_letter_range(text),
        Some(first) if first.is_ascii_digit() => parse_number_range(text),
        _ => Err(0),
    }
}

/// `a-z]`, `a-z:2]`. As in curl, any character may end the range: `[Z-\]` has three values.
fn parse_letter_range(text: &[u8]) -> Result<(Part, usize), usize> {
    let [first, b'-', last, end, ..] = *text else { return Err(0) };
    let (step, length) = match end {
        b']' => (1, 4),
        b':' => {
            let (step, end) = parse_number(text, 4).ok_or(0_usize)?;
            if end == 4 || text.get(end) != Some(&b']') {
                return Err(0);
            }
            (step, end + 1)
        }
        _ => return Err(0),
    };
    let count = count_steps(u64::from(first), u64::from(last), step);
    let count = count.filter(|_| last.is_ascii() && last - first < 26);
    let part = count.zip(u8::try_from(step).ok());
    let part = part.map(|(count, step)| Part::Letters { first, step, count });
    Ok((part.ok_or(length)?, length))
}

/// `1-9]`, `001-100:10]`.
fn parse_number_range(text: &[u8]) -> Result<(Part, usize), usize> {
    let (first, digits) = parse_number(text, 0).ok_or(0_usize)?;
    if text.get(digits) != Some(&b'-') {
        return Err(0);
    }
    let blanks = text[digits + 1..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let mut read = digits + 1 + blanks;
    if !text.get(read).is_some_and(u8::is_ascii_digit) {
        return Err(read);
    }
    let (last, mut end) = parse_number(text, read).ok_or(read)?;
    let mut step = 1;
    if text.get(end) == Some(&b':') {
        read = end + 1;
        (step, end) = parse_number(text, read).ok_or(read)?;
    }
    if text.get(end) != Some(&b']') {
        return Err(read);
    }
    let length = end + 1;
    let count = count_steps(first, last, step).ok_or(length)?;
    Ok((Part::Numbers { first, step, count, digits }, length))
}

/// Reads a number at a place as strtoul(3) does: blanks and a sign may stand in front of it, and a
/// minus counts down from 2^64. Returns it and where it ends, which is `at` itself if there is
/// none; `None` if it has more than 64 bits.
fn parse_number(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let end_of = |from: usize, is_part: fn(&u8) -> bool| {
        from + text.get(from..).unwrap_or_default().iter().take_while(|byte| is_part(byte)).count()
    };
    let sign = end_of(at, |byte| matches!(byte, b' ' | b'\t'..=b'\r'));
    let digits = sign + usize::from(matches!(text.get(sign), Some(b'+' | b'-')));
    let end = end_of(digits, u8::is_ascii_digit);
    if end == digits {
        return Some((0, at));
    }
    let value: u64 = std::str::from_utf8(&text[digits..end]).ok()?.parse().ok()?;
    Some((if text[sign] == b'-' { value.wrapping_neg() } else { value }, end))
}

/// Returns how many values there are. As curl: one value has the step 1, and a step leads to a
/// second one.
fn count_steps(first: u64, last: u64, step: u64) -> Option<u64> {
    let span = last.checked_sub(first)?;
    (1..=span.max(1)).contains(&step).then_some(())?;
    (span / step).checked_add(1)
}

/// Why braces are no set, and where if that is not the first one itself.
struct NoSet<'a> {
    what: &'static str,
    at: Option<&'a str>,
}

/// Returns the texts of a set, and what follows it. `rest` begins behind the brace.
fn parse_set(mut rest: &str) -> Result<(Vec<String>, &str), NoSet<'_>> {
    let (mut texts, mut text) = (Vec::new(), String::new());
    while let Some(c) = rest.chars().next() {
        let behind = &rest[c.len_utf8()..];
        match c {
            // In a set a backslash makes every character plain text.
            '\\' if !behind.is_empty() => {
                let mut next = behind.chars();
                text.extend(next.next());
                rest = next.as_str();
                continue;
            }
            '{' | '[' => return Err(NoSet { what: "nested brace", at: Some(rest) }),
            ']' => return Err(NoSet { what: "unexpected close bracket", at: Some(rest) }),
            ',' => texts.push(std::mem::take(&mut text)),
            '}' if texts.is_empty() && text.is_empty() => {
                return Err(NoSet { what: "empty string within braces", at: Some(rest) });
            }
            '}' => {
                texts.push(text);
                return Ok((texts, behind));
            }
            c => text.push(c),
        }
        rest = behind;
    }
    Err(NoSet { what: "unmatched brace", at: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(pattern: &str) -> Vec<String> {
        Pattern::parse(pattern).unwrap().expand().map(|expanded| expanded.url).collect()
    }

    #[test]
    fn a_pattern_stands_for_each_of_its_urls() {
        assert_eq!(urls("h/[1-3]"), ["h/1", "h/2", "h/3"]);
        assert_eq!(urls("h/[008-10]"), ["h/008", "h/009", "h/010"]);
        assert_eq!(urls("h/[0-10:5]?"), ["h/0?", "h/5?", "h/10?"]);
        assert_eq!(urls("[a-e:2].h"), ["a.h", "c.h", "e.h"]);
        assert_eq!(urls("[7-7]"), ["7"]);
        // curl reads numbers with strtoul(3), and takes any character as the last one.
        assert_eq!(urls("[1- 3]"), ["1", "2", "3"]);
        assert_eq!(urls("[0-4:+2]"), ["0", "2", "4"]);
        assert_eq!(urls("[Z-]]"), ["Z", "[", "\\", "]"]);
        assert_eq!(urls("{a,b}[1-2]"), ["a1", "a2", "b1", "b2"]);
        assert_eq!(urls(r"h/{one,,t\,wo}/"), ["h/one/", "h//", "h/t,wo/"]);
        assert_eq!(urls(r"h/{a\b\\,\한}"), [r"h/ab\", "h/한"]);
        assert_eq!(Pattern::parse("[1-18446744073709551614]").unwrap().expand().nth(1).unwrap().url, "2");
    }

    /// A pattern is short and may stand for more URLs than any memory has room for.
    #[test]
    fn urls_are_made_one_after_the_other() {
        let pattern = Pattern::parse("h/[0-9223372036854775807]").unwrap();
        assert_eq!((pattern.count, pattern.parts.len()), (1 << 63, 3));
        let mut all = pattern.expand();
        let first: Vec<String> = all.by_ref().take(3).map(|expanded| expanded.url).collect();
        assert_eq!(first, ["h/0", "h/1", "h/2"]);
    }

    #[test]
    fn brackets_that_are_no_patterns_are_plain() {
        for url in ["http://me@[::1]:80/a", "http://[fe80::1%25eth0]/", "http://[::1]/?a[]=[::2]", "h/한"] {
            assert_eq!(urls(url), [url]);
        }
        assert_eq!(urls(r"http://\[::1\]/\\[a\]\b"), [r"http://[::1]/\[a]\b"]);
    }

    #[test]
    fn what_is_no_pattern_is_reported_with_its_place() {
        for (url, what) in [
            ("h/[a]", "bad range in URL position 4"),
            ("h/[5-1]", "bad range in URL position 8"),
            ("h/[1-5:0]", "bad range in URL position 10"),
            ("h/[1-5:9]", "bad range in URL position 10"),
            ("h/[1-18446744073709551616]", "bad range in URL position 6"),
            ("h/[0-18446744073709551615]", "bad range in URL position 27"),
            ("h/[A-z]", "bad range in URL position 8"),
            ("h/[%]", "bad range specification in URL position 4"),
            ("h/[1-2", "bad range in URL position 6"),
            ("h/{a", "unmatched brace in URL position 3"),
            ("h/{a{b}}", "nested brace in URL position 5"),
            ("h/{a]}", "unexpected close bracket in URL position 5"),
            ("h/{}", "empty string within braces in URL position 4"),
            ("http://[fe80::1%]/", "bad range in URL position 9"),
            ("h/]", "unmatched close brace/bracket in URL position 3"),
            ("h/[1-9999999999][1-9999999999]x", "range overflow in URL position 31"),
            ("h/[1-9999999999][1-999999999]{a,b,c}", "range overflow"),
            ("h/[1-2:-1]", "bad range in URL position 11"),
            ("h/[1-2:]", "bad range in URL position 9"),
            ("h/[1-2:x]", "bad range in URL position 8"),
            ("h/[1-x]", "bad range in URL position 6"),
            ("h/[1-99999999999999999999]", "bad range in URL position 6"),
            ("h/[a-1]", "bad range in URL position 8"),
            ("h/[a-\u{e9}]", "bad range in URL position 4"),
            ("h/[a-c:]", "bad range in URL position 4"),
            ("h/[a-c:300]", "bad range in URL position 12"),
            ("h/[fe80::1%]", "bad range in URL position 4"),
            // A closing brace and plain brackets do not count.
            ("h/{a}[5-1]", "bad range in URL position 10"),
            ("h/{a}{b}]", "unmatched close brace/bracket in URL position 7"),
            ("h/{a}{b", "unmatched brace in URL position 5"),
            ("h/[]{}", "empty string within braces in URL position 4"),
            ("h/[::1]]", "unmatched close brace/bracket in URL position 3"),
        ] {
            let fault = Pattern::parse(url).unwrap_err();
            assert_eq!((fault.code, fault.text.split(':').next().unwrap()), (3, what), "{url}");
        }
    }

    #[test]
    fn files_are_named_after_what_was_chosen() {
        let expanded = Pattern::parse("h/{a,b}[1-2]").unwrap().expand().nth(3).unwrap();
        for (name, file) in
            [("#1_#2.txt", "b_2.txt"), ("x#3#0#", "x#3#0#"), ("#12", "#12"), ("plain", "plain")]
        {
            assert_eq!(expanded.file_name(name), file);
        }
    }
}
