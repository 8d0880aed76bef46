//! `grep`: uutils' grep (0.2.0), which refuses a pattern that GNU's takes, or takes some for
//! others without a word:
//!
//! | written | without this | adapted |
//! |---|---|---|
//! | `\s`, `\S` | the letters `s` and `S` | `[[:space:]]`, `[^[:space:]]` |
//! | `a$b`, `$HOME` | never matches: `$` is the end of the line | `a\$b`, `\$HOME` |
//! | `^^a` | as `^a` | `^\^a` |
//! | `-E '[\.]'`, `-E '[\s]'` | a dot, a blank: the backslash is no member | `[\\.]`, `[\\s]` |
//! | `-E '\d'` | a digit, and not the letter | `d` |
//! | `-E 'a)'` | an error: no group is open | `a\)` |
//!
//! The patterns without `-E` are basic ones. Those in a regular file (`-f`) are given with `-e` in
//! place of it. Without `--color` nothing is coloured, as with GNU's: uutils' grep would colour on
//! a terminal, and so what `kubectl exec -t` writes into a file.
//!
//! Not mended: a set with `[.a.]` or `[=a=]` matches nothing, and `-E '(*a)'` is an error.

use crate::stdio::regular_text;
use crate::uutils::flushed;
use std::ffi::{OsStr, OsString};

/// The syntax of the patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    Basic,
    Extended,
    /// Fixed strings, or Perl's patterns. They are left as they are.
    Other,
}

/// What the options of grep say about its patterns.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    syntax: Syntax,
    /// Whether options have the patterns. The first operand is one otherwise.
    have_patterns: bool,
    /// Whether `--color` is given.
    have_color: bool,
}

/// Letters and names of options that have a value.
type Valued<'a> = [(Option<char>, Option<&'a str>)];

/// `egrep` and `fgrep` are grep with an option.
pub(crate) fn main(mut args: Vec<OsString>) -> i32 {
    let name = args.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let option = match name.rsplit('/').next() {
        Some("egrep") => Some("-E"),
        Some("fgrep") => Some("-F"),
        _ => None,
    };
    if let Some(option) = option {
        args.insert(1, option.into());
    }
    match check_and_adapt(args) {
        Ok(args) => flushed(uu_grep::uumain(args.into_iter())),
        Err(status) => status,
    }
}

/// Returns the arguments for uutils' grep, or the status if it need not run.
fn check_and_adapt(args: Vec<OsString>) -> Result<Vec<OsString>, i32> {
    let options = parse_options(&args)?;
    let mut args = adapt_arguments(args, &options);
    if !options.have_color {
        args.insert(args.len().min(1), "--color=never".into());
    }
    Ok(args)
}

/// Returns what the options say, or the status if one is wrong or asks for a text alone. `uu_grep`
/// itself prints the keys of its texts, because those are in a crate that is not set up.
fn parse_options(args: &[OsString]) -> Result<Options, i32> {
    // `-5` is `-C5`, which the table of options does not know.
    let number = |arg: &OsString| {
        let digits = arg.to_str()?.strip_prefix('-').filter(|digits| !digits.is_empty())?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| OsString::from(format!("-C{digits}")))
    };
    let args = args.iter().map(|arg| number(arg).unwrap_or_else(|| arg.clone()));
    let matches = uu_grep::uu_app().try_get_matches_from(args).map_err(|refused| {
        let _ = refused.print(); // there is nowhere left to say it
        if refused.use_stderr() { 2 } else { 0 }
    })?;
    let is_other = matches.get_flag("fixed_strings") || matches.get_flag("perl_regexp");
    let syntax = if is_other {
        Syntax::Other
    } else if matches.get_flag("extended_regexp") {
        Syntax::Extended
    } else {
        Syntax::Basic
    };
    let have_patterns = matches.contains_id("regexp") || matches.contains_id("file_pattern");
    let have_color = matches.contains_id("color");
    Ok(Options { syntax, have_patterns, have_color })
}

