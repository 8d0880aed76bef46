//! Adapts the scripts of `sed` to uutils' sed (0.3.0), which refuses some of what all other seds
//! take, and takes some patterns for others without a word:
//!
//! | written | without this | adapted |
//! |---|---|---|
//! | `/a/{s/a/b/}` | an error | `/a/{s/a/b/;}` |
//! | `p # why` | an error | `p` |
//! | `s/\$/x/` | puts x behind the line | `s/[$]/x/` |
//! | `s/\^/x/` | puts x before the line | `s/[\^]/x/` |
//! | `s/\<a/x/`, `s/a\>/x/` | never fits | `s/x\{0\}\<a/x/` |
//! | `s/\ba/x/` | `\b` is a backspace | as `\<`, or as `\>` behind a word |
//! | `s/*/x/` | an error | `s/\*/x/` |
//! | `s/\(^a\)/x/`, `s/\(a$\)/x/` | never fits | `s/\(\Aa\)/x/`, `s/\(a\z\)/x/` |
//! | `s/[\]/x/` | an error | `s/[\\]/x/` |
//!
//! The scripts of `-f` are read as they are.

use std::ffi::OsString;

/// Delimiters of patterns that are left as they are: what would be written into such a pattern has
/// these characters itself.
const UNSAFE: &str = "x{}<>[]$^*Az0\\";

/// Options with one letter that take a value.
const WITH_VALUE: &str = "efl";

/// Returns the arguments of `sed` with each script of the command line adapted, and whether a
/// pattern of theirs refers back to a group (`\1`).
pub(crate) fn adapted(args: Vec<OsString>) -> (Vec<OsString>, bool) {
    let mut words: Vec<Option<String>> = args.iter().map(|arg| arg.to_str().map(str::to_string)).collect();
    let (places, is_extended) = places(&words);
    let (mut continues, mut refers_back) = (false, false);
    for (at, start) in places {
        let Some(word) = words.get_mut(at).and_then(Option::as_mut) else { continue };
        let script = word.split_off(start);
        // Behind `-e 'a\'` stands the text of that command.
        if continues {
            word.push_str(&script);
        } else {
            let (adapted, refers) = adapted_script(&script, is_extended);
            refers_back |= refers;
            word.push_str(&adapted);
        }
        continues = ends_in_backslash(&script);
    }
    let args = args.into_iter().zip(words).map(|(arg, word)| word.map_or(arg, OsString::from)).collect();
    (args, refers_back)
}

/// Returns where the scripts stand, as the number of the argument and the place in it, and whether
/// their patterns are extended ones.
fn places(words: &[Option<String>]) -> (Vec<(usize, usize)>, bool) {
    let (mut scripts, mut operands) = (Vec::new(), Vec::new());
    let (mut is_extended, mut has_file, mut at) = (false, false, 1);
    while let Some(word) = words.get(at) {
        let word = word.as_deref().unwrap_or_default();
        if word == "--" {
            operands.extend(at + 1..words.len());
            break;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, has_value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
            is_extended |= begins("regexp-extended", name);
            has_file |= begins("script-file", name);
            let is_script = begins("expression", name);
            match has_value {
                true if is_script => scripts.push((at, "--".len() + name.len() + "=".len())),
                false if is_script => scripts.push((at + 1, 0)),
                _ => {}
            }
            at += usize::from(
                !has_value && (is_script || begins("script-file", name) || begins("length", name)),
            );
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            // Behind an `i` stands the ending of the copies.
            let last = letters.find(|c| c == 'i' || WITH_VALUE.contains(c));
            let switches = &letters[..last.unwrap_or(letters.len())];
            is_extended |= switches.contains(['E', 'r']);
            if let Some(last) = last {
                let (letter, is_apart) = (letters.as_bytes()[last], last + 1 == letters.len());
                has_file |= letter == b'f';
                match is_apart {
                    true if letter == b'e' => scripts.push((at + 1, 0)),
                    false if letter == b'e' => scripts.push((at, "-".len() + last + 1)),
                    _ => {}
                }
                at += usize::from(is_apart && letter != b'i');
            }
        } else {
            operands.push(at);
        }
        at += 1;
    }
    if scripts.is_empty() && !has_file {
        scripts.extend(operands.first().map(|at| (*at, 0)));
    }
    (scripts, is_extended)
}

/// Whether a word is the beginning of a long option's name.
fn begins(name: &str, word: &str) -> bool {
    word.len() > 2 && name.starts_with(word)
}

fn ends_in_backslash(text: &str) -> bool {
    (text.len() - text.trim_end_matches('\\').len()) % 2 == 1
}

