//! `_terms.yaml`: the glossary, which `what TERM` shows.
//!
//! English and what machines read are in one file, the words of each further language beside it
//! (`_terms.ko.yaml`). A term is found by its id, its name or another word for it, in any language.

use super::raw;
use super::text::{EN, Fault, OTHERS, Text};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A term, and what the command `what` says of it.
#[derive(Clone, Debug)]
pub struct Term {
    /// The word that machines use, e.g. `control-plane`.
    pub id: String,
    /// The word as people write it, e.g. “control plane”.
    pub name: Text,
    /// What it is, in a few sentences. Markdown.
    pub say: Text,
    /// Other words for it, of all languages.
    pub also: Vec<String>,
    /// Ids of terms that help to understand it.
    pub see: Vec<String>,
    /// The id of the lesson that teaches it.
    pub lesson: Option<String>,
    /// A line that shows it.
    pub attempt: Option<String>,
    /// The file that defines it, and the line there, from 1.
    place: (PathBuf, usize),
}

/// The glossary, by id.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    all: BTreeMap<String, Term>,
    /// The id for every word, as [`folded`] writes it.
    words: BTreeMap<String, String>,
}

/// How two words are compared: small letters, and no difference between `-`, `_` and spaces.
fn folded(word: &str) -> String {
    word.to_lowercase().split(|c: char| c.is_whitespace() || "-_".contains(c)).collect()
}

impl Terms {
    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Term> {
        self.all.values()
    }

    /// The term with this id.
    pub fn get(&self, id: &str) -> Option<&Term> {
        self.all.get(id)
    }

    /// The term that a person means: `pod`, `Pods`, `control plane` or `파드`.
    pub fn find(&self, word: &str) -> Option<&Term> {
        let word = folded(word);
        // A plural that is not written in the term.
        let found = self.words.get(&word).or_else(|| self.words.get(word.strip_suffix('s')?));
        self.get(found?)
    }

