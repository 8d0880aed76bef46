//! Patterns of `case`, `${x#…}` and file names.

/// Where a character came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The character stood in the script, outside of quotes.
    Literal,
    /// The character was quoted and means itself.
    Quoted,
    /// An unquoted expansion made it: it is split, and may be part of a pattern.
    Result,
}

/// A character of a word during expansion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glyph {
    pub c: char,
    pub kind: Kind,
}

impl Glyph {
    /// Stands where quotes were, so that `""` is a word. It is no text.
    pub(super) const QUOTES: Glyph = Glyph { c: '\0', kind: Kind::Quoted };

    pub(super) fn is_active(self, chars: &[char]) -> bool {
        self.kind != Kind::Quoted && chars.contains(&self.c)
    }
}

/// Returns a pattern in which a backslash that an expansion made quotes the character behind it
/// (POSIX 2.14.1).
pub(super) fn without_backslashes(pattern: &[Glyph]) -> Vec<Glyph> {
    let mut out = Vec::with_capacity(pattern.len());
    let mut glyphs = pattern.iter().copied().peekable();
    while let Some(glyph) = glyphs.next() {
        let quoted = (glyph == Glyph { c: '\\', kind: Kind::Result })
            .then(|| glyphs.next_if(|next| next.kind == Kind::Result))
            .flatten();
        out.push(quoted.map_or(glyph, |next| Glyph { kind: Kind::Quoted, ..next }));
    }
    out
}

/// Returns whether the pattern describes the whole text.
pub(super) fn matches(pattern: &[Glyph], text: &[char]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star = None;
    loop {
        if pattern.get(at).is_some_and(|g| g.is_active(&['*'])) {
            star = Some((at, position));
            at += 1;
            continue;
        }
        match (pattern.get(at), text.get(position)) {
            (None, None) => return true,
            (Some(_), Some(c)) => {
                if let Some(next) = match_one(pattern, at, *c) {
                    (at, position) = (next, position + 1);
                    continue;
                }
            }
            _ => {}
        }
        // The last star swallows one more character.
        match star {
            Some((star_at, eaten)) if eaten < text.len() => {
                star = Some((star_at, eaten + 1));
                (at, position) = (star_at + 1, eaten + 1);
            }
            _ => return false,
        }
    }
}

/// A pattern for many questions about the same text. Each is answered in one walk over the text
/// that keeps all parts of the pattern which may come next, so it takes no longer than the product
/// of the lengths.
pub(super) struct Parts<'a> {
    pattern: &'a [Glyph],
    /// Where each part begins: a star, a set, or one character.
    starts: Vec<usize>,
}

