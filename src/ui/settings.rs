//! What the learner chose once: `<home>/settings.json`.

use super::texts::{Lang, Say};
use cluster::{Home, Place};
use lab::why::Typed;
use lang::charset;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The saved language, if one was ever chosen and can be shown. A damaged file counts as none: it
/// is asked for again.
pub(crate) fn saved(home: &Home) -> Option<Lang> {
    chosen(home).map(|lang| charset::presentable(lang, false))
}

fn chosen(home: &Home) -> Option<Lang> {
    serde_json::from_value(load(home)["lang"].clone()).ok()
}

/// Saves the language; the file's other settings stay.
///
/// # Errors
/// The file cannot be written.
pub fn save(home: &Home, lang: Lang) -> std::io::Result<()> {
    let mut settings = load(home);
    if !settings.is_object() {
        settings = json!({});
    }
    settings["lang"] = json!(lang);
    std::fs::create_dir_all(home.path())?;
    let path = home.settings();
    let fresh = path.with_extension(format!("json.{}", std::process::id()));
    let text = serde_json::to_string_pretty(&settings)? + "\n";
    let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh); // it may not be there at all
    }
    written
}

/// The file in which the interface leaves a language for the REPL of its pane: the REPL's token and
/// the language. It has no other way to a REPL that waits for a line.
fn pane_language(place: &Place) -> PathBuf {
    place.root.join("pane-language")
}

/// Leaves a language for the REPL with this token: it was chosen on the cluster of a lesson, while
/// this REPL waited.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn leave_for_pane(place: &Place, token: &str, lang: Lang) -> std::io::Result<()> {
    std::fs::write(pane_language(place), format!("{token} {}", crate::lesson::tag(lang)))
}

/// Returns the language that was left for the REPL with this token, once.
pub(crate) fn take_left_language(place: &Place, token: &str) -> Option<Lang> {
    let path = pane_language(place);
    let text = std::fs::read_to_string(&path).ok()?;
    let (_, lang) = text.split_once(' ').filter(|(of, _)| *of == token)?;
    std::fs::remove_file(&path).ok()?; // one that stays would undo every later choice
    Lang::parse(lang)
}

/// Says which language is spoken, and how to choose. `before`: what stands before the word `lang`,
/// which outside of the prompt is the program's name.
pub fn described(lang: Lang, before: &str) -> String {
    let name = lang.say(if lang == Lang::Ko { Say::Korean } else { Say::English }, &[]);
    lang.say(Say::LangIs, &[&name, before, before])
}

/// The language of the REPL that started this program.
pub const LANG_VARIABLE: &str = "ROPEWALK_LANG";

/// True if the prompt of a session started this program.
pub fn in_prompt() -> bool {
    std::env::var_os(LANG_VARIABLE).is_some()
}

/// The line that ran before this one in the learner's shell and its exit code, as JSON (`{"line":
/// …, "code": …}`): what `why` explains.
pub const LAST_VARIABLE: &str = "ROPEWALK_LAST";

/// Bytes of that line that are passed on: the kernel takes no variable above 128 KiB (execve(2),
/// MAX_ARG_STRLEN), and JSON makes six bytes of a control character.
const LAST_MAX: usize = 16 << 10;

/// The value of [`LAST_VARIABLE`]. Of a long line, as of a here-document, the beginning.
pub(crate) fn last(typed: &Typed) -> Option<String> {
    let cut = (0..=LAST_MAX.min(typed.line.len())).rev().find(|at| typed.line.is_char_boundary(*at))?;
    serde_json::to_string(&Typed { line: typed.line[..cut].into(), code: typed.code }).ok()
}

/// Returns the language of the REPL that started this program. `None`: no REPL has started it.
pub(crate) fn of_repl() -> Option<Lang> {
    std::env::var(LANG_VARIABLE).ok().and_then(|value| Lang::parse(&value))
}

/// The language of `--lang` on this program's command line.
static ASKED: OnceLock<Lang> = OnceLock::new();

/// Answers every later [`language`] of this process with the language of `--lang`. Only for a
/// command that ends with its answer: a session's language may change.
pub fn ask_for(lang: Lang) {
    let _ = ASKED.set(lang); // a command line has one
}

/// `--lang`, else the language of the REPL that asks, else the saved choice, else that of the
/// environment; English where Korean cannot be shown.
pub fn language(asked: Option<Lang>, home: &Home) -> Lang {
    let asked = asked.or(ASKED.get().copied()).map(|lang| charset::presentable(lang, true));
    asked.or_else(of_repl).or_else(|| saved(home)).unwrap_or_else(environment)
}

/// The language of the environment, if it can be shown: `ko_KR.EUC-KR` names Korean in a character
/// set that is not written here.
pub fn environment() -> Lang {
    charset::presentable(from_environment(), false)
}