    /// Terms whose words are like this one, most alike first; at most three.
    pub fn like(&self, word: &str) -> Vec<&Term> {
        let word = folded(word);
        let mut near: Vec<(usize, &String)> = Vec::new();
        for (other, id) in &self.words {
            let is_part = word.chars().count() >= 3 && other.contains(&word);
            let apart = if is_part { 0 } else { strsim::damerau_levenshtein(&word, other) };
            if apart * 3 <= word.chars().count() {
                near.push((apart, id));
            }
        }
        near.sort();
        let mut ids: Vec<&String> = Vec::new();
        for (_, id) in near {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids.into_iter().take(3).filter_map(|id| self.get(id)).collect()
    }

    /// Adds the terms of another file. One with a word that is there already is left out, and is
    /// returned as a fault.
    pub(super) fn extend(&mut self, other: Terms) -> Vec<Fault> {
        let (mut faults, mut doubles) = (Vec::new(), BTreeSet::new());
        for (word, id) in &other.words {
            let (Some(first), Some(term)) = (self.words.get(word), other.all.get(id)) else { continue };
            let mut what = format!("{id}: {word:?} is a word for {first} too");
            if let Some((file, line)) = self.all.get(first).map(|first| &first.place) {
                what.push_str(&format!(", in {}:{line}", file.display()));
            }
            let (file, line) = term.place.clone();
            faults.push(Fault { file, line, what });
            doubles.insert(id.clone());
        }
        self.all.extend(other.all.into_iter().filter(|(id, _)| !doubles.contains(id)));
        self.words.extend(other.words.into_iter().filter(|(_, id)| !doubles.contains(id)));
        faults
    }

    /// What only shows when all terms and lessons are there.
    pub(super) fn faults(&self, lessons: &[String]) -> Vec<Fault> {
        let fault = |term: &Term, what: String| {
            let (file, line) = term.place.clone();
            Fault { file, line, what: format!("{}: {what}", term.id) }
        };
        let mut faults = Vec::new();
        for term in self.all.values() {
            for see in term.see.iter().filter(|see| !self.all.contains_key(*see)) {
                faults.push(fault(term, format!("there is no term {see:?} to see")));
            }
            if let Some(lesson) = term.lesson.as_ref().filter(|lesson| !lessons.contains(lesson)) {
                faults.push(fault(term, format!("there is no lesson {lesson:?}")));
            }
        }
        faults
    }
}

/// Reads the glossary and its other languages.
///
/// # Errors
/// Everything that is wrong with it, with file and line.
pub(super) fn parse(text: &str, file: &Path, others: &[(&str, &str, &Path)]) -> Result<Terms, Vec<Fault>> {
    let raw: BTreeMap<String, raw::Term> = raw::read(text, file, 1).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let mut all: BTreeMap<String, Term> = BTreeMap::new();
    let lines = raw::key_lines(text);
    for (id, raw) in raw {
        let term = Term {
            place: (file.into(), lines.get(id.as_str()).copied().unwrap_or(1)),
            id: id.clone(),
            name: Text::new(&raw.name),
            say: Text::new(raw.say.trim()),
            also: raw.also,
            see: raw.see,
            lesson: raw.lesson,
            attempt: raw.attempt,
        };
        all.insert(id, term);
    }
    // Where a word stands, by the id of its term, if not in the English file.
    let mut elsewhere: BTreeMap<(String, String), (PathBuf, usize)> = BTreeMap::new();
    for (lang, text, file) in others {
        let words: BTreeMap<String, raw::TermWords> = match raw::read(text, file, 1) {
            Ok(words) => words,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let lines = raw::key_lines(text);
        let line_of = |id: &str| lines.get(id).copied().unwrap_or(1);
        let at = |id: &str, what: &str| Fault {
            file: (*file).into(),
            line: line_of(id),
            what: format!("{id}: {what}"),
        };
        faults
            .extend(all.keys().filter(|id| !words.contains_key(*id)).map(|id| at(id, "the term is missing")));
        for (id, words) in words {
            let Some(term) = all.get_mut(&id) else {
                faults.push(at(&id, "there is no such term in English"));
                continue;
            };
            for word in std::iter::once(&words.name).chain(&words.also) {
                if term.name.get(EN) != word && !term.also.contains(word) {
                    elsewhere.insert((id.clone(), word.clone()), ((*file).into(), line_of(&id)));
                }
            }
            term.name.put(lang, &words.name);
            term.say.put(lang, words.say.trim());
            term.also.extend(words.also);
        }
    }
    let mut words = BTreeMap::new();
    for (id, term) in &all {
        let names = std::iter::once(EN).chain(OTHERS.iter().copied()).map(|lang| term.name.get(lang));
        for word in names.chain(term.also.iter().map(String::as_str)).chain([id.as_str()]) {
            match words.insert(folded(word), id.clone()) {
                Some(other) if other != *id => {
                    let place = elsewhere.get(&(id.clone(), word.to_string())).cloned();
                    let (file, line) = place.unwrap_or_else(|| term.place.clone());
                    let what = format!("{id}: {word:?} is a word for {other} too");
                    faults.push(Fault { file, line, what });
                }
                _ => {}
            }
        }
    }
    if faults.is_empty() { Ok(Terms { all, words }) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EN_TEXT: &str = "pod:\n  name: Pod\n  also: [po]\n  say: Containers that share an address.\n  see: [node]\n  \
        lesson: a/01\n  try: kubectl get pods\nnode:\n  name: Node\n  say: A machine of the cluster.\n\
        control-plane:\n  name: control plane\n  say: What decides.\n";
    const KO_TEXT: &str = "pod: {name: 파드, say: 컨테이너의 묶음입니다.}\nnode: {name: 노드, say: 머신입니다.}\n\
        control-plane: {name: 컨트롤 플레인, also: [제어 평면], say: 결정합니다.}\n";

    fn read(en: &str, ko: &str) -> Result<Terms, Vec<String>> {
        parse(en, Path::new("_terms.yaml"), &[("ko", ko, Path::new("_terms.ko.yaml"))])
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_term_is_found_by_each_of_its_words() {
        let terms = read(EN_TEXT, KO_TEXT).unwrap();
        for word in ["pod", "Pods", "PO", "파드"] {
            assert_eq!(terms.find(word).map(|t| t.id.as_str()), Some("pod"), "{word}");
        }
        for word in ["control plane", "Control-Plane", "controlplane", "컨트롤플레인", "제어평면"] {
            assert_eq!(terms.find(word).map(|t| t.id.as_str()), Some("control-plane"), "{word}");
        }
        assert_eq!(
            terms.get("pod").map(|t| (t.name.get("ko"), t.say.get("en"))),
            Some(("파드", "Containers that share an address."))
        );
        assert!(terms.find("s").is_none() && terms.find("").is_none() && terms.find("pot").is_none());
    }

    #[test]
    fn words_that_are_nearly_right_find_their_term() {
        let terms = read(EN_TEXT, KO_TEXT).unwrap();
        let like = |word: &str| terms.like(word).iter().map(|t| t.id.clone()).collect::<Vec<_>>();
        assert_eq!(like("pot"), ["pod"]);
        assert_eq!(like("plane"), ["control-plane"]);
        assert!(like("x").is_empty() && like("").is_empty());
    }

    #[test]
    fn slips_are_told_with_their_file_and_line() {
        let slips = |en: &str, ko: &str| read(en, ko).map(drop).unwrap_err();
        assert_eq!(slips(EN_TEXT, &KO_TEXT.replace("node:", "nod:")).len(), 2);
        let twice = slips(&EN_TEXT.replace("[po]", "[node]"), KO_TEXT);
        assert_eq!(twice, ["_terms.yaml:1: pod: \"node\" is a word for node too"]);
        let twice = slips(EN_TEXT, &KO_TEXT.replace("name: 노드", "name: 파드"));
        assert_eq!(twice, ["_terms.ko.yaml:1: pod: \"파드\" is a word for node too"]);
        assert!(slips(&EN_TEXT.replace("say: What", "text: What"), KO_TEXT)[0].starts_with("_terms.yaml:"));
        let again = format!("{EN_TEXT}pod:\n  name: Pod\n  say: Once more.\n");
        assert!(slips(&again, KO_TEXT)[0].contains("duplicate entry with key \"pod\""));
        let mut both = read(EN_TEXT, KO_TEXT).unwrap();
        let doubles = both.extend(read(EN_TEXT, KO_TEXT).unwrap());
        let told = "_terms.yaml:1: pod: \"po\" is a word for pod too, in _terms.yaml:1";
        assert!(doubles.iter().any(|f| f.to_string() == told));
        let terms = read(EN_TEXT, KO_TEXT).unwrap();
        assert_eq!(terms.faults(&["a/01".into()]), []);
        assert_eq!(terms.faults(&[])[0].to_string(), "_terms.yaml:1: pod: there is no lesson \"a/01\"");
        let lost = read(&EN_TEXT.replace("[node]", "[nodes]"), KO_TEXT).unwrap();
        assert_eq!(lost.faults(&["a/01".into()])[0].what, "pod: there is no term \"nodes\" to see");
    }
}
