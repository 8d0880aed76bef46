//! `'` and blanks inside `"${x:-it's}"`. There they are plain characters, but the parser wants the
//! other half of a `'` and makes one of several blanks. And comments inside of brackets, in which
//! it sees quotes and brackets.

use std::iter::Peekable;
use std::str::Chars;

/// What stands for a plain character while a text is parsed. These are no characters of any text
/// (Unicode, chapter 23.7: noncharacters are for internal use).
const STAND_INS: [(char, char); 4] =
    [('\'', '\u{fdd0}'), (' ', '\u{fdd1}'), ('\t', '\u{fdd2}'), ('\n', '\u{fdd3}')];

fn stand_in(c: char) -> Option<char> {
    STAND_INS.iter().find(|(plain, _)| *plain == c).map(|(_, stand_in)| *stand_in)
}

/// Returns the text with the characters that it stands for.
pub(super) fn restore_characters(text: &str) -> String {
    let plain = |c| STAND_INS.iter().find(|(_, stand_in)| *stand_in == c).map_or(c, |(plain, _)| *plain);
    text.chars().map(plain).collect()
}

/// What a character stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// `"…"`
    Quotes,
    /// `${…}`, in quotes or not. `word`: behind `-`, `=`, `?` or `+`, where quotes around it hold;
    /// in a pattern they do not.
    Braces {
        quoted: bool,
        word: bool,
    },
    /// `$(…)`, `(…)`: quotes begin anew.
    Brackets,
    Backquotes,
    /// A here-document, where `"` is plain too.
    Document,
}

/// Returns the text with a stand-in for each `'` and blank that is a plain character of a quoted
/// `${…}`, and without comments that the parser would misread. `None` if there is nothing of both,
/// or if it has a here-document, in which quotes have other rules.
pub(super) fn insert_stand_ins(text: &str) -> Option<String> {
    if text.contains("<<") { None } else { replaced_inside(text, Vec::new()) }
}

/// Returns the same for the text of a here-document.
pub(super) fn replaced_in_document(text: &str) -> Option<String> {
    replaced_inside(text, vec![Inside::Document])
}

fn replaced_inside(text: &str, inside: Vec<Inside>) -> Option<String> {
    if !(text.contains("${") || text.contains('(') && text.contains('#')) {
        return None;
    }
    let (text, found, _) = scan(text, inside);
    found.then_some(text)
}

/// Returns how many double quotes are open inside each other at most, as in `"$(echo "$(echo
/// "a")")"`. The parser takes twice the time for each.
pub(super) fn depth_of_quotes(text: &str) -> usize {
    scan(text, Vec::new()).2.quotes
}

/// Returns how many quotes, brackets and expansions are open inside each other at most, in a text
/// without here-documents.
pub(super) fn depth_of_all(text: &str) -> usize {
    scan(text, Vec::new()).2.all
}

/// How deep a text is at most.
#[derive(Clone, Copy, Debug, Default)]
struct Deepest {
    quotes: usize,
    all: usize,
}

/// Returns the text with stand-ins, whether there are any, and how deep it is.
fn scan(text: &str, mut inside: Vec<Inside>) -> (String, bool, Deepest) {
    let mut deepest = Deepest::default();
    let mut out = String::with_capacity(text.len());
    let (mut chars, mut before, mut found) = (text.chars().peekable(), '\n', false);
    let mut quotes = 0; // those in `inside`: to count them there would take time with its square
    while let Some(c) = chars.next() {
        deepest.all = deepest.all.max(inside.len());
        let top = inside.last().copied();
        let quoted = matches!(
            top,
            Some(Inside::Quotes | Inside::Document | Inside::Braces { quoted: true, word: true })
        );
        let stand_in = match inside[..] {
            [.., Inside::Braces { quoted: true, word: true }] => stand_in(c),
            // The word is parsed with quotes around it, so these quotes end there: of
            // `"${x:-"it's"}"` it is `""it's""`.
            [.., Inside::Braces { quoted: true, word: true }, Inside::Quotes] if c == '\'' => stand_in(c),
            _ => None,
        };
        out.push(stand_in.unwrap_or(c));
        found |= stand_in.is_some();
        let begins_word = before.is_whitespace() || ";|&()".contains(before);
        before = c;
        match (c, top) {
            ('\\', _) => out.extend(chars.next()),
            ('\'', _) if !quoted => copy_until(&mut chars, &mut out, '\''),
            ('#', _) if !quoted && begins_word => {
                found |= copy_comment(&mut chars, &mut out, top == Some(Inside::Brackets));
                before = '\n'; // the next line may be a comment, too
            }
            ('"', Some(Inside::Quotes)) => {
                inside.pop();
                quotes -= 1;
            }
            ('"', Some(Inside::Document)) => {}
            ('"', _) => {
                inside.push(Inside::Quotes);
                quotes += 1;
                deepest.quotes = deepest.quotes.max(quotes);
            }
            ('`', Some(Inside::Backquotes)) => drop(inside.pop()),
            ('`', _) => inside.push(Inside::Backquotes),
            ('$', _) if !quoted && chars.next_if_eq(&'\'').is_some() => {
                out.push('\'');
                copy_ansi(&mut chars, &mut out);
            }
            ('$', _) => {
                if let Some(bracket) = chars.next_if(|next| matches!(next, '{' | '(')) {
                    out.push(bracket);
                    inside.push(match bracket {
                        '{' => Inside::Braces { quoted, word: takes_word(chars.clone()) },
                        _ => Inside::Brackets,
                    });
                }
            }
            ('(', _) if !quoted => inside.push(Inside::Brackets),
            (')', Some(Inside::Brackets)) | ('}', Some(Inside::Braces { .. })) => drop(inside.pop()),
            _ => {}
        }
    }
    (out, found, deepest)
}

