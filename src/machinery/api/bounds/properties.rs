//! Classes of characters by name, `\p{Greek}`. Go knows general categories and scripts. This
//! program's engine knows more, `\p{Alphabetic}` and `\p{sc=Greek}`, and does not know
//! `\p{^Greek}`. Source: `parser.parseUnicodeClass` in `regexp/syntax/parse.go`.

use parking_lot::Mutex;
use regex::Regex;
use std::collections::BTreeSet;

/// Names that Go knows, of those that were asked for: a few hundred at most.
static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// No name of a category or a script is longer.
const NAME_MAX: usize = 64;

/// Writes the class that `text` begins with, `\p{^Greek}` or `\pL`. Returns how many bytes it
/// takes.
///
/// # Errors
/// Go's message: it knows no class of this name.
pub(super) fn property(text: &str, out: &mut String) -> Result<usize, String> {
    let rest = &text[2..];
    let (name, length) = match rest.strip_prefix('{') {
        Some(inner) => match inner.find('}') {
            Some(end) => (&inner[..end], end + 2),
            None => ("", rest.len()),
        },
        None => {
            let length = rest.chars().next().map_or(0, char::len_utf8);
            (&rest[..length], length)
        }
    };
    let positive = name.strip_prefix('^');
    let (name, is_turned) = (positive.unwrap_or(name), positive.is_some());
    if !is_known(name) {
        let written = &text[..2 + length];
        return Err(format!("error parsing regexp: invalid character class range: `{written}`"));
    }
    let is_negative = text.starts_with("\\P") != is_turned;
    out.push_str(if is_negative { "\\P{" } else { "\\p{" });
    out.push_str(name);
    out.push('}');
    Ok(2 + length)
}

/// Returns whether Go knows a class of this name. Case, spaces, `_` and `-` do not count.
fn is_known(name: &str) -> bool {
    let plain = name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).take(NAME_MAX + 1);
    let plain: String = plain.map(|c| c.to_ascii_lowercase()).collect();
    // The engine passes over `is` before a name, and Go does not.
    let is_name = (1..=NAME_MAX).contains(&plain.len())
        && !plain.starts_with("is")
        && plain.bytes().all(|b| b.is_ascii_alphanumeric());
    if !is_name {
        return false;
    }
    if KNOWN.lock().contains(&plain) {
        return true;
    }
    let is_class = |kind: &str| Regex::new(&format!("\\p{{{kind}={plain}}}")).is_ok();
    let is_known = is_class("gc") || is_class("sc");
    if is_known {
        KNOWN.lock().insert(plain);
    }
    is_known
}

#[cfg(test)]
mod tests {
    use super::super::regex;

    #[test]
    fn classes_have_the_names_that_go_knows() {
        for (pattern, text, matches) in [
            (r"^\p{Greek}$", "α", true),
            (r"^\p{^Greek}$", "α", false),
            (r"^\p{^Greek}$", "a", true),
            (r"^\P{^Greek}$", "α", true),
            (r"^[\p{^Greek}x]$", "a", true),
            (r"^\p{Letter}\p{lu}\pN$", "éÉ5", true),
            (r"^\p{Old_Italic}$", "\u{10300}", true),
            (r"^\p{Any}$", "x", true),
        ] {
            assert_eq!(regex(pattern).unwrap().is_match(text), matches, "{pattern} {text}");
        }
        for none in ["Alphabetic", "sc=Greek", "gc:L", "isGreek", "", "Foo", "^^Greek"] {
            let refusal = regex(&format!(r"a\p{{{none}}}")).unwrap_err().to_string();
            let want = format!("error parsing regexp: invalid character class range: `\\p{{{none}}}`");
            assert_eq!(refusal, want);
        }
        let open = regex(r"\p{Greek").unwrap_err().to_string();
        assert!(open.ends_with(r"range: `\p{Greek`"), "{open}");
    }
}