/// Returns the arguments with each pattern adapted. Names of files and the values of other options
/// stay as they are.
fn adapt_arguments(args: Vec<OsString>, options: &Options) -> Vec<OsString> {
    let app = uu_grep::uu_app();
    let valued: Vec<(Option<char>, Option<&str>)> = app
        .get_arguments()
        .filter(|option| option.get_action().takes_values() && !option.is_require_equals_set())
        .map(|option| (option.get_short(), option.get_long()))
        .collect();
    let mut args = args.into_iter();
    let mut out: Vec<OsString> = args.next().into_iter().collect();
    let (mut is_pattern, mut are_operands) = (!options.have_patterns, false);
    while let Some(arg) = args.next() {
        let word = arg.to_str().unwrap_or_default();
        if are_operands || word == "-" || !word.starts_with('-') {
            out.push(if is_pattern { options.syntax.adapt(arg) } else { arg });
            is_pattern = false;
            continue;
        }
        are_operands = word == "--";
        let Some((letter, start)) = value_of(word, &valued) else {
            out.push(arg);
            continue;
        };
        let value = start.map(|start| OsString::from(&word[start..])).or_else(|| args.next());
        let option = word[..start.unwrap_or(word.len())].trim_end_matches('=').to_string();
        match (letter, value) {
            // An argument of its own: of `-e=x`, uutils' grep would drop the `=`.
            ('e', Some(patterns)) => out.extend([OsString::from(option), options.syntax.adapt(patterns)]),
            ('f', Some(file)) => match options.syntax.adapt_file(&file) {
                Some(patterns) => out.extend([as_patterns(&option), patterns]),
                None if start.is_some() => out.push(arg),
                None => out.extend([arg, file]),
            },
            (_, Some(value)) if start.is_none() => out.extend([arg, value]),
            _ => out.push(arg),
        }
    }
    out
}

/// Returns the letter of the option with a value in an argument, and where the value begins in it:
/// `None` if it is the next argument. The letter of an option that has only a name is `\0`.
fn value_of(word: &str, valued: &Valued<'_>) -> Option<(char, Option<usize>)> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, is_attached) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
        let (letter, _) = valued.iter().find(|(_, long)| *long == Some(name))?;
        return Some((letter.unwrap_or_default(), is_attached.then_some("--=".len() + name.len())));
    }
    let has_value = |letter: char| valued.iter().any(|(short, _)| *short == Some(letter));
    let (at, letter) = word.char_indices().skip(1).find(|(_, letter)| has_value(*letter))?;
    let start = at + letter.len_utf8();
    Some((letter, (start < word.len()).then_some(start)))
}

/// Returns the option that has patterns in place of the name of their file: `-ne` for `-nf`.
fn as_patterns(option: &str) -> OsString {
    match option.strip_suffix('f') {
        Some(letters) if !option.starts_with("--") => format!("{letters}e").into(),
        _ => "--regexp".into(),
    }
}

impl Syntax {
    /// Returns patterns, one in each line, as uutils' grep takes them.
    fn adapt(self, patterns: OsString) -> OsString {
        match patterns.into_string() {
            Ok(text) => {
                let lines: Vec<String> = text.split('\n').map(|line| self.adapt_line(line)).collect();
                lines.join("\n").into()
            }
            Err(raw) => raw,
        }
    }

    /// Returns the patterns of a file. `None` if uutils' grep is to read it: an empty file has no
    /// pattern at all, which only `-f` can say.
    fn adapt_file(self, file: &OsStr) -> Option<OsString> {
        let text = if self == Syntax::Other { None } else { regular_text(file) };
        let text = text.filter(|text| !text.is_empty())?;
        Some(self.adapt(text.strip_suffix('\n').unwrap_or(&text).into()))
    }

