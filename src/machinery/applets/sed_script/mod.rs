//! Adapts the scripts of `sed` to uutils' sed (0.3.0), which refuses some of what GNU's sed takes,
//! and takes some patterns for others without a word:
//!
//! | written | without this | adapted |
//! |---|---|---|
//! | `/a/{s/a/b/}` | an error | `/a/{s/a/b/;}` |
//! | `p # why` | an error | `p` |
//! | `s/\$/x/` | puts x behind the line | `s/[$]/x/` |
//! | `s/\^/x/` | puts x before the line | `s/[\^]/x/` |
//! | `s/\<a/x/`, `s/a\>/x/` | never matches | `s/x\{0\}\<a/x/` |
//! | `s/\ba/x/` | `\b` is a backspace | `s/\x5cba/x/` |
//! | ``s/\`a\'/x/`` | the two characters | `s/\Aa\z/x/` |
//! | `s/*/x/`, `s/\+/x/` | an error | `s/\*/x/`, `s/[+]/x/` |
//! | `s/\(^a\)/x/`, `s/\(a$\)/x/` | never matches | `s/\(\Aa\)/x/`, `s/\(a\z\)/x/` |
//! | `s/[\]/x/`, `s/[[]/x/` | an error | `s/[\\]/x/`, `s/[\[]/x/` |
//! | `s/[\.]/x/`, `s/[\s]/x/` | a dot, a blank, no backslash | `s/[\\.]/x/`, `s/[\\s]/x/` |
//! | `s/[a&&b]/x/` | what is in both sets | `s/[a\&\&b]/x/` |
//! | `s/$a/x/`, `s/a^b/x/` with `-E` | the two characters | `s/x{0}$a/x/`, `s/ax{0}^b/x/` |
//! | `l`, `l 0` | wraps at another width, heeds no `-l` | `l 70`, `l 1000000000` |
//! | `{}` | ends the script for the lines that it is for | `{y/x/x/;}` |
//! | `v` | a panic | `y/x/x/` |
//!
//! A script in a regular file (`-f`) is given with `-e` in place of it. Files that cannot be read
//! are taken out of the call: GNU's sed goes on with the next one, and uutils' would end. A script
//! that would need too large a stack is refused.

mod needs;
mod pattern;
#[cfg(test)]
mod tests;

use crate::stdio::regular_text;
use needs::Needs;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;

/// Options with one letter that take a value.
const WITH_VALUE: &str = "efl";

/// Characters in a line of `l` without `-l`, as in GNU's sed.
const LINE_LENGTH: usize = 70;
/// A length that no line has, for `l 0` and `-l 0`, which do not wrap.
const NO_WRAP: usize = 1_000_000_000;

/// A command that changes nothing.
const NOTHING: &str = "y/x/x/";

/// Where a script stands.
#[derive(Clone, Copy)]
struct Place {
    /// The number of the argument that holds the script, or the name of its file.
    at: usize,
    /// Where in the argument it begins.
    start: usize,
    /// Whether the name of a file stands there, which holds the script.
    is_file: bool,
}

/// What the arguments of `sed` are.
#[derive(Default)]
struct Words {
    scripts: Vec<Place>,
    /// The numbers of the arguments that name files to read.
    files: Vec<usize>,
    /// Whether the patterns are extended ones.
    is_extended: bool,
    /// Whether the files are changed in place.
    is_in_place: bool,
    /// Whether `-z` is given.
    has_null_data: bool,
    /// The value of `-l`, if it is a number.
    line_length: Option<usize>,
}

/// A call of `sed` whose scripts are adapted.
pub(crate) struct Call {
    /// All words, with the program's name first.
    pub(crate) args: Vec<OsString>,
    /// What the scripts need.
    pub(crate) needs: Needs,
    /// Whether `-z` is given, which uutils' sed takes and does not heed.
    pub(crate) has_null_data: bool,
    /// Whether the files are changed in place.
    pub(crate) is_in_place: bool,
    /// The numbers of the arguments that name files to read.
    pub(crate) files: Vec<usize>,
}

impl Call {
    /// Takes the files that cannot be read out of the arguments. Returns each with the reason.
    pub(crate) fn take_unreadable(&mut self) -> Vec<(OsString, io::Error)> {
        let mut taken = Vec::new();
        for at in std::mem::take(&mut self.files) {
            let at = at - taken.len();
            match self.args.get(at).and_then(|name| open_error(name)) {
                Some(error) => taken.push((self.args.remove(at), error)),
                None => self.files.push(at),
            }
        }
        taken
    }
}

/// Returns why a file cannot be read. A named pipe is not opened: that would wait for its writer.
fn open_error(name: &OsStr) -> Option<io::Error> {
    if name == "-" {
        return None;
    }
    match std::fs::metadata(name) {
        Ok(found) if found.is_file() => File::open(name).err(),
        Ok(_) => None,
        Err(error) => Some(error),
    }
}

