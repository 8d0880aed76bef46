//! What holds for the course as a whole: its words, its sentences, and what comes after what.

use crate::format::{EN, Lesson, Library, Then, prose};
use crate::graded::read::Labs;
use crate::practice::table::SkillTable;
use serde_yaml::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Words of an English sentence.
const SENTENCE_MAX: usize = 30;
/// Words of a Korean sentence: particles and endings are no words of their own, so each says more.
const KOREAN_SENTENCE_MAX: usize = 18;
/// Words of a lesson's prose, in each language.
const LESSON_MAX: usize = 400;
/// Keys of the front matter whose values a learner reads.
const TEXTS: &[&str] =
    &["task", "that", "question", "choices", "say", "remember", "unmet", "debrief", "title"];
/// What stands in a sentence that defines its bold word.
const DEFINES: &[&str] =
    &[" is ", " are ", " means ", " called ", " stores ", ", which ", "**, a", "**, the", "**: "];

/// Returns the files of this name below a directory of the project.
pub(super) fn files(directory: &str, name: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(directory);
    let (mut open, mut found) = (vec![root], Vec::new());
    while let Some(directory) = open.pop() {
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => open.push(path),
                false if path.ends_with(name) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

/// Adds the texts of a front matter.
fn gather(value: &Value, key: &str, texts: &mut Vec<String>) {
    match value {
        Value::Mapping(all) => {
            for (inner, value) in all {
                let inner = if key == "choices" { key } else { inner.as_str().unwrap_or_default() };
                gather(value, inner, texts);
            }
        }
        Value::Sequence(all) => all.iter().for_each(|value| gather(value, key, texts)),
        Value::String(text) if TEXTS.contains(&key) => texts.push(text.clone()),
        _ => {}
    }
}

/// Adds all texts of a front matter in another language, which has nothing but ids and texts.
fn gather_all(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Mapping(all) => {
            all.iter().filter(|(key, _)| key.as_str() != Some("id")).for_each(|(_, v)| gather_all(v, texts));
        }
        Value::Sequence(all) => all.iter().for_each(|value| gather_all(value, texts)),
        Value::String(text) => texts.push(text.clone()),
        _ => {}
    }
}

/// Puts one word in place of each `${…}`, which may have braces in it.
fn without_expressions(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("${") {
        let mut depth = 1;
        let end = behind.find(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        });
        out.push_str(before);
        out.push('x');
        rest = end.map_or("", |end| &behind[end + 1..]);
    }
    out + rest
}

/// Returns the text with one word in place of each code span.
fn without_code(text: &str) -> String {
    let part = |(at, part): (usize, &str)| if at % 2 == 1 { "x".into() } else { part.to_string() };
    text.split('`').enumerate().map(part).collect()
}

/// Returns the paragraphs of Markdown, without code blocks, headings and comments.
fn paragraphs(markdown: &str) -> Vec<String> {
    let (mut all, mut is_code) = (vec![String::new()], false);
    for line in markdown.lines().map(str::trim) {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        let ends = is_code || is_fence || line.is_empty();
        if ends || line.starts_with(['#', '|']) || line.starts_with("<!--") {
            all.push(String::new());
            continue;
        }
        if line.starts_with("- ") || line.starts_with("* ") {
            all.push(String::new());
        }
        if let Some(last) = all.last_mut() {
            last.push_str(line);
            last.push(' ');
        }
    }
    all.iter().map(|text| without_code(&without_expressions(text))).collect()
}

/// Returns the sentences of Markdown.
pub(super) fn sentences(markdown: &str) -> Vec<String> {
    let mut all = Vec::new();
    for paragraph in paragraphs(markdown) {
        let mut sentence = Vec::new();
        for word in paragraph.split_whitespace() {
            sentence.push(word);
            if word.ends_with(['.', '?', '!']) {
                all.push(std::mem::take(&mut sentence).join(" "));
            }
        }
        all.push(sentence.join(" "));
    }
    all.retain(|sentence| !sentence.is_empty());
    all
}

/// Returns all texts of a lesson's or lab's file: those of the front matter, and the prose.
pub(super) fn texts(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let (front, _, body, _) = prose::split(&text, path).unwrap();
    let mut texts = vec![body.to_string()];
    let front: Value = serde_yaml::from_str(front).unwrap();
    match path.to_string_lossy().ends_with(".ko.md") {
        true => gather_all(&front, &mut texts),
        false => gather(&front, "", &mut texts),
    }
    texts
}

#[test]
fn no_sentence_of_a_lesson_or_lab_is_long() {
    for (directory, name, most) in [
        ("lessons", "lesson.md", SENTENCE_MAX),
        ("labs", "lab.md", SENTENCE_MAX),
        ("lessons", "lesson.ko.md", KOREAN_SENTENCE_MAX),
        ("labs", "lab.ko.md", KOREAN_SENTENCE_MAX),
    ] {
        let (mut lengths, mut long) = (Vec::new(), Vec::new());
        for path in files(directory, name) {
            for sentence in texts(&path).iter().flat_map(|text| sentences(text)) {
                let words = sentence.split_whitespace().count();
                lengths.push(words);
                if words > most {
                    long.push(format!("{}: {words} words: {sentence}", path.display()));
                }
            }
        }
        lengths.sort_unstable();
        let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
        assert!(lengths.len() > 500 && (4..=14).contains(&median), "{directory}/{name}: median {median}");
        assert_eq!(long, Vec::<String>::new());
    }
}

