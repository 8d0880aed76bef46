//! The letters that texts may have: all of Unicode, or ASCII alone.
//!
//! The locale decides, as for every program (`LC_ALL`, else `LC_CTYPE`, else `LANG`): one that is
//! named and is not UTF-8 means ASCII. Where none is named, as in many containers, only a terminal
//! that is known to have no other letters means ASCII, too. Texts of Ropewalk have no other letters
//! than those with a [likeness]. Other letters, as of a path or a name in a text, pass as they are,
//! as with kubectl: with ASCII in their place a path would be another path. Output of other
//! programs and of the cluster passes as it is, and so do documents for machines (`-o json`).
//!
//! [likeness]: to_ascii

mod harmful;
mod macros;

pub use harmful::{harmless_lines, is_harmful, reorders};
pub use macros::{eprint, eprintln, print, println};

use super::language::Lang;
use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Once};

/// Whether the environment of this process allows ASCII only.
static ASCII: LazyLock<bool> = LazyLock::new(|| decide(|name| std::env::var(name).ok()));
/// Whether Korean is written although the locale is not UTF-8: the command line asks for it, and
/// standard output is a file or a pipe.
static INSISTED: AtomicBool = AtomicBool::new(false);

/// Whether standard error has said that Korean cannot be shown: [`presentable`] says it once.
static WARNED: Once = Once::new();

/// Returns whether these variables of the environment allow ASCII only.
fn decide(variable: impl Fn(&str) -> Option<String>) -> bool {
    let named =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| variable(name)).find(|v| !v.is_empty());
    match named {
        Some(locale) => {
            let locale = locale.to_lowercase();
            !locale.contains("utf-8") && !locale.contains("utf8")
        }
        None => variable("TERM").is_some_and(|term| term == "dumb" || is_vt(&term)),
    }
}

/// True for the terminals of DEC, `vt` and a number. `vte-256color` is GNOME's, which shows UTF-8.
fn is_vt(term: &str) -> bool {
    term.strip_prefix("vt").is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

/// Returns whether only ASCII may be written.
pub fn ascii_only() -> bool {
    *ASCII && !INSISTED.load(Ordering::Relaxed)
}

/// Returns the language to write in, where `lang` was chosen. Korean has no ASCII: where only ASCII
/// may be written it becomes English, and standard error says so once in a process. `by_option`:
/// the command line itself names the language; then a file or a pipe gets Korean all the same.
pub fn presentable(lang: Lang, by_option: bool) -> Lang {
    match presentation(lang, ascii_only(), by_option && !std::io::stdout().is_terminal()) {
        Presentation::AsChosen => lang,
        Presentation::Insisted => {
            INSISTED.store(true, Ordering::Relaxed);
            lang
        }
        Presentation::InEnglish => {
            WARNED.call_once(warn_no_korean);
            Lang::En
        }
    }
}

/// What becomes of a chosen language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presentation {
    /// It can be shown.
    AsChosen,
    /// It cannot be shown here, but is written to a file or a pipe, as the command line asks.
    Insisted,
    /// English takes its place.
    InEnglish,
}

/// Decides what becomes of a chosen language. `ascii`: only ASCII may be written. `for_file`: the
/// command line names the language, and standard output is no terminal.
fn presentation(lang: Lang, ascii: bool, for_file: bool) -> Presentation {
    match (lang, ascii, for_file) {
        (Lang::En, ..) | (Lang::Ko, false, _) => Presentation::AsChosen,
        (Lang::Ko, true, true) => Presentation::Insisted,
        (Lang::Ko, true, false) => Presentation::InEnglish,
    }
}

/// Returns whether a language cannot be shown here. If so, standard error says it each time: a
/// person who chooses the language in a session has to see why nothing changes, also if
/// [`presentable`] said it when the session began.
pub fn refuses(lang: Lang) -> bool {
    let refused = lang == Lang::Ko && ascii_only();
    if refused {
        WARNED.call_once(|| {});
        warn_no_korean();
    }
    refused
}

/// Says on standard error that Korean cannot be shown. If that cannot be written, the program goes
/// on: the output of its command may go elsewhere.
fn warn_no_korean() {
    let _ = writeln!(std::io::stderr(), "ropewalk: {NO_KOREAN}");
}

/// Why Korean became English, and what the user can do.
const NO_KOREAN: &str = "Korean cannot be shown here, because the locale is not UTF-8; try: export LC_ALL=C.UTF-8 LANG=ko_KR.UTF-8 (and a terminal that shows it)";

