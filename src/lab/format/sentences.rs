//! `_beats.yaml`: the sentences of debriefs, shared by all lessons.

use super::lesson::Templates;
use super::raw;
use super::text::{EN, Fault};
use crate::cel::{Expr, Meaning, Template, Use};
use std::collections::BTreeMap;
use std::path::Path;

/// A sentence of a debrief. It is left out where a binding has no value or `when` is not true.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    /// Names and what they are bound to, in order; a later one may use earlier ones.
    pub with: Vec<(String, Expr)>,
    pub when: Option<Expr>,
    pub say: Templates,
}

impl Beat {
    /// What it binds, and when it is shown.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.with.iter().map(|(_, e)| e).chain(&self.when)
    }
}

/// All beats, by name.
pub(crate) type Sentences = BTreeMap<String, Beat>;

/// Names that every beat may use: what the learner predicted, what was so, and whether the two are
/// one.
pub(super) const GIVEN: &[&str] = &["said", "answer", "right"];

/// The names that a beat may use, and what is known of their values. `unread`: names whose
/// expressions cannot be read, which is reported once, and not again where they are used.
fn names<'a>(with: &'a [(String, Expr)], unread: &'a [String]) -> Vec<(&'a str, Meaning)> {
    let unknown = GIVEN.iter().copied().chain(unread.iter().map(String::as_str));
    let known = with.iter().map(|(name, expr)| (name.as_str(), expr.meaning));
    unknown.map(|name| (name, Meaning::default())).chain(known).collect()
}

/// Reads the beats and their other languages.
///
/// # Errors
/// Everything that is wrong with them, with file and line.
pub(super) fn parse(
    text: &str,
    file: &Path,
    others: &[(&str, &str, &Path)],
) -> Result<Sentences, Vec<Fault>> {
    let raw: BTreeMap<String, raw::Beat> = raw::read(text, file, 1).map_err(|f| vec![f])?;
    let mut faults = Vec::new();
    let (mut beats, lines) = (Sentences::new(), raw::key_lines(text));
    for (name, raw) in raw {
        let line = lines.get(name.as_str()).copied().unwrap_or(1);
        let mut fault =
            |what: String| faults.push(Fault { file: file.into(), line, what: format!("{name}: {what}") });
        let (mut with, mut unread): (Vec<(String, Expr)>, Vec<String>) = (vec![], vec![]);
        for (variable, source) in raw.with {
            let source = source.as_str().unwrap_or_default();
            let read = Expr::compile(source, Use::Beat, &names(&with, &unread));
            match read {
                Ok(expr) => with.push((variable, expr)),
                Err(error) => {
                    fault(error.to_string());
                    unread.push(variable);
                }
            }
        }
        let names = names(&with, &unread);
        let when = raw
            .when
            .and_then(|w| Expr::compile(&w, Use::Beat, &names).map_err(|e| fault(e.to_string())).ok());
        let mut say = Templates::default();
        match Template::compile(&raw.say, Use::Beat, &names) {
            Ok(template) => say.put(EN, template),
            Err(error) => fault(error.to_string()),
        }
        beats.insert(name, Beat { with, when, say });
    }
    for (lang, text, file) in others {
        faults.extend(translate(&mut beats, lang, text, file));
    }
    if faults.is_empty() { Ok(beats) } else { Err(faults) }
}

/// Adds a language: each sentence has to be there, and no other.
fn translate(beats: &mut Sentences, lang: &str, text: &str, file: &Path) -> Vec<Fault> {
    let words: BTreeMap<String, String> = match raw::read(text, file, 1) {
        Ok(words) => words,
        Err(fault) => return vec![fault],
    };
    let (mut faults, lines) = (Vec::new(), raw::key_lines(text));
    for name in beats.keys().filter(|n| !words.contains_key(*n)) {
        faults.push(Fault { file: file.into(), line: 1, what: format!("the beat {name:?} is missing") });
    }
    for (name, say) in &words {
        let line = lines.get(name.as_str()).copied().unwrap_or(1);
        let mut fault =
            |what: String| faults.push(Fault { file: file.into(), line, what: format!("{name}: {what}") });
        let Some(beat) = beats.get_mut(name) else {
            fault("there is no such beat in English".into());
            continue;
        };
        match Template::compile(say, Use::Beat, &names(&beat.with, &[])) {
            Ok(template) => beat.say.put(lang, template),
            Err(error) => fault(error.to_string()),
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_told_on_the_line_of_its_key() {
        let text = "# a: 0\na:\n  say: A.\n  b: x\n\"b\" :\n  say: B.\na: {say: Again.}\n- c: d\n";
        let lines = raw::key_lines(text);
        let of = |key: &str| lines.get(key).copied();
        assert_eq!([of("a"), of("b"), of("say"), of("c")], [Some(2), Some(5), None, None]);
    }

    #[test]
    fn sentences_are_read_in_both_languages_and_slips_are_told() {
        let (english, korean) =
            (include_str!("../fixtures/_beats.yaml"), include_str!("../fixtures/_beats.ko.yaml"));
        let read = |en: &str, ko: &str| {
            parse(en, Path::new("_beats.yaml"), &[("ko", ko, Path::new("_beats.ko.yaml"))])
                .map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert!(read(english, korean).unwrap().contains_key("healed"));
        assert!(
            read(&english.replace("hop(\"kube", "hopp(\"kube"), korean).unwrap_err()[0]
                .contains("did you mean \"hop\"")
        );
        assert!(read(english, &korean.replace("healed:", "heald:")).unwrap_err().len() == 2);
        assert!(
            read(english, &korean.replace("${c.node}", "${x.node}")).unwrap_err()[0]
                .starts_with("_beats.ko.yaml:")
        );
    }
}
