//! Patterns of `sed`: what GNU's sed reads in them, written so that uutils' sed reads the same.

use super::Scan;

/// Delimiters of patterns that are left as they are: what would be written into such a pattern has
/// these characters itself.
const UNSAFE: &str = "x5cb0{}<>[]$^*+?Az\\";

/// What stands before a place in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing: the pattern begins.
    Begin,
    /// The bracket of a group, or a bar.
    Group,
    /// `^`, which ties the pattern to the beginning of the line.
    Anchor,
    Other,
}

impl Scan<'_> {
    /// Takes a pattern with the delimiter behind it.
    pub(super) fn take_pattern(&mut self, delimiter: char) {
        let begin = self.out.len();
        if UNSAFE.contains(delimiter) {
            self.take_to_delimiter(delimiter);
        } else {
            self.adapt_pattern(delimiter);
        }
        // uutils' sed looks for the two characters alone, also where they are no back-reference, as
        // in `\\1`.
        let mut pairs = self.out.as_bytes()[begin..].windows(2);
        self.needs.refers_back |= pairs.any(|pair| pair[0] == b'\\' && matches!(pair[1], b'1'..=b'9'));
    }

    fn adapt_pattern(&mut self, delimiter: char) {
        let mut before = Before::Begin;
        while let Some(c) = self.rest.chars().next() {
            if c == delimiter {
                return self.take(c.len_utf8());
            }
            let behind = &self.rest[c.len_utf8()..];
            let is_first = matches!(before, Before::Begin | Before::Group);
            before = match c {
                '[' => {
                    self.take_set();
                    Before::Other
                }
                '\\' => self.take_escape(delimiter, is_first),
                '*' if !self.is_extended && (is_first || before == Before::Anchor) => {
                    self.replace(1, "\\*");
                    Before::Other
                }
                '^' if is_first => {
                    let is_inner = !self.is_extended && before == Before::Group;
                    self.replace(1, if is_inner { "\\A" } else { "^" });
                    Before::Anchor
                }
                // Without an operator the two would be compared as letters.
                '^' if self.is_extended => {
                    self.replace(1, "x{0}^");
                    Before::Other
                }
                '$' if self.is_extended
                    && !behind.is_empty()
                    && !behind.starts_with([delimiter, ')', '|']) =>
                {
                    self.replace(1, "x{0}$");
                    Before::Other
                }
                '$' if !self.is_extended && (behind.starts_with("\\)") || behind.starts_with("\\|")) => {
                    self.replace(1, "\\z");
                    Before::Other
                }
                c => {
                    self.take(c.len_utf8());
                    if self.is_extended && matches!(c, '(' | '|') { Before::Group } else { Before::Other }
                }
            };
        }
    }

    /// Takes a backslash of a pattern and the character behind it.
    fn take_escape(&mut self, delimiter: char, is_first: bool) -> Before {
        let Some(c) = self.rest[1..].chars().next() else {
            self.take(1);
            return Before::Other;
        };
        let length = 1 + c.len_utf8();
        // A pattern without operators is compared letter by letter, and then there are no borders
        // of words. Nothing of something is an operator.
        let nothing = if self.is_extended { "x{0}" } else { "x\\{0\\}" };
        match c {
            c if c == delimiter => {
                self.take(length);
                return Before::Other;
            }
            '$' => self.replace(length, "[$]"),
            '^' => self.replace(length, "[\\^]"),
            '<' | '>' => self.replace(length, &format!("{nothing}\\{c}")),
            // `\x5c` becomes a backslash before the pattern is compiled, and `\b` has its meaning
            // then.
            'b' => self.replace(length, "\\x5cb"),
            '`' => self.replace(length, "\\A"),
            '\'' => self.replace(length, "\\z"),
            '+' | '?' if is_first && !self.is_extended => self.replace(length, &format!("[{c}]")),
            _ => self.take(length),
        }
        if matches!(c, '(' | '|') && !self.is_extended { Before::Group } else { Before::Other }
    }

    /// Takes a set in brackets.
    fn take_set(&mut self) {
        self.take(1);
        self.take(usize::from(self.rest.starts_with('^')));
        let mut is_first = true; // a `]` is a member there
        while !self.rest.is_empty() && (is_first || !self.rest.starts_with(']')) {
            is_first = false;
            self.take_member();
            let end = self.rest.strip_prefix('-').unwrap_or_default();
            if !end.is_empty() && !end.starts_with(']') {
                self.take(1);
                self.take_member();
            }
        }
        self.take(usize::from(!self.rest.is_empty()));
    }

    /// Takes one member of a set: a character, a class, or the end of a range.
    fn take_member(&mut self) {
        match self.rest.chars().next() {
            Some('[') => self.take_class(),
            Some('\\') => self.take_backslash_of_set(),
            Some(c) => self.replace_with_member(c.len_utf8(), c),
            None => {}
        }
    }

    /// Writes a character of a set in place of the next bytes. Some are operators in the sets of
    /// the engine: `&&`, `--`, `~~`, and a set in a set.
    fn replace_with_member(&mut self, bytes: usize, c: char) {
        if matches!(c, '[' | ']' | '\\' | '^' | '-' | '&' | '~') {
            self.out.push('\\');
        }
        self.out.push(c);
        self.rest = &self.rest[bytes..];
    }

    /// Takes `[:alpha:]`, `[.x.]`, `[=x=]`, or the bracket alone. The engine knows the first only.
    fn take_class(&mut self) {
        let Some(open) = ["[:", "[.", "[="].into_iter().find(|open| self.rest.starts_with(open)) else {
            return self.replace_with_member(1, '[');
        };
        let Some(length) = self.rest[2..].find(&format!("{}]", &open[1..])) else {
            return self.take(1); // an error in GNU's sed, too
        };
        let mut name = self.rest[2..2 + length].chars();
        match (open, name.next(), name.next()) {
            ("[." | "[=", Some(c), None) => self.replace_with_member(2 + length + 2, c),
            _ => self.take(2 + length + 2),
        }
    }

    /// Takes a backslash of a set. It is a plain character, also before a `]`, unless an escape for
    /// a character begins with it.
    fn take_backslash_of_set(&mut self) {
        let behind = &self.rest[1..];
        match (numbered(behind), behind.chars().next()) {
            (Some((length, c)), _) => self.replace_with_member(1 + length, c),
            (None, Some('\\')) => self.replace_with_member(2, '\\'),
            (None, Some('a' | 'c' | 'd' | 'f' | 'n' | 'o' | 'r' | 't' | 'v' | 'x')) => self.take(2),
            (None, Some(_)) => self.replace_with_member(1, '\\'),
            (None, None) => self.take(1),
        }
    }
}