/// Returns a call of `sed` with each script adapted.
pub(crate) fn adapt_arguments(args: Vec<OsString>) -> Call {
    let mut words: Vec<Option<String>> = args.iter().map(|arg| arg.to_str().map(str::to_string)).collect();
    let Words { scripts, files, is_extended, is_in_place, has_null_data, line_length } = classify(&words);
    let line_length = line_length.unwrap_or(LINE_LENGTH);
    let (mut continues, mut needs) = (false, Needs::default());
    for place in scripts {
        let Some(script) = take_script(&mut words, place) else { continue };
        let ends = ends_in_backslash(&script);
        // Behind `-e 'a\'` stands the text of that command.
        let (script, its_needs) = match continues {
            true => (script, Needs::default()),
            false => adapted_script(&script, is_extended, line_length),
        };
        needs.add(its_needs);
        continues = ends;
        if let Some(word) = words.get_mut(place.at).and_then(Option::as_mut) {
            word.push_str(&script);
        }
    }
    let args = args.into_iter().zip(words).map(|(arg, word)| word.map_or(arg, OsString::from)).collect();
    Call { args, needs, has_null_data, is_in_place, files }
}

/// Takes a script out of its argument. The text of a file is taken in place of the file's name, and
/// `-f` becomes `-e`. Returns `None` if there is no script, or if the file cannot be read in
/// advance: then sed reads it as it is.
fn take_script(words: &mut [Option<String>], place: Place) -> Option<String> {
    let word = words.get_mut(place.at)?.as_mut()?;
    if !place.is_file {
        return Some(word.split_off(place.start));
    }
    let script = regular_text(&word[place.start..])?;
    word.truncate(place.start);
    let is_apart = place.start == 0;
    let option = words.get_mut(if is_apart { place.at - 1 } else { place.at })?.as_mut()?;
    if option.starts_with("--") {
        *option = if is_apart { "--expression" } else { "--expression=" }.to_string();
    } else {
        option.pop();
        option.push('e');
    }
    Some(script)
}

/// Tells scripts, files and options apart.
fn classify(words: &[Option<String>]) -> Words {
    let Words { mut scripts, mut files, mut is_extended, mut is_in_place, mut has_null_data, .. } =
        Words::default();
    let mut line_length = None;
    let number = |at: usize, start: usize| words.get(at)?.as_deref()?.get(start..)?.parse::<usize>().ok();
    let mut at = 1;
    while let Some(word) = words.get(at) {
        let word = word.as_deref().unwrap_or_default();
        if word == "--" {
            files.extend(at + 1..words.len());
            break;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, has_value) = long.split_once('=').map_or((long, false), |(name, _)| (name, true));
            is_extended |= is_abbreviation_of(name, "regexp-extended");
            is_in_place |= is_abbreviation_of(name, "in-place");
            has_null_data |= is_abbreviation_of(name, "null-data");
            // The second name is GNU's.
            let is_file = is_abbreviation_of(name, "script-file") || name == "file";
            let is_script = is_file || is_abbreviation_of(name, "expression");
            let (value, start) = if has_value { (at, "--=".len() + name.len()) } else { (at + 1, 0) };
            scripts.extend(is_script.then_some(Place { at: value, start, is_file }));
            let is_length = is_abbreviation_of(name, "length");
            if is_length {
                line_length = number(value, start);
            }
            at += usize::from(!has_value && (is_script || is_length));
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            // Behind an `i` stands the ending of the copies.
            let last = letters.find(|c| c == 'i' || WITH_VALUE.contains(c));
            let switches = &letters[..last.unwrap_or(letters.len())];
            is_extended |= switches.contains(['E', 'r']);
            has_null_data |= switches.contains('z');
            if let Some(last) = last {
                let (letter, is_apart) = (letters.as_bytes()[last], last + 1 == letters.len());
                let is_file = letter == b'f';
                is_in_place |= letter == b'i';
                let (value, start) = if is_apart { (at + 1, 0) } else { (at, "-".len() + last + 1) };
                scripts.extend((is_file || letter == b'e').then_some(Place { at: value, start, is_file }));
                if letter == b'l' {
                    line_length = number(value, start);
                }
                at += usize::from(is_apart && letter != b'i');
            }
        } else {
            files.push(at);
        }
        at += 1;
    }
    if scripts.is_empty() && !files.is_empty() {
        scripts.push(Place { at: files.remove(0), start: 0, is_file: false });
    }
    Words { scripts, files, is_extended, is_in_place, has_null_data, line_length }
}

/// Returns whether a word is the beginning of a long option's name.
fn is_abbreviation_of(word: &str, name: &str) -> bool {
    word.len() > 2 && name.starts_with(word)
}

/// Returns whether a text ends in a backslash that no other one escapes.
fn ends_in_backslash(text: &str) -> bool {
    (text.len() - text.trim_end_matches('\\').len()) % 2 == 1
}

/// Returns a script as uutils' sed takes it, and what it needs. `line_length` is for an `l` without
/// a number.
fn adapted_script(script: &str, is_extended: bool, line_length: usize) -> (String, Needs) {
    let out = String::with_capacity(script.len() + 16);
    let mut scan = Scan { rest: script, out, is_extended, line_length, needs: Needs::default() };
    while !scan.rest.is_empty() {
        scan.take_command();
    }
    (scan.out, scan.needs)
}