impl Parts<'_> {
    pub(super) fn new(pattern: &[Glyph]) -> Parts<'_> {
        let (mut starts, mut at) = (Vec::new(), 0);
        while let Some(glyph) = pattern.get(at) {
            starts.push(at);
            // A set ends at the same place whatever is compared with it.
            let set = if glyph.is_active(&['[']) { match_bracket(pattern, at + 1, '\0') } else { None };
            at = set.map_or(at + 1, |(_, next)| next);
        }
        Parts { pattern, starts }
    }

    fn is_star(&self, part: usize) -> bool {
        self.starts.get(part).is_some_and(|at| self.pattern[*at].is_active(&['*']))
    }

    fn accepts(&self, part: usize, c: char) -> bool {
        self.starts.get(part).is_some_and(|at| match_one(self.pattern, *at, c).is_some())
    }

    /// Returns the end of the shortest or longest beginning of the text that fits.
    pub(super) fn prefix_end(&self, text: &[char], longest: bool) -> Option<usize> {
        // Parts that may come next, in ascending order.
        let (mut open, mut next) = (Vec::new(), Vec::new());
        self.open_from(0, &mut open);
        let mut found = None;
        for end in 0..=text.len() {
            if open.last() == Some(&self.starts.len()) {
                found = Some(end);
            }
            let Some(c) = text.get(end).filter(|_| !open.is_empty() && (longest || found.is_none())) else {
                break;
            };
            next.clear();
            for part in &open {
                if self.is_star(*part) {
                    self.open_from(*part, &mut next);
                } else if self.accepts(*part, *c) {
                    self.open_from(part + 1, &mut next);
                }
            }
            std::mem::swap(&mut open, &mut next);
        }
        found
    }

    /// Adds a part that may come next, and the one behind it if it is a star, which may be empty.
    /// A part below the last one was added with it.
    fn open_from(&self, mut part: usize, open: &mut Vec<usize>) {
        while open.last().is_none_or(|last| *last < part) {
            open.push(part);
            if !self.is_star(part) {
                return;
            }
            part += 1;
        }
    }

    /// Returns the start of the shortest or longest end of the text that fits.
    pub(super) fn suffix_start(&self, text: &[char], longest: bool) -> Option<usize> {
        // Parts from which on the pattern fits the rest of the text, in descending order.
        let (mut open, mut next) = (Vec::new(), Vec::new());
        self.open_to(self.starts.len(), &mut open);
        let mut found = None;
        for start in (0..=text.len()).rev() {
            if open.last() == Some(&0) {
                found = Some(start);
            }
            let before = text[..start].last();
            let Some(c) = before.filter(|_| !open.is_empty() && (longest || found.is_none())) else {
                break;
            };
            next.clear();
            for part in &open {
                if self.is_star(*part) {
                    self.open_to(*part, &mut next);
                }
                if let Some(before) = part.checked_sub(1)
                    && !self.is_star(before)
                    && self.accepts(before, *c)
                {
                    self.open_to(before, &mut next);
                }
            }
            std::mem::swap(&mut open, &mut next);
        }
        found
    }

    /// As [`Parts::open_from`], towards the beginning of the pattern.
    fn open_to(&self, mut part: usize, open: &mut Vec<usize>) {
        while open.last().is_none_or(|last| *last > part) {
            open.push(part);
            match part.checked_sub(1).filter(|before| self.is_star(*before)) {
                Some(before) => part = before,
                None => return,
            }
        }
    }
}

/// Matches one character; returns where the pattern goes on.
fn match_one(pattern: &[Glyph], at: usize, c: char) -> Option<usize> {
    let glyph = pattern[at];
    if glyph.is_active(&['?']) {
        return Some(at + 1);
    }
    if glyph.is_active(&['[']) {
        return match match_bracket(pattern, at + 1, c) {
            Some((fits, next)) => fits.then_some(next),
            None => (c == '[').then_some(at + 1), // never closed: a plain character
        };
    }
    (glyph.c == c).then_some(at + 1)
}

/// Returns what follows `[`: whether it fits, and where the pattern goes on; `None` without `]`.
fn match_bracket(pattern: &[Glyph], start: usize, c: char) -> Option<(bool, usize)> {
    let negated = pattern.get(start).is_some_and(|g| g.is_active(&['!', '^']));
    let first = start + usize::from(negated);
    let mut at = first;
    let mut fits = false;
    loop {
        let glyph = pattern.get(at)?;
        if glyph.is_active(&[']']) && at > first {
            return Some((fits != negated, at + 1));
        }
        if let Some((holds, next)) = match_class(pattern, at, c) {
            fits |= holds;
            at = next;
        } else if pattern.get(at + 1).is_some_and(|g| g.is_active(&['-']))
            && let Some(last) = pattern.get(at + 2).filter(|g| !g.is_active(&[']']))
        {
            fits |= (glyph.c..=last.c).contains(&c);
            at += 3;
        } else {
            fits |= glyph.c == c;
            at += 1;
        }
    }
}