/// Returns the text, in ASCII if only that may be written.
pub fn printable(text: String) -> String {
    match ascii_only() {
        true => to_ascii(&text).into_owned(),
        false => text,
    }
}

/// Replaces each letter that Ropewalk's own texts use by its likeness in ASCII. Other letters stay.
pub fn to_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match likeness(letter) {
            Some(likeness) => out.push_str(likeness),
            None => out.push(letter),
        }
    }
    Cow::Owned(out)
}

/// Returns what stands for a letter in ASCII: for lines and boxes one letter, so that drawings keep
/// their columns; for others what a person would type.
fn likeness(letter: char) -> Option<&'static str> {
    Some(match letter {
        '→' | '⇒' | '➜' => "->",
        '←' => "<-",
        '↔' => "<->",
        '↑' => "^",
        '↓' => "v",
        '▸' | '▶' | '›' => ">",
        '◂' | '◀' | '‹' => "<",
        '✓' => "+",
        '✗' | '×' | '✕' => "x",
        '·' | '–' | '—' | '•' | '─' | '━' | '‑' | '−' => "-",
        '│' | '┃' | '╎' => "|",
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' | '╭' | '╮' | '╰' | '╯' => {
            "+"
        }
        '●' | '★' => "*",
        '○' | '◌' => "o",
        '◐' => "%",
        '█' => "#",
        '░' => ".",
        '…' => "...",
        '“' | '”' | '„' | '«' | '»' => "\"",
        '‘' | '’' => "'",
        '≤' => "<=",
        '≥' => ">=",
        '≈' => "~",
        '÷' => "/",
        'µ' | 'μ' => "u",
        '⏎' => "/",
        '↻' => "r",
        '\u{a0}' => " ",
        _ => return None,
    })
}

/// Returns the ASCII letter for one cell of a screen: an ASCII letter itself, one letter for the
/// likeness of another, and `?` for a letter without a likeness.
pub fn ascii_cell(letter: char) -> char {
    match likeness(letter) {
        Some("...") => '~',
        Some("->") => '>',
        Some(likeness) => likeness.chars().next().unwrap_or('?'),
        None if letter.is_ascii() => letter,
        None => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides_and_where_there_is_none_the_terminal() {
        let ascii = |set: &[(&str, &str)]| {
            decide(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string()))
        };
        assert!(
            ascii(&[("LC_ALL", "C")]) && ascii(&[("LANG", "POSIX")]) && ascii(&[("LANG", "ko_KR.EUC-KR")])
        );
        assert!(ascii(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]), "LC_ALL goes first");
        assert!(
            !ascii(&[("LC_ALL", ""), ("LANG", "C.UTF-8")])
                && !ascii(&[("LC_CTYPE", "en_US.utf8"), ("LANG", "C")])
        );
        assert!(
            !ascii(&[("LANG", "C.UTF-8"), ("TERM", "vt100")]),
            "a locale that is named goes before the terminal"
        );
        assert!(ascii(&[("TERM", "vt100")]) && ascii(&[("TERM", "dumb")]));
        assert!(!ascii(&[("TERM", "vte-256color")]) && !ascii(&[("TERM", "vte")]), "GNOME's show UTF-8");
        assert!(
            !ascii(&[]) && !ascii(&[("TERM", "xterm")]),
            "a container has no locale, and a terminal that shows everything"
        );
    }

    #[test]
    fn korean_becomes_english_where_only_ascii_may_be_written_unless_a_file_is_to_have_it() {
        use Presentation::{AsChosen, InEnglish, Insisted};
        for (lang, ascii, for_file, expected) in [
            (Lang::Ko, false, false, AsChosen),
            (Lang::Ko, true, false, InEnglish),
            (Lang::Ko, true, true, Insisted),
            (Lang::En, true, true, AsChosen),
        ] {
            assert_eq!(presentation(lang, ascii, for_file), expected, "{lang:?} {ascii} {for_file}");
        }
    }

    #[test]
    fn letters_of_texts_have_a_likeness_and_others_stay() {
        assert_eq!(
            to_ascii("── 04 Run a pod · ✓ done… ‘x’ ≤ 5 µs"),
            "-- 04 Run a pod - + done... 'x' <= 5 us"
        );
        assert_eq!(to_ascii("pods × use ÷ target"), "pods x use / target");
        assert_eq!(to_ascii("wrote /home/지훈/.kube/config …"), "wrote /home/지훈/.kube/config ...");
        assert!(matches!(to_ascii("all here"), Cow::Borrowed(_)));
        assert_eq!(['→', '…', '가', 'a', '≥'].map(ascii_cell), ['>', '~', '?', 'a', '>']);
    }
}