/// Returns a script as uutils' sed takes it, and whether a pattern refers back to a group.
fn adapted_script(script: &str, is_extended: bool) -> (String, bool) {
    let out = String::with_capacity(script.len() + 16);
    let mut scan = Scan { rest: script, out, is_extended, refers_back: false };
    while !scan.rest.is_empty() {
        scan.command();
    }
    (scan.out, scan.refers_back)
}

/// The locale that uutils' sed needs in place of the one that the environment names. It has groups
/// that are referred to in UTF-8 alone, and ends with an error in a locale that it does not know.
/// `None`: that one will do.
///
/// ```text
/// no LANG, s/\(a\)\1/x/   C.UTF-8         LANG=ko_KR.eucKR, s/a/b/   C
/// ```
pub(crate) fn locale(refers_back: bool, named: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let named = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(named).find(|value| !value.is_empty());
    let named = named.unwrap_or_else(|| "C".into());
    let letters = named.to_ascii_lowercase();
    if letters.ends_with(".utf-8") || letters.ends_with(".utf8") {
        return None;
    }
    let wanted = if refers_back { "C.UTF-8" } else { "C" };
    (refers_back || !matches!(&*named, "C" | "POSIX")).then_some(wanted)
}

/// What stands before a place in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing: the pattern begins.
    Begin,
    /// The bracket of a group, or a bar.
    Group,
    /// `^`, which holds the pattern to the begin of the line.
    Anchor,
    /// What may fit the last letter of a word.
    Word,
    Other,
}

/// A script that is read from left to right and written anew.
struct Scan<'a> {
    rest: &'a str,
    out: String,
    is_extended: bool,
    refers_back: bool,
}

