//! Which quotes a YAML string needs: go-yaml's resolver and libyaml's analysis of a scalar.

use crate::yaml::scan::is_break;
use crate::yaml::tags;
use regex::Regex;
use std::sync::LazyLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// Line breaks of YAML 1.1 that are printable. A block text that has one would need its indentation
/// after it, and a reader drops one at the end; double quotes escape them.
const LINE_SEPARATORS: [char; 2] = ['\u{2028}', '\u{2029}'];

/// Returns whether go-yaml writes a character without an escape. It escapes tabs and everything
/// beyond the basic plane.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

/// What the analysis allows.
struct Allowed {
    plain: bool,
    single: bool,
    block: bool,
}

/// Returns the style of a string; `key`: it stands before a colon in one line, so it has no line
/// break.
pub(super) fn style(text: &str, key: bool) -> Style {
    let allowed = analyze(text);
    let wanted = if text.contains('\n') {
        Style::Literal
    } else if is_other_type(text) {
        Style::Double
    } else {
        Style::Plain
    };
    let single_or_double = || if allowed.single { Style::Single } else { Style::Double };
    match wanted {
        Style::Plain if !allowed.plain || (text.is_empty() && key) => single_or_double(),
        Style::Literal if !allowed.block || text.contains(LINE_SEPARATORS) => Style::Double,
        wanted => wanted,
    }
}

fn analyze(text: &str) -> Allowed {
    let chars: Vec<char> = text.chars().collect();
    let Some(last) = chars.len().checked_sub(1) else {
        return Allowed { plain: true, single: true, block: false };
    };
    let blank_at = |i: usize| chars.get(i).is_none_or(|c| matches!(c, ' ' | '\t' | '\0') || is_break(*c));
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut breaks, mut special) = (false, false);
    let (mut leading, mut trailing_space, mut trailing_break) = (false, false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    for (i, c) in chars.iter().enumerate() {
        let followed = blank_at(i + 1);
        indicators |= match c {
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
            | '`'
                if i == 0 =>
            {
                true
            }
            '?' | '-' if i == 0 => followed,
            ':' => followed,
            '#' => blank_at(i - 1),
            _ => false,
        };
        special |= !is_printable(*c);
        if *c == ' ' {
            leading |= i == 0;
            trailing_space |= i == last;
            break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else if is_break(*c) {
            breaks = true;
            leading |= i == 0;
            trailing_break |= i == last;
            space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else {
            (previous_space, previous_break) = (false, false);
        }
    }
    let unsafe_text = space_break || special;
    Allowed {
        plain: !(leading
            || trailing_space
            || trailing_break
            || break_space
            || unsafe_text
            || breaks
            || indicators),
        single: !(break_space || unsafe_text),
        block: !(trailing_space || unsafe_text),
    }
}

/// True if the plain text would not be read as text: `yes`, `0x10`, `2001-01-01`, and `1:30`, which
/// other readers take for a number of base 60 (`encoder.stringv` in go.yaml.in/yaml/v2).
fn is_other_type(text: &str) -> bool {
    static BASE60: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$").ok());
    let is_base60 = || BASE60.as_ref().is_some_and(|form| form.is_match(text));
    !tags::is_text(text) || is_base60()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kubectl 1.33 and go.yaml.in/yaml/v2 2.4.3 print them, except for the line breaks of YAML
    /// 1.1, which they lose.
    #[test]
    fn quotes_are_chosen_as_kubectl_chooses_them() {
        for (text, want) in [
            ("yes", Style::Double),
            ("1:30", Style::Double),
            ("0o7", Style::Double),
            ("2024-01-01", Style::Double),
            ("1_000", Style::Double),
            (".5", Style::Double),
            ("2001-1-1 1:2:3", Style::Double),
            ("2001-13-41", Style::Plain),
            ("1:60", Style::Plain),
            ("99999999999999999999", Style::Double),
            ("1e400", Style::Plain),
            (".1_5", Style::Double),
            ("._1", Style::Plain),
            ("0x_1", Style::Double),
            ("0_", Style::Double),
            ("0888", Style::Double),
            ("0b", Style::Plain),
            ("<<", Style::Plain),
            ("1e", Style::Plain),
            ("0x", Style::Plain),
            ("NaN", Style::Plain),
            ("a:b", Style::Plain),
            ("a: b", Style::Single),
            ("a #b", Style::Single),
            ("- a", Style::Single),
            ("-a", Style::Plain),
            ("?a", Style::Plain),
            ("*a", Style::Single),
            ("a, b", Style::Plain),
            ("{}", Style::Single),
            ("---", Style::Single),
            ("trail ", Style::Single),
            ("a\tb", Style::Double),
            ("a\u{85}b", Style::Double),
            ("a\nb", Style::Literal),
            ("a \nb", Style::Double),
            ("a\nb\u{2028}c", Style::Double),
            ("a\u{2028}b", Style::Single),
            ("한국어", Style::Plain),
            ("😀", Style::Double),
            ("100m", Style::Plain),
        ] {
            assert_eq!(style(text, false), want, "{text:?}");
        }
    }
}