/// Returns whether a class in a set, as in `[[:digit:]]`, holds a character, and where the set goes
/// on. `None` if the class is plain characters: one without its end, as in `[[:]`, one with quotes
/// around its signs, and one whose name dash does not know.
fn match_class(pattern: &[Glyph], start: usize, c: char) -> Option<(bool, usize)> {
    let is_active = |at: usize, c: char| pattern.get(at).is_some_and(|glyph| glyph.is_active(&[c]));
    if !(is_active(start, '[') && is_active(start + 1, ':')) {
        return None;
    }
    let name: String =
        pattern[start + 2..].iter().map(|glyph| glyph.c).take_while(char::is_ascii_lowercase).collect();
    let end = start + 2 + name.len();
    if !(is_active(end, ':') && is_active(end + 1, ']')) {
        return None;
    }
    let holds = match name.as_str() {
        "alpha" => c.is_alphabetic(),
        "digit" => c.is_ascii_digit(),
        "alnum" => c.is_alphanumeric(),
        "space" => c.is_whitespace(),
        "blank" => c == ' ' || c == '\t',
        "upper" => c.is_uppercase(),
        "lower" => c.is_lowercase(),
        "punct" => c.is_ascii_punctuation(),
        "xdigit" => c.is_ascii_hexdigit(),
        "cntrl" => c.is_control(),
        "print" => !c.is_control(),
        "graph" => !c.is_control() && c != ' ',
        _ => return None,
    };
    Some((holds, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_posix() {
        let fits = |pattern: &str, text: &str| {
            let glyphs: Vec<Glyph> = pattern.chars().map(|c| Glyph { c, kind: Kind::Literal }).collect();
            matches(&glyphs, &text.chars().collect::<Vec<_>>())
        };
        for (pattern, text) in [
            ("*", ""),
            ("a*b*c", "aXbYbZc"),
            ("?", "é"),
            ("[a-c]x", "bx"),
            ("[!a]", "b"),
            ("[]a]", "]"),
            ("[[:digit:]-]", "-"),
            ("[[:]*:", "[a:"),
            ("[[:]*:", "::"),
            ("[[:foo:]]", "f]"),
            ("[[::]", ":"),
            ("[", "["),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*", "ba"), ("?", ""), ("[!a]", "a"), ("[[:upper:]]", "a"), ("a", "ab")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        let result = |text: &str| text.chars().map(|c| Glyph { c, kind: Kind::Result }).collect::<Vec<_>>();
        for (pattern, text, fits) in
            [("\\*", "*", true), ("\\*", "\\a", false), ("a\\", "a\\", true), ("\\\\", "\\", true)]
        {
            let text: Vec<char> = text.chars().collect();
            assert_eq!(matches(&without_backslashes(&result(pattern)), &text), fits, "{pattern}");
        }
        // `[\[:alpha:]]` is one of six characters, and a bracket.
        let mut quoted: Vec<Glyph> =
            "[[:alpha:]]".chars().map(|c| Glyph { c, kind: Kind::Literal }).collect();
        assert!(matches(&quoted, &['z']));
        quoted[1].kind = Kind::Quoted;
        assert!(matches(&quoted, &['a', ']']) && !matches(&quoted, &['z']));
        let star = [Glyph { c: '*', kind: Kind::Quoted }];
        assert!(matches(&star, &['*']) && !matches(&star, &['a']));
    }

    #[test]
    fn parts_of_a_text_fit_as_the_whole_of_it_would() {
        let patterns =
            ["", "*", "**", "a", "?", "a*", "*a", "*b*", "a*b", "*a*?*b", "[ab]", "[!a]*", "*[b", "[]a]b*"];
        for pattern in patterns {
            let pattern: Vec<Glyph> = pattern.chars().map(|c| Glyph { c, kind: Kind::Literal }).collect();
            let parts = Parts::new(&pattern);
            for text in ["", "a", "b", "ab", "ba", "aab", "abab", "bbaa", "a]b", "[b[b"] {
                let text: Vec<char> = text.chars().collect();
                let ends: Vec<usize> =
                    (0..=text.len()).filter(|at| matches(&pattern, &text[..*at])).collect();
                let starts: Vec<usize> =
                    (0..=text.len()).filter(|at| matches(&pattern, &text[*at..])).collect();
                let found = [false, true].map(|longest| parts.prefix_end(&text, longest));
                assert_eq!(found, [ends.first().copied(), ends.last().copied()], "{pattern:?} {text:?}");
                let found = [false, true].map(|longest| parts.suffix_start(&text, longest));
                assert_eq!(found, [starts.last().copied(), starts.first().copied()], "{pattern:?} {text:?}");
            }
        }
    }
}