/// The language that the environment names; English if it names none.
pub(crate) fn from_environment() -> Lang {
    named(|name| std::env::var(name).ok()).unwrap_or_default()
}

/// The language by these variables, as gettext(3) reads them: `LC_ALL`, `LC_MESSAGES` and `LANG` in
/// this order, and `LANGUAGE`, a list of languages by preference, before all of them. A locale
/// without a language (`C`, `POSIX`, `C.UTF-8`) is passed over, unlike in gettext: it is often set
/// for its character set alone.
fn named(variable: impl Fn(&str) -> Option<String>) -> Option<Lang> {
    let preferred = variable("LANGUAGE").unwrap_or_default();
    let locales = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().filter_map(|name| variable(name));
    let locales: Vec<String> = locales.filter(|locale| !speaks_none(locale)).collect();
    preferred.split(':').find_map(Lang::parse).or_else(|| locales.first().and_then(|l| Lang::parse(l)))
}

/// True for a locale that names a character set at most.
fn speaks_none(locale: &str) -> bool {
    matches!(locale.split('.').next(), Some("" | "C" | "POSIX"))
}

fn load(home: &Home) -> Value {
    std::fs::read(home.settings()).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_kept_beside_what_others_keep() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        assert_eq!(saved(&home), None);
        std::fs::write(home.settings(), r#"{"theme": "dark"}"#).unwrap();
        save(&home, Lang::Ko).unwrap();
        assert_eq!(saved(&home), Some(Lang::Ko));
        assert_eq!(language(Some(Lang::En), &home), Lang::En);
        assert_eq!(load(&home)["theme"], "dark");
        std::fs::write(home.settings(), "{").unwrap();
        assert_eq!(saved(&home), None);
    }

    #[test]
    fn a_language_is_left_for_one_repl_and_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        assert!(leave_for_pane(&place, "a", Lang::Ko).is_err(), "the cluster has no directory");
        std::fs::create_dir_all(&place.root).unwrap();
        leave_for_pane(&place, "a", Lang::En).unwrap();
        leave_for_pane(&place, "a", Lang::Ko).unwrap();
        assert_eq!(take_left_language(&place, "b"), None, "another terminal's");
        assert_eq!(take_left_language(&place, "a"), Some(Lang::Ko));
        assert_eq!(take_left_language(&place, "a"), None);
    }

    #[test]
    fn a_locale_that_names_no_language_leaves_it_to_the_others() {
        let of = |set: &[(&str, &str)]| {
            named(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
        };
        let (korean, german) = (("LANG", "ko_KR.UTF-8"), ("LC_ALL", "de_DE.UTF-8"));
        assert_eq!(of(&[korean]), Some(Lang::Ko));
        for locale in ["C.UTF-8", "C", "POSIX", "C.utf8", ""] {
            assert_eq!(of(&[("LC_ALL", locale), korean]), Some(Lang::Ko), "{locale}");
            assert_eq!(of(&[("LC_ALL", locale)]), None, "{locale}");
        }
        assert_eq!(of(&[german, korean]), None, "German is a language, if not one of the texts");
        assert_eq!(of(&[("LC_MESSAGES", "ko_KR.UTF-8"), ("LANG", "en_US.UTF-8")]), Some(Lang::Ko));
        assert_eq!(of(&[("LANGUAGE", "de:ko:en"), ("LANG", "en_US.UTF-8")]), Some(Lang::Ko));
        assert_eq!(of(&[("LANGUAGE", ""), ("LC_ALL", "C.UTF-8"), korean]), Some(Lang::Ko));
        assert_eq!(of(&[("LANGUAGE", "de"), korean]), Some(Lang::Ko));
    }

    #[test]
    fn a_choice_that_cannot_be_kept_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        std::fs::create_dir(home.settings()).unwrap();
        assert!(save(&home, Lang::Ko).is_err());
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.path()).collect();
        assert_eq!(left, [home.settings()]);
    }

    #[test]
    fn a_long_line_can_be_told_to_the_next_program() {
        for filling in ["\x01", "파", "x\n"] {
            let line = format!("kubectl apply -f - <<EOF\n{}", filling.repeat(1 << 20));
            let told = last(&Typed { line: line.clone(), code: 1 }).unwrap();
            // A variable is its name, `=`, its value and a NUL.
            assert!(LAST_VARIABLE.len() + told.len() + 2 <= 128 << 10, "{}", told.len());
            let back: Typed = serde_json::from_str(&told).unwrap();
            assert!(line.starts_with(&back.line) && back.line.len() > 10_000 && back.code == 1);
        }
        let short = Typed { line: "get pods".into(), code: 0 };
        assert_eq!(serde_json::from_str::<Typed>(&last(&short).unwrap()).unwrap(), short);
    }
}