impl Scan<'_> {
    fn take(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at(bytes);
        self.out.push_str(taken);
        self.rest = rest;
    }

    fn take_char(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.take(c.len_utf8());
        Some(c)
    }

    fn take_while(&mut self, is_taken: impl Fn(char) -> bool) {
        self.take(self.rest.find(|c| !is_taken(c)).unwrap_or(self.rest.len()));
    }

    fn take_line(&mut self) {
        self.take(self.rest.find('\n').map_or(self.rest.len(), |at| at + 1));
    }

    /// Writes something in place of the next bytes.
    fn replace(&mut self, bytes: usize, with: &str) {
        self.out.push_str(with);
        self.rest = &self.rest[bytes..];
    }

    /// Takes a command with its addresses.
    fn command(&mut self) {
        self.take_while(|c| c.is_whitespace() || c == ';');
        self.addresses();
        let Some(name) = self.take_char() else { return };
        match name {
            '{' => return,
            '#' | 'r' | 'R' | 'w' | 'W' | 'e' | 'v' => return self.take_line(),
            'a' | 'i' | 'c' => return self.text(),
            's' => self.substitution(),
            'y' => {
                if let Some(delimiter) = self.take_char() {
                    self.part(delimiter);
                    self.part(delimiter);
                }
            }
            ':' | 'b' | 't' | 'T' => {
                self.take_while(|c| c == ' ' || c == '\t');
                self.take_while(|c| !c.is_whitespace() && c != ';' && (name == ':' || c != '}'));
            }
            'q' | 'Q' | 'l' | 'L' => self.take_while(|c| c == ' ' || c.is_ascii_digit()),
            _ => {}
        }
        self.end(name);
    }

    /// Leaves out blanks and a comment behind a command. A substitution ends before a `}`.
    fn end(&mut self, name: char) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        if self.rest.starts_with('#') {
            self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..];
        }
        if name == 's' && self.rest.starts_with('}') {
            self.out.push(';');
        }
    }

    fn addresses(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '/' | '\\' => {
                    self.take(1);
                    let delimiter = if c == '/' { Some(c) } else { self.take_char() };
                    delimiter.into_iter().for_each(|delimiter| self.pattern(delimiter));
                    self.take_while(|c| matches!(c, 'I' | 'M'));
                }
                '$' | ',' | '+' | '~' | '!' => self.take(1),
                c if c.is_whitespace() || c.is_ascii_digit() => self.take(c.len_utf8()),
                _ => return,
            }
        }
    }

    /// Takes the lines of a text. All but the last one end in a backslash.
    fn text(&mut self) {
        loop {
            let begin = self.out.len();
            self.take_line();
            let line = &self.out[begin..];
            if !line.ends_with('\n') || !ends_in_backslash(line.trim_end_matches('\n')) {
                return;
            }
        }
    }

    /// Takes a pattern, what replaces it, and the flags.
    fn substitution(&mut self) {
        let Some(delimiter) = self.take_char() else { return };
        self.pattern(delimiter);
        self.part(delimiter);
        self.take_while(|c| c.is_ascii_digit() || matches!(c, 'g' | 'p' | 'i' | 'I' | 'm' | 'M' | 'e'));
        if self.rest.starts_with('w') {
            self.take_line();
        }
    }

    /// Takes everything up to a delimiter, and that.
    fn part(&mut self, delimiter: char) {
        while let Some(c) = self.take_char() {
            match c {
                '\\' => drop(self.take_char()),
                c if c == delimiter => return,
                _ => {}
            }
        }
    }

    /// Takes a pattern with the delimiter behind it.
    fn pattern(&mut self, delimiter: char) {
        if UNSAFE.contains(delimiter) {
            return self.part(delimiter);
        }
        let mut before = Before::Begin;
        while let Some(c) = self.rest.chars().next() {
            if c == delimiter {
                return self.take(c.len_utf8());
            }
            let behind = &self.rest[c.len_utf8()..];
            let is_first = matches!(before, Before::Begin | Before::Group);
            before = match c {
                '[' => self.set(),
                '\\' => self.escape(delimiter, before),
                '*' if !self.is_extended && (is_first || before == Before::Anchor) => {
                    self.replace(1, "\\*");
                    Before::Other
                }
                '^' if is_first => {
                    let is_inner = !self.is_extended && before == Before::Group;
                    self.replace(1, if is_inner { "\\A" } else { "^" });
                    Before::Anchor
                }
                '$' if !self.is_extended && (behind.starts_with("\\)") || behind.starts_with("\\|")) => {
                    self.replace(1, "\\z");
                    Before::Other
                }
                c => {
                    self.take(c.len_utf8());
                    match c {
                        '(' | '|' if self.is_extended => Before::Group,
                        '*' => before,
                        '+' | '?' | ')' if self.is_extended => before,
                        c if c == '_' || c.is_alphanumeric() => Before::Word,
                        _ => Before::Other,
                    }
                }
            };
        }
    }

    /// Takes a backslash of a pattern and the character behind it.
    fn escape(&mut self, delimiter: char, before: Before) -> Before {
        let Some(c) = self.rest[1..].chars().next() else {
            self.take(1);
            return Before::Other;
        };
        let length = 1 + c.len_utf8();
        // A pattern without operators is compared letter by letter, and then there are no borders
        // of words. Nothing of something is an operator.
        let nothing = if self.is_extended { "x{0}" } else { "x\\{0\\}" };
        match c {
            c if c == delimiter => self.take(length),
            '$' => self.replace(length, "[$]"),
            '^' => self.replace(length, "[\\^]"),
            '<' | '>' => self.replace(length, &format!("{nothing}\\{c}")),
            'b' => {
                let begins = before != Before::Word && may_begin_word(&self.rest[length..]);
                self.replace(length, &format!("{nothing}\\{}", if begins { '<' } else { '>' }));
            }
            c => {
                self.refers_back |= matches!(c, '1'..='9');
                self.take(length);
            }
        }
        match c {
            '(' | '|' if !self.is_extended && c != delimiter => Before::Group,
            ')' | '+' | '?' if !self.is_extended => before,
            'w' => Before::Word,
            _ => Before::Other,
        }
    }

    /// Takes a set in brackets. A backslash before the last bracket is a plain character.
    fn set(&mut self) -> Before {
        self.take(1);
        let is_negated = self.rest.starts_with('^');
        self.take(usize::from(is_negated));
        self.take(usize::from(self.rest.starts_with(']')));
        while let Some(c) = self.rest.chars().next() {
            let class = ["[:", "[.", "[="].into_iter().find(|open| self.rest.starts_with(open));
            let class_end = class.and_then(|open| self.rest[2..].find(&format!("{}]", &open[1..])));
            match (c, class_end) {
                (_, Some(end)) => self.take(2 + end + 2),
                (']', _) => {
                    self.take(1);
                    break;
                }
                ('\\', _) if self.rest[1..].starts_with(']') => self.replace(1, "\\\\"),
                ('\\', _) => {
                    self.take(1);
                    self.take_char();
                }
                (c, _) => self.take(c.len_utf8()),
            }
        }
        if is_negated { Before::Other } else { Before::Word }
    }
}