/// Returns the length of a number that stands for an ASCII character (`d097`, `o141`, `x61`), and
/// that character.
fn numbered(text: &str) -> Option<(usize, char)> {
    let (radix, most) = match text.chars().next()? {
        'd' => (10, 3),
        'o' => (8, 3),
        'x' => (16, 2),
        _ => return None,
    };
    let digits = text.chars().skip(1).take(most).take_while(|c| c.is_digit(radix)).count();
    let value = u8::from_str_radix(&text[1..1 + digits], radix).ok().filter(u8::is_ascii)?;
    Some((1 + digits, char::from(value)))
}

#[cfg(test)]
mod tests {
    use super::super::{LINE_LENGTH, adapted_script};

    #[test]
    fn basic_patterns_are_adapted() {
        for (script, wanted) in [
            ("s/\\^a\\$/\\$/;/\\$$/d;\\,\\^,p", "s/[\\^]a[$]/\\$/;/[$]$/d;\\,[\\^],p"),
            ("s/\\<a\\>/\\</", "s/x\\{0\\}\\<ax\\{0\\}\\>/\\</"),
            ("s/[ ]\\b\\(a\\{2\\}\\)\\b\\1\\b/\\b/", "s/[ ]\\x5cb\\(a\\{2\\}\\)\\x5cb\\1\\x5cb/\\b/"),
            ("/\\`a\\'/p;s/\\+\\(\\?a\\+\\)/x/", "/\\Aa\\z/p;s/[+]\\([?]a\\+\\)/x/"),
            ("s/*a^*\\(*b\\)$/x/;s/^*//", "s/\\*a^*\\(\\*b\\)$/x/;s/^\\*//"),
            ("s/\\(\\)*a/x/", "s/\\(\\)*a/x/"),
            ("s/\\(^a\\|^b$\\)$/x/", "s/\\(\\Aa\\|\\Ab\\z\\)$/x/"),
            ("s|a\\|b|x|;s/a\\/b/x/", "s|a\\|b|x|;s/a\\/b/x/"),
            ("s$a\\$b$x$;sxa\\<bxcx;scx\\bcyc", "s$a\\$b$x$;sxa\\<bxcx;scx\\bcyc"),
            ("s/a", "s/a"),
            ("s/a\\", "s/a\\"),
        ] {
            assert_eq!(adapted_script(script, false, LINE_LENGTH).0, wanted, "{script}");
        }
    }