    fn adapt_line(self, pattern: &str) -> String {
        if self == Syntax::Other {
            return pattern.to_string();
        }
        let (mut out, mut rest) = (String::with_capacity(pattern.len()), pattern);
        let (mut is_first, mut groups) = (true, 0_usize);
        while let Some(c) = rest.chars().next() {
            let length = match c {
                '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                '[' => set_length(rest),
                c => c.len_utf8(),
            };
            let (taken, behind) = rest.split_at(length);
            let is_last = behind.is_empty() || behind.starts_with("\\)") || behind.starts_with("\\|");
            match (self, taken) {
                (Syntax::Basic, "\\s") => out.push_str("[[:space:]]"),
                (Syntax::Basic, "\\S") => out.push_str("[^[:space:]]"),
                (Syntax::Basic, "^") if !is_first => out.push_str("\\^"),
                (Syntax::Basic, "$") if !is_last => out.push_str("\\$"),
                (Syntax::Extended, ")") if groups == 0 => out.push_str("\\)"),
                (Syntax::Extended, set) if c == '[' => out.push_str(&set.replace('\\', "\\\\")),
                (Syntax::Extended, escape) if is_plain_letter(escape) => out.push_str(&escape[1..]),
                (_, taken) => out.push_str(taken),
            }
            match taken {
                "(" => groups += 1,
                ")" => groups = groups.saturating_sub(1),
                _ => {}
            }
            is_first = matches!(taken, "\\(" | "\\|");
            rest = behind;
        }
        out
    }
}

/// Returns whether a part of a pattern is a backslash and a letter that GNU's grep takes as it is.
fn is_plain_letter(part: &str) -> bool {
    let letter = part.strip_prefix('\\').and_then(|letter| letter.chars().next());
    letter.is_some_and(|letter| letter.is_ascii_alphabetic() && !"wWsSbB".contains(letter))
}

/// Returns the length of the set in brackets at the beginning of a pattern. A backslash is a plain
/// character there.
fn set_length(pattern: &str) -> usize {
    let inner = pattern[1..].strip_prefix('^').unwrap_or(&pattern[1..]);
    let mut rest = inner.strip_prefix(']').unwrap_or(inner);
    loop {
        // `[:space:]` and the like end with a bracket of their own.
        let class = ["[:", "[.", "[="].into_iter().find(|open| rest.starts_with(open));
        let class_end = class.and_then(|open| rest[2..].find(&format!("{}]", &open[1..])));
        match (class_end, rest.chars().next()) {
            (Some(end), _) => rest = &rest[2 + end + 2..],
            (None, Some(']')) => return pattern.len() - rest.len() + 1,
            (None, Some(c)) => rest = &rest[c.len_utf8()..],
            (None, None) => return pattern.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn basic_patterns_are_adapted() {
        for (pattern, wanted) in [
            ("^\\s*#", "^[[:space:]]*#"),
            ("a\\S\\\\s", "a[^[:space:]]\\\\s"),
            ("[\\s][]\\s][^]\\s[:space:]\\s]\\s", "[\\s][]\\s][^]\\s[:space:]\\s][[:space:]]"),
            ("[\\s", "[\\s"),
            ("\u{e9}\\", "\u{e9}\\"),
            ("$HOME$", "\\$HOME$"),
            ("\\(^a$\\|^b$\\)$", "\\(^a$\\|^b$\\)$"),
            ("a$*^\\(b\\)[$^]\\$", "a\\$*\\^\\(b\\)[$^]\\$"),
            ("^^a\n^b$", "^\\^a\n^b$"),
            ("\\d[\\.]", "\\d[\\.]"),
        ] {
            assert_eq!(Syntax::Basic.adapt(pattern.into()), wanted, "{pattern}");
        }
    }

    #[test]
    fn extended_patterns_are_adapted() {
        for (pattern, wanted) in [
            ("[\\.][[:alpha:]\\]\\.", "[\\\\.][[:alpha:]\\\\]\\."),
            ("\\d+\\s\\w\\b\\<\\(\\\\d\\", "d+\\s\\w\\b\\<\\(\\\\d\\"),
            ("a$|^b", "a$|^b"),
            (")(a(b))c)|[(])", "\\)(a(b))c\\)|[(]\\)"),
            ("(a\\))\nb)", "(a\\))\nb\\)"),
        ] {
            assert_eq!(Syntax::Extended.adapt(pattern.into()), wanted, "{pattern}");
            assert_eq!(Syntax::Other.adapt(pattern.into()), pattern, "{pattern}");
        }
    }

    #[test]
    fn only_patterns_are_adapted() {
        for (line, wanted) in [
            ("grep \\s a\\s", "grep [[:space:]] a\\s"),
            ("grep --include=\\s -A 5 -d skip \\s \\s", "grep --include=\\s -A 5 -d skip [[:space:]] \\s"),
            ("grep -e -E -e \\s \\s", "grep -e -E -e [[:space:]] \\s"),
            ("grep -ie\\s --regexp=\\S -- \\s", "grep -ie [[:space:]] --regexp [^[:space:]] -- \\s"),
            ("grep --regexp \\s -A3 -m 1", "grep --regexp [[:space:]] -A3 -m 1"),
            ("grep -e=^\\s", "grep -e =\\^[[:space:]]"),
            ("grep --color \\s --label \\s -", "grep --color [[:space:]] --label \\s -"),
            ("grep -2 -- \\s -E", "grep -2 -- [[:space:]] -E"),
            ("grep -f /nosuch \\s", "grep -f /nosuch \\s"),
            ("grep \\d \\d -E", "grep d \\d -E"),
            ("grep -nF \\s", "grep -nF \\s"),
            ("grep \\s -P", "grep \\s -P"),
            ("grep -", "grep -"),
        ] {
            let args = words(line);
            let options = parse_options(&args).unwrap();
            assert_eq!(adapt_arguments(args, &options), words(wanted), "{line}");
        }
    }

    #[test]
    fn patterns_of_files_are_adapted() {
        let dir = tempfile::tempdir().unwrap();
        let (file, empty) = (dir.path().join("patterns"), dir.path().join("empty"));
        std::fs::write(&file, "a\\s\n^b$\n").unwrap();
        std::fs::write(&empty, "").unwrap();
        let (file, empty) = (file.display(), empty.display());
        let patterns = "a[[:space:]]\n^b$";
        for (line, wanted) in [
            (format!("grep -nf {file} \\s"), vec!["-ne", patterns, "\\s"]),
            (format!("grep -nf{file} \\s"), vec!["-ne", patterns, "\\s"]),
            (format!("grep --file={file} -e \\s"), vec!["--regexp", patterns, "-e", "[[:space:]]"]),
        ] {
            let args = words(&line);
            let options = parse_options(&args).unwrap();
            assert_eq!(adapt_arguments(args, &options)[1..], wanted, "{line}");
        }
        for line in [format!("grep -f {empty} \\s"), format!("grep -F -f {file} \\s")] {
            let args = words(&line);
            let options = parse_options(&args).unwrap();
            assert_eq!(adapt_arguments(args.clone(), &options), args, "{line}");
        }
    }

    #[test]
    fn only_who_asks_for_colour_gets_it() {
        for (line, wanted) in [
            ("grep a --color", "grep a --color"),
            ("grep --colour=always a", "grep --colour=always a"),
            ("grep -n a", "grep --color=never -n a"),
            ("grep -e --color", "grep --color=never -e --color"),
        ] {
            assert_eq!(check_and_adapt(words(line)), Ok(words(wanted)), "{line}");
        }
    }

    #[test]
    fn wrong_options_are_refused() {
        for (line, status) in [
            ("grep --nosuch x", Some(2)),
            ("grep -e", Some(2)),
            ("grep -A x y", Some(2)),
            ("grep --version", Some(0)),
            ("grep -5 x", None),
            ("grep -e -5", None),
            ("grep -e --nosuch", None),
            ("grep", None),
        ] {
            assert_eq!(parse_options(&words(line)).err(), status, "{line}");
        }
    }
}