/// Returns the locale that uutils' sed needs in place of the one that the environment names, or
/// `None` if that one will do. uutils' sed has back-references in UTF-8 alone, and ends with an
/// error in a locale that it does not know.
///
/// ```text
/// no LANG, s/\(a\)\1/x/   C.UTF-8         LANG=ko_KR.eucKR, s/a/b/   C
/// ```
pub(crate) fn needed_locale(
    refers_back: bool,
    named: impl Fn(&str) -> Option<String>,
) -> Option<&'static str> {
    let named = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(named).find(|value| !value.is_empty());
    let named = named.unwrap_or_else(|| "C".into());
    let letters = named.to_ascii_lowercase();
    if letters.ends_with(".utf-8") || letters.ends_with(".utf8") {
        return None;
    }
    let wanted = if refers_back { "C.UTF-8" } else { "C" };
    (refers_back || !matches!(&*named, "C" | "POSIX")).then_some(wanted)
}

/// A script that is read from left to right and written anew.
struct Scan<'a> {
    rest: &'a str,
    out: String,
    is_extended: bool,
    line_length: usize,
    needs: Needs,
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
    fn take_command(&mut self) {
        self.take_while(|c| c.is_whitespace() || c == ';');
        self.take_addresses();
        let Some(name) = self.take_char() else { return };
        self.needs.count_command(name);
        match name {
            '{' => return,
            '#' | 'r' | 'R' | 'w' | 'W' | 'e' => return self.take_line(),
            'a' | 'i' | 'c' => return self.take_text(),
            's' => self.take_substitution(),
            'y' => {
                if let Some(delimiter) = self.take_char() {
                    self.take_to_delimiter(delimiter);
                    self.take_to_delimiter(delimiter);
                }
            }
            ':' | 'b' | 't' | 'T' => {
                self.take_while(|c| c == ' ' || c == '\t');
                if name != ':' && self.rest.starts_with('#') {
                    return self.end_command(name); // a comment, and no label
                }
                self.take_while(|c| !c.is_whitespace() && c != ';' && (name == ':' || c != '}'));
            }
            'q' | 'Q' | 'L' => self.take_while(|c| c == ' ' || c.is_ascii_digit()),
            'l' => self.take_line_length(),
            'v' => self.drop_version(),
            '}' => self.end_group(),
            _ => {}
        }
        self.end_command(name);
    }

    /// Leaves out blanks and a comment behind a command. A substitution ends before a `}`.
    fn end_command(&mut self, name: char) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        if self.rest.starts_with('#') {
            self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..];
        }
        if name == 's' && self.rest.starts_with('}') {
            self.out.push(';');
        }
    }

    /// Takes the length of `l`.
    fn take_line_length(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        let digits = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let length = self.rest[..digits].parse().unwrap_or(self.line_length);
        self.replace(digits, &format!(" {}", if length == 0 { NO_WRAP } else { length }));
    }

    /// Leaves out `v` with the version of GNU's sed that it asks for.
    fn drop_version(&mut self) {
        self.out.pop();
        let behind = self.rest.trim_start_matches([' ', '\t']);
        self.rest = behind.trim_start_matches(|c: char| !c.is_whitespace() && c != ';' && c != '}');
        self.out.push_str(NOTHING);
    }

    /// Gives a group without a command one. The bracket that ends the group is taken.
    fn end_group(&mut self) {
        let inner = self.out.len() - 1;
        if self.out[..inner].trim_end().ends_with('{') {
            self.out.insert_str(inner, &format!("{NOTHING};"));
        }
    }

    fn take_addresses(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '/' | '\\' => {
                    self.take(1);
                    let delimiter = if c == '/' { Some(c) } else { self.take_char() };
                    delimiter.into_iter().for_each(|delimiter| self.take_pattern(delimiter));
                    self.take_while(|c| matches!(c, 'I' | 'M'));
                }
                '$' | ',' | '+' | '~' | '!' => self.take(1),
                c if c.is_whitespace() || c.is_ascii_digit() => self.take(c.len_utf8()),
                _ => return,
            }
        }
    }

    /// Takes the lines of a text. All but the last one end in a backslash.
    fn take_text(&mut self) {
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
    fn take_substitution(&mut self) {
        let Some(delimiter) = self.take_char() else { return };
        self.take_pattern(delimiter);
        self.take_to_delimiter(delimiter);
        self.take_while(|c| c.is_ascii_digit() || matches!(c, 'g' | 'p' | 'i' | 'I' | 'm' | 'M' | 'e'));
        if self.rest.starts_with('w') {
            self.take_line();
        }
    }

    /// Takes everything up to a delimiter, and that.
    fn take_to_delimiter(&mut self, delimiter: char) {
        while let Some(c) = self.take_char() {
            match c {
                '\\' => drop(self.take_char()),
                c if c == delimiter => return,
                _ => {}
            }
        }
    }
}
