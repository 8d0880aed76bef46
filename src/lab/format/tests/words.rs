//! What holds for the words of the glossary in lessons: a lesson uses none that was not taught.

use super::course::{bold, files, finished, sentences, texts};
use crate::format::{EN, Library, Term};
use serde_yaml::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Terms whose word has an everyday meaning too. A lesson may use the word in this meaning before
/// the term is taught.
const EVERYDAY: &[(&str, &str)] = &[
    ("condition", "what has to be true; the term is a line in the status of an object"),
    ("job", "a piece of work; the term is an object"),
    ("limit", "to bound, and a bound of time; the term is a container's bound of CPU or memory"),
    ("path", "the way to a file or page; the term is the shell's variable"),
    ("request", "what a client sends to a server; the term is CPU or memory that a pod asks for"),
    ("role", "what a node is there for; the term is an object with rights"),
    ("service", "a program that an operating system keeps running; the term is an object"),
    ("watch", "to look at; the term is a request that stays open"),
];

/// Returns the words for each term, in small letters: its name, the plural of the name, and all
/// other words that consist of several. Short forms such as `no` and `po` are no English words.
fn words(library: &Library) -> BTreeMap<String, &Term> {
    let mut words = BTreeMap::new();
    for term in library.terms.iter() {
        let name = term.name.get(EN).to_lowercase();
        let is_plural = |word: &String| [format!("{name}s"), format!("{name}es")].contains(word);
        let others = term.also.iter().map(|word| word.to_lowercase());
        words.extend(others.filter(|word| word.contains(' ') || is_plural(word)).map(|word| (word, term)));
        words.entry(format!("{name}s")).or_insert(term);
        words.insert(name, term);
    }
    words
}

/// Returns whether a phrase is the heading of a column, such as STATUS, and no term.
fn is_heading(phrase: &str, term: &Term) -> bool {
    let is_upper = |text: &str| text.len() > 1 && text.chars().all(|c| c.is_ascii_uppercase());
    is_upper(phrase) && !is_upper(term.name.get(EN))
}

/// Returns whether a phrase has its everyday meaning. Kubernetes writes the kinds of objects with
/// a capital letter, so `Role` inside a sentence is the term, and `role` is not.
fn is_everyday(phrase: &str, is_first: bool, term: &Term) -> bool {
    let is_capital = |text: &str| text.starts_with(|c: char| c.is_uppercase());
    let is_object = !is_first && is_capital(phrase) && is_capital(term.name.get(EN));
    !is_object && !phrase.contains(' ') && EVERYDAY.iter().any(|(id, _)| *id == term.id)
}

/// A term that a sentence uses.
struct Usage<'a> {
    term: &'a Term,
    is_everyday: bool,
}

/// Returns the terms that a sentence uses. Of two that begin with the same word, the longer one is
/// meant: a label selector is no label.
fn used<'a>(sentence: &str, words: &BTreeMap<String, &'a Term>) -> Vec<Usage<'a>> {
    let parts = sentence.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
    let parts: Vec<&str> = parts.map(|part| part.trim_matches('-')).filter(|part| !part.is_empty()).collect();
    let (mut all, mut at) = (Vec::new(), 0);
    while at < parts.len() {
        let phrase = |count: usize| Some((count, parts.get(at..at + count)?.join(" ")));
        let found = [3, 2, 1].into_iter().filter_map(phrase).find_map(|(count, phrase)| {
            let term = *words.get(&phrase.to_lowercase())?;
            Some((count, term, phrase))
        });
        let Some((count, term, phrase)) = found else {
            at += 1;
            continue;
        };
        if !is_heading(&phrase, term) {
            all.push(Usage { term, is_everyday: is_everyday(&phrase, at == 0, term) });
        }
        at += count;
    }
    all
}