/// Returns true if what follows `${` is a parameter and one of the operators that take a word.
fn takes_word(rest: impl Iterator<Item = char>) -> bool {
    let in_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let mut rest = rest.peekable();
    match rest.next() {
        Some(first) if in_name(&first) => while rest.next_if(in_name).is_some() {},
        Some('@' | '*' | '!' | '?' | '$' | '-') => {}
        _ => return false,
    }
    rest.next_if_eq(&':');
    matches!(rest.next(), Some('-' | '=' | '?' | '+'))
}

fn copy_until(chars: &mut impl Iterator<Item = char>, out: &mut String, end: char) {
    for c in chars.by_ref() {
        out.push(c);
        if c == end {
            return;
        }
    }
}

/// Copies a comment up to the end of its line. Inside of brackets the parser may take a quote or a
/// bracket in it for the command's own, so there `#` alone is kept of one that has such characters:
/// `$(a; # don't` is `$(a; #`. Returns whether something was left out.
fn copy_comment(chars: &mut Peekable<Chars<'_>>, out: &mut String, inside_brackets: bool) -> bool {
    let mut comment = String::new();
    copy_until(chars, &mut comment, '\n');
    let shortens = inside_brackets && comment.contains(['\'', '"', '`', '(', ')', '{', '}', '$', '\\']);
    match (shortens, comment.ends_with('\n')) {
        (false, _) => out.push_str(&comment),
        (true, true) => out.push('\n'),
        (true, false) => {}
    }
    shortens
}

/// Copies the rest of a `$'…'`, in which `\'` does not end it.
fn copy_ansi(chars: &mut impl Iterator<Item = char>, out: &mut String) {
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '\\' => out.extend(chars.next()),
            '\'' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of a count for each quote would be hours.
    #[test]
    fn open_quotes_are_counted_in_one_walk() {
        for (text, depth) in [
            ("\"a\" \"b\"".to_string(), 1),
            (r#""$(echo "$(echo "a")")" "b""#.to_string(), 3),
            ("\"$(".repeat(1_000_000), 1_000_000),
        ] {
            assert_eq!(depth_of_quotes(&text), depth);
        }
    }

    #[test]
    fn only_plain_apostrophes_are_replaced() {
        let seen = |text: &str| {
            let text = insert_stand_ins(text)?;
            Some(text.replace('\u{fdd0}', "@").replace('\u{fdd1}', "_").replace('\u{fdd3}', "%"))
        };
        for (text, wanted) in [
            (r#"echo "${x:-it's}" 'a'"#, r#"echo "${x:-it@s}" 'a'"#),
            (r#"echo "$(echo 'a' "${x:-it's}")" ${y:-'b'}"#, r#"echo "$(echo 'a' "${x:-it@s}")" ${y:-'b'}"#),
            ("# it's\necho \"${x:-it's}\"", "# it's\necho \"${x:-it@s}\""),
            (
                "#!/bin/sh\n# it's\n# don't\necho \"${x:-it's}\"",
                "#!/bin/sh\n# it's\n# don't\necho \"${x:-it@s}\"",
            ),
            (r#"echo $'it\'s' "$'" "${x:-$'a b'}""#, r#"echo $'it\'s' "$'" "${x:-$@a_b@}""#),
            (r#""${x:-"it's"}" "${x:-${y:-don't}}""#, r#""${x:-"it@s"}" "${x:-${y:-don@t}}""#),
            (r#""${x:-a"'b c'"}" "${x#"it's"}""#, r#""${x:-a"@b c@"}" "${x#"it's"}""#),
            (r#""${x:-"$(echo 'a')'"}" ${x:-"it's"}"#, r#""${x:-"$(echo 'a')@"}" ${x:-"it's"}"#),
            ("\"${x?a  b\n'}\"", "\"${x?a__b%@}\""),
        ] {
            assert_eq!(seen(text).as_deref(), Some(wanted), "{text}");
            assert_eq!(restore_characters(&insert_stand_ins(text).unwrap()), text);
        }
        for (text, depth) in [("a", 0), ("\"a\" \"b\"", 1), ("\"$(echo \"${x:-\"a\"}\" '\"')\"", 3)] {
            assert_eq!(depth_of_quotes(text), depth, "{text}");
        }
        let document = replaced_in_document("it's \"${x:-don't}\" ${y:-\"it's\"} ${z#'a'}").unwrap();
        assert_eq!(document.replace('\u{fdd0}', "@"), "it's \"${x:-don@t}\" ${y:-\"it@s\"} ${z#'a'}");
        for (text, wanted) in [
            ("x=$( # don't\n:)", "x=$( #\n:)"),
            ("x=\"$(a; # a )\nb # \"\n)\"", "x=\"$(a; #\nb #\n)\""),
            ("(a\n# a (b\n)", "(a\n#\n)"),
        ] {
            assert_eq!(insert_stand_ins(text).as_deref(), Some(wanted), "{text}");
        }
        for text in ["x=$( # plain\n:)", "# don't\n(:)", "x=$(a#'b' ${#x} $((16#f)))"] {
            assert_eq!(insert_stand_ins(text), None, "{text}");
        }
        for text in [
            "echo ${x:-'a'}",
            "echo \"it's\" ${x}",
            "cat <<E\n\"${x:-it's}\"\nE\n",
            "#!/bin/sh\n# Don't edit\nprintf '%s \"${y:-c  d}\"\\n' 1",
            "echo $'it\\'s' '\"${y:-c  d}\"'",
            "echo '\"${x:-' a",
            "echo \"${x#'a' b}\" \"${x%%'a'}\" \"${x/'a'/b}\" \"${#x}\"",
        ] {
            assert_eq!(seen(text), None, "{text}");
        }
    }
}
