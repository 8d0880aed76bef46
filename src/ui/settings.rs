//! What the learner chose once: `<home>/settings.json`.

use super::texts::Lang;
use cluster::Home;
use lab::why::Typed;
use lang::charset;
use serde_json::{Value, json};

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
pub(crate) fn save(home: &Home, lang: Lang) -> std::io::Result<()> {
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

/// The language of the REPL that started this program.
pub const LANG_VARIABLE: &str = "ROPEWALK_LANG";
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

/// `--lang`, else the language of the REPL that asks, else the saved choice, else `LC_ALL` or
/// `LANG`; English where Korean cannot be shown.
pub fn language(asked: Option<Lang>, home: &Home) -> Lang {
    let of_repl = || std::env::var(LANG_VARIABLE).ok().and_then(|v| Lang::parse(&v));
    let asked = asked.map(|lang| charset::presentable(lang, true));
    asked.or_else(of_repl).or_else(|| saved(home)).unwrap_or_else(environment)
}

/// The language of the environment, if it can be shown: `ko_KR.EUC-KR` names Korean in a character
/// set that is not written here.
pub fn environment() -> Lang {
    charset::presentable(from_environment(), false)
}

/// The language that `LC_ALL` or `LANG` names; English without them.
pub(crate) fn from_environment() -> Lang {
    let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    var("LC_ALL").or_else(|| var("LANG")).and_then(|v| Lang::parse(&v)).unwrap_or_default()
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