/// Returns the terms that each lesson prints in bold, in its texts and in what it says once a step
/// is done, by the lesson's id.
fn taught(library: &Library, root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let beats = std::fs::read_to_string(root.join("lessons/_beats.yaml")).unwrap();
    let beats: Value = serde_yaml::from_str(&beats).unwrap();
    let mut taught = BTreeMap::new();
    for lesson in &library.lessons {
        let mut all = texts(&root.join(&lesson.file));
        for name in lesson.steps.iter().flat_map(|step| &step.debrief) {
            all.extend(beats[name.as_str()]["say"].as_str().map(str::to_string));
        }
        let terms = all.iter().flat_map(|text| bold(text)).filter_map(|word| library.terms.find(word));
        taught.insert(lesson.id.clone(), terms.map(|term| term.id.clone()).collect());
    }
    taught
}

#[test]
fn a_lesson_uses_only_terms_that_were_taught() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let library = Library::built_in();
    let (words, taught) = (words(&library), taught(&library, &root));
    assert_eq!(library.lessons.len(), files("lessons", "lesson.md").len());
    let (mut seen, mut early, mut everyday) = (0, BTreeSet::new(), BTreeSet::new());
    for lesson in &library.lessons {
        let before = finished(&library, std::slice::from_ref(&lesson.id));
        let known: BTreeSet<&String> = before.iter().flat_map(|lesson| &taught[&lesson.id]).collect();
        for sentence in texts(&root.join(&lesson.file)).iter().flat_map(|text| sentences(text)) {
            for used in used(&sentence, &words) {
                seen += 1;
                let id = &used.term.id;
                if known.contains(id) {
                    continue;
                }
                if used.is_everyday {
                    everyday.insert(id.as_str());
                } else {
                    early.insert(format!("{}: {id}: {sentence}", lesson.id));
                }
            }
        }
    }
    assert!(seen > 2000, "{seen}");
    assert_eq!(early, BTreeSet::new());
    // A word that no lesson uses early is not in the list.
    let listed: BTreeSet<&str> = EVERYDAY.iter().map(|(id, _)| *id).collect();
    assert_eq!(everyday, listed);
}

#[test]
fn a_used_term_is_a_whole_word_and_the_longest() {
    let library = Library::built_in();
    let words = words(&library);
    let found = |sentence: &str| -> Vec<(String, bool)> {
        used(sentence, &words).iter().map(|used| (used.term.id.clone(), used.is_everyday)).collect()
    };
    let term = |id: &str| (id.to_string(), false);
    assert_eq!(found("Label selectors choose pods."), [term("selector"), term("pod")]);
    assert_eq!(found("STATUS is a heading; the status, and an image, are not."), [term("status")]);
    assert_eq!(found("Its role."), [("role".to_string(), true)]);
    assert_eq!(found("A Role, and portholes."), [term("role")]);
    assert_eq!(found("The **kube-proxy** of a node"), [term("kube-proxy"), term("node")]);
}

/// Where the locale is not UTF-8 a letter without a likeness stays as it is, and on a screen of
/// ASCII it is a `?`.
#[test]
fn letters_of_lessons_and_labs_have_a_likeness_in_ascii() {
    let lessons =
        ["lesson.md", "lesson.ko.md", "_beats.yaml", "_beats.ko.yaml", "_terms.yaml", "_terms.ko.yaml"];
    let lessons = lessons.into_iter().flat_map(|name| files("lessons", name));
    let labs = ["lab.md", "lab.ko.md"].into_iter().flat_map(|name| files("labs", name));
    let (mut seen, mut odd) = (0, BTreeSet::new());
    for path in lessons.chain(labs) {
        let text = std::fs::read_to_string(&path).unwrap();
        seen += 1;
        // Hangul is the choice of those who can read it, and `lang` says where it cannot be shown.
        let is_shown = |c: &char| c.is_ascii() || ('가'..='힣').contains(c);
        let letters =
            lang::charset::to_ascii(&text).chars().filter(|c| !is_shown(c)).collect::<BTreeSet<_>>();
        odd.extend(letters.into_iter().map(|letter| format!("{}: {letter}", path.display())));
    }
    assert!(seen > 50, "{seen}");
    assert_eq!(odd, BTreeSet::new());
}