/// Whether what follows in a pattern may fit the first letter of a word.
fn may_begin_word(pattern: &str) -> bool {
    let mut inner = pattern;
    while let Some(rest) = inner.strip_prefix("\\(").or_else(|| inner.strip_prefix('(')) {
        inner = rest;
    }
    inner.starts_with("\\w")
        || inner.starts_with(|c: char| matches!(c, '_' | '[' | '.') || c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_adapted() {
        for (script, wanted) in [
            ("/a/{s/a/b/}", "/a/{s/a/b/;}"),
            ("1,/x/I{/a/!{s/a/b/g }}", "1,/x/I{/a/!{s/a/b/g;}}"),
            ("p # why\ns,a,#, # it's\n$!d;# c", "p\ns,a,#,\n$!d;# c"),
            ("#n\n/a/ {\n y/a/}/ ;q 5 # c\n}", "#n\n/a/ {\n y/a/}/;q 5 \n}"),
            ("a s/a/b/}\ni\\\nx # y\\\n}\ns/\\$/x/", "a s/a/b/}\ni\\\nx # y\\\n}\ns/[$]/x/"),
            (":a; s/a/b/;ta # c\nr f # g\nbend }", ":a; s/a/b/;ta\nr f # g\nbend}"),
            ("s/\\^a\\$/\\$/;/\\$$/d;\\,\\^,p", "s/[\\^]a[$]/\\$/;/[$]$/d;\\,[\\^],p"),
            ("s/\\<a\\>/\\</", "s/x\\{0\\}\\<ax\\{0\\}\\>/\\</"),
            ("s/\\b\\(a*\\)\\b.\\b/x/", "s/x\\{0\\}\\<\\(a*\\)x\\{0\\}\\>.x\\{0\\}\\>/x/"),
            ("s/*a^*\\(*b\\)$/x/;s/^*//", "s/\\*a^*\\(\\*b\\)$/x/;s/^\\*//"),
            ("s/\\(^a\\|^b$\\)$/x/", "s/\\(\\Aa\\|\\Ab\\z\\)$/x/"),
            ("s/[\\]/x/;s/[^]/\\n]*[[:alpha:]#]/x/w f", "s/[\\\\]/x/;s/[^]/\\n]*[[:alpha:]#]/x/w f"),
            ("s|a\\|b|x|;s/a\\/b/x/", "s|a\\|b|x|;s/a\\/b/x/"),
            ("s$a\\$b$x$;sxa\\<bxcx", "s$a\\$b$x$;sxa\\<bxcx"),
            ("s/a", "s/a"),
            ("s/[a", "s/[a"),
            ("s/a\\", "s/a\\"),
        ] {
            assert_eq!(adapted_script(script, false).0, wanted, "{script}");
        }
        for (script, wanted) in [
            ("s/\\b(\\w+) \\1\\b/x/", "s/x{0}\\<(\\w+) \\1x{0}\\>/x/"),
            ("s/(^a|^b)$|\\$/x/", "s/(^a|^b)$|[$]/x/"),
            ("s/[^a]\\b[a-z]+\\b /x/", "s/[^a]x{0}\\<[a-z]+x{0}\\> /x/"),
        ] {
            assert_eq!(adapted_script(script, true).0, wanted, "{script}");
        }
    }

    #[test]
    fn a_pattern_that_refers_back_needs_utf_8() {
        for (script, refers) in [
            ("s/\\(a\\)\\1/x/", true),
            ("/\\(a\\)b\\1/d", true),
            ("s/\\(a\\)/\\1/", false),
            ("s/[\\1]/x/", false),
        ] {
            assert_eq!(adapted_script(script, false).1, refers, "{script}");
        }
        let given = |lang: &'static str| move |name: &str| (name == "LANG").then(|| lang.to_string());
        for (lang, refers, wanted) in [
            ("", true, Some("C.UTF-8")),
            ("", false, None),
            ("POSIX", true, Some("C.UTF-8")),
            ("ko_KR.UTF-8", true, None),
            ("ko_KR.eucKR", false, Some("C")),
        ] {
            assert_eq!(locale(refers, given(lang)), wanted, "{lang} {refers}");
        }
    }

    #[test]
    fn only_scripts_are_adapted() {
        for (line, wanted) in [
            ("sed p#|p#", "sed p|p#"),
            ("sed -n|-e|p#|-ep#|p#", "sed -n|-e|p|-ep|p#"),
            ("sed -nep#|--expression=p#|--expr|p#", "sed -nep|--expression=p|--expr|p"),
            ("sed -f|p#|p#", "sed -f|p#|p#"),
            ("sed -i.e#|-l|5#|--|p#|p#", "sed -i.e#|-l|5#|--|p|p#"),
            ("sed -ne|a\\|-e|p#|-e|p#", "sed -ne|a\\|-e|p#|-e|p"),
            ("sed s/\\<a//|-E", "sed s/x{0}\\<a//|-E"),
            ("sed -ri|s/\\<a//", "sed -ri|s/x{0}\\<a//"),
            ("sed", "sed"),
        ] {
            let words = |line: &str| {
                let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
                let rest = rest.split('|').filter(|word| !word.is_empty());
                [name].into_iter().chain(rest).map(OsString::from).collect::<Vec<_>>()
            };
            assert_eq!(adapted(words(line)).0, words(wanted), "{line}");
        }
    }
}
