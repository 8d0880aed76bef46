//! Finds where a word that is wider than a line is broken.

use unicode_width::UnicodeWidthStr;

/// Returns the characters of a text, each as a slice of it.
pub(crate) fn signs(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(move |(at, c)| &text[at..at + c.len_utf8()])
}

/// Returns where a word that is wider than its line is broken: for each further line, the index of
/// its first part. `parts` are the characters of the word, `used` the cells that are taken in its
/// first line, `rest` those in front of each further line.
///
/// No further line begins with a closing mark: the character before the mark goes with it. In 4
/// cells, "name)." becomes "nam" and "e).", not "name" and ").".
pub(crate) fn breaks(parts: &[&str], mut used: usize, rest: usize, width: usize) -> Vec<usize> {
    let (mut out, mut first, mut at) = (Vec::new(), 0, 0);
    while at < parts.len() {
        if used + parts[at].width() > width && used > rest {
            let before = (first + 1..at).rev().find(|before| !closes(parts[*before]));
            at = before.filter(|_| closes(parts[at])).unwrap_or(at);
            out.push(at);
            (first, used) = (at, rest);
        }
        used += parts[at].width();
        at += 1;
    }
    out
}

/// Returns whether a character ends what stands before it: a closing quote or bracket, or
/// punctuation.
pub(crate) fn closes(part: &str) -> bool {
    matches!(
        part,
        "`" | "'" | "\"" | ")" | "]" | "}" | ">" | "." | "," | ";" | ":" | "!" | "?" | "…" | "’" | "”"
    )
}

/// Returns whether a space stands between a number and its unit, as in `2.93 s`: `before` ends with
/// a digit, and `after` begins with the unit. No line is broken there.
pub(crate) fn joins_unit(before: &str, after: &str) -> bool {
    const UNITS: &[&str] = &["ms", "s", "%", "GB", "MB"];
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    before.ends_with(|c: char| c.is_ascii_digit())
        && UNITS.iter().any(|unit| after.strip_prefix(unit).is_some_and(is_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_unit() {
        assert!(joins_unit("2.93", "s 뒤에") && joins_unit("(16", "ms)") && joins_unit("50", "%"));
        assert!(!joins_unit("two", "s") && !joins_unit("2", "steps") && !joins_unit("2", ""));
    }

    #[test]
    fn a_closing_mark_takes_the_character_before_it_along() {
        assert_eq!(breaks(&["t", "a", "g", "s", "`", "."], 0, 0, 4), [3]);
        assert_eq!(breaks(&["`", "`", "`", "`"], 0, 0, 2), [2], "nothing else stands there");
        assert_eq!(breaks(&["파", "드", "`"], 1, 1, 5), [1], "a syllable has two cells");
        assert_eq!(breaks(&["a"], 4, 2, 4), [0], "there is no room behind what stands before it");
    }
}