    #[test]
    fn extended_patterns_are_adapted() {
        for (script, wanted) in [
            ("s/\\b(\\w+) \\1\\b/x/", "s/\\x5cb(\\w+) \\1\\x5cb/x/"),
            ("s/(^a|^b)$|\\$/x/", "s/(^a|^b)$|[$]/x/"),
            ("s/[^a]\\b[a-z]{2}\\<b/x/", "s/[^a]\\x5cb[a-z]{2}x{0}\\<b/x/"),
            ("s/\\+\\?/x/", "s/\\+\\?/x/"),
            ("s/$a^b$/x/;s/a$|(^b$)^^/$^/", "s/x{0}$ax{0}^b$/x/;s/a$|(^b$)x{0}^x{0}^/$^/"),
            ("/a$", "/a$"),
        ] {
            assert_eq!(adapted_script(script, true, LINE_LENGTH).0, wanted, "{script}");
        }
    }

    #[test]
    fn sets_are_adapted() {
        for (set, wanted) in [
            ("[\\]", "[\\\\]"),
            ("[\\\\]", "[\\\\]"),
            ("[\\.\\w]", "[\\\\.\\\\w]"),
            ("[^]/\\n]", "[^\\]/\\n]"),
            ("[[:alpha:]#]", "[[:alpha:]#]"),
            ("[[]", "[\\[]"),
            ("[[a^]", "[\\[a\\^]"),
            ("[[=a=][.-.]b]", "[a\\-b]"),
            ("[a&&b~~c]", "[a\\&\\&b\\~\\~c]"),
            ("[+--]", "[+-\\-]"),
            ("[]-a-]", "[\\]-a\\-]"),
            ("[a\\-z]", "[a\\\\-z]"),
            ("[\\x5db\\d045\\o101\\xg]", "[\\]b\\-A\\xg]"),
            ("[\u{e9}-\u{ea}]", "[\u{e9}-\u{ea}]"),
            ("[", "["),
            ("[a-", "[a\\-"),
            ("[[:a", "[[:a"),
            ("[\\", "[\\"),
        ] {
            assert_eq!(
                adapted_script(&format!("s/{set}"), false, LINE_LENGTH).0,
                format!("s/{wanted}"),
                "{set}"
            );
        }
    }

    #[test]
    fn two_characters_are_a_back_reference() {
        for (script, refers) in [
            ("s/\\(a\\)\\1/x/", true),
            ("/\\(a\\)b\\1/d", true),
            ("s$\\(a\\)\\1$x$", true),
            ("s/\\\\1/x/", true),
            ("s/[\\1]/x/", true),
            ("s/\\(a\\)/\\1/", false),
            ("s/\\(a1\\)0/x/", false),
        ] {
            assert_eq!(adapted_script(script, false, LINE_LENGTH).1.refers_back, refers, "{script}");
        }
    }
}