#[test]
fn sentences_are_counted_without_code() {
    let prose = "# Title\nRun `kubectl get pods -A`. It\nlists ${size(x) > 0 ? \"{a. b}\" : \"\"} pods.\n\n";
    let text = format!("{prose}```sh\nls. ls.\n```\n- One\n");
    assert_eq!(sentences(&text), ["Run x.", "It lists x pods.", "- One"]);
}

#[test]
fn a_lesson_is_short() {
    for name in ["lesson.md", "lesson.ko.md"] {
        for path in files("lessons", name) {
            let text = std::fs::read_to_string(&path).unwrap();
            let (_, _, body, _) = prose::split(&text, &path).unwrap();
            let words: usize = paragraphs(body).iter().map(|text| text.split_whitespace().count()).sum();
            assert!((150..=LESSON_MAX).contains(&words), "{}: {words} words", path.display());
        }
    }
}

/// Returns the lessons that a learner has finished who does what these lessons need: those, those
/// before them in their tracks, and what all of them need.
pub(super) fn finished<'a>(library: &'a Library, needs: &[String]) -> Vec<&'a Lesson> {
    let (mut open, mut seen): (Vec<String>, BTreeSet<&str>) = (needs.to_vec(), BTreeSet::new());
    while let Some(lesson) = open.pop().and_then(|id| library.get(&id)) {
        let before = |l: &&Lesson| l.track == lesson.track && l.order <= lesson.order;
        for lesson in library.lessons.iter().filter(before) {
            if seen.insert(&lesson.id) {
                open.extend(lesson.needs.iter().cloned());
            }
        }
    }
    library.lessons.iter().filter(|lesson| seen.contains(lesson.id.as_str())).collect()
}

/// Returns the bold words of a text.
pub(super) fn bold(text: &str) -> impl Iterator<Item = &str> {
    text.split("**").skip(1).step_by(2)
}

/// A bold word in a lab is a term. It was bold in a lesson that the lab needs, or the lab itself
/// defines it.
#[test]
fn the_bold_words_of_a_lab_are_taught_in_what_it_needs() {
    let (library, labs) = (Library::built_in(), Labs::built_in());
    let term = |word: &str| library.terms.find(word).map_or(word.to_lowercase(), |term| term.id.clone());
    let (mut seen, mut missing) = (0, Vec::new());
    for lab in &labs.labs {
        let mut taught = BTreeSet::new();
        for lesson in finished(&library, &lab.needs) {
            let parts = lesson.steps.iter().flat_map(|step| [&step.prose, &step.after]);
            for text in parts.chain([&lesson.intro, &lesson.closing]) {
                taught.extend(bold(text.get(EN)).map(term));
            }
        }
        let texts = lab.tasks.iter().map(|task| &task.task).chain([&lab.intro]);
        for sentence in texts.flat_map(|text| sentences(text.get(EN))) {
            for word in bold(&sentence).filter(|word| !word.contains("{{")) {
                seen += 1;
                if !taught.contains(&term(word)) && !DEFINES.iter().any(|part| sentence.contains(part)) {
                    missing.push(format!("{}: {word}: {sentence}", lab.id));
                }
            }
        }
    }
    assert!(seen > 20, "{seen}");
    assert_eq!(missing, Vec::<String>::new());
    let needs = |lab: &str, lesson: &str| {
        let lessons = finished(&library, &labs.get(lab).unwrap().needs);
        lessons.iter().any(|l| l.id == lesson)
    };
    assert!(needs("unready-probe", "first-voyage/13"), "probes");
    for lab in ["crash-loop", "missing-key", "stale-settings"] {
        assert!(needs(lab, "first-voyage/12"), "{lab}: ConfigMap, Secret and variables");
    }
}

/// After every third lesson of the first track there is something to do alone, and what it needs
/// has been taught by then.
#[test]
fn what_a_lesson_leads_to_was_taught_by_then() {
    let (library, labs, table) = (Library::built_in(), Labs::built_in(), SkillTable::built_in());
    let track = library.lessons.iter().filter(|lesson| lesson.track == "first-voyage");
    let leads: Vec<u32> = track.filter(|lesson| lesson.then.is_some()).map(|lesson| lesson.order).collect();
    assert_eq!(leads, [3, 6, 9, 12, 15, 18, 21]);
    for lesson in &library.lessons {
        let known = finished(&library, std::slice::from_ref(&lesson.id));
        let is_known = |id: &String| known.iter().any(|lesson| lesson.id == *id);
        match &lesson.then {
            Some(Then::Lab(id)) => assert!(labs.get(id).unwrap().needs.iter().all(is_known), "{id}"),
            Some(Then::Drill(skills)) => {
                for id in skills {
                    assert!(table.skill(id).unwrap().lessons.iter().any(is_known), "{id}");
                }
            }
            None => {}
        }
    }
}
