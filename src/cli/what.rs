//! `what`: explains a term of the glossary, in the learner's language.

use super::args::Output;
use super::layout::{columns, wrapped};
use super::usage;
use lab::format::{Library, Term, Terms};
use lang::charset::{eprintln, print};
use std::path::Path;
use ui::lesson::tag;
use ui::prose;
use ui::texts::{Lang, Say};

/// Lines are no longer than this, however wide the terminal is.
const WIDTH_MAX: usize = 84;

/// Exit code 0: it was explained, or all terms were listed; 1: there is no such term.
pub(crate) fn what(
    words: &[String],
    lessons: Option<&Path>,
    only: bool,
    lang: Option<Lang>,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let lang = usage::language(lang);
    let library = Library::at(lessons, only);
    // A term of a file that cannot be read is not "unknown".
    for fault in &library.faults {
        eprintln!("ropewalk: {}", prose::harmless(&fault.to_string()));
    }
    let (word, width) = (words.join(" "), columns().min(WIDTH_MAX));
    if word.trim().is_empty() {
        match output {
            Some(Output::Json) => {
                let all: Vec<_> = library.terms.iter().map(|term| as_json(lang, term)).collect();
                std::println!("{}", serde_json::to_string_pretty(&all)?);
            }
            None => print!("{}", all(lang, &library.terms, width)),
        }
        return Ok(0);
    }
    match (library.terms.find(&word), output) {
        (Some(term), Some(Output::Json)) => {
            std::println!("{}", serde_json::to_string_pretty(&as_json(lang, term))?);
            Ok(0)
        }
        (Some(term), None) => {
            print!("{}", term_text(lang, &library, term, width));
            Ok(0)
        }
        (None, _) => {
            eprintln!("ropewalk: {}", lang.say(Say::WhatUnknown, &[&word]));
            let like: Vec<&str> = library.terms.like(&word).iter().map(|t| t.name.get(tag(lang))).collect();
            match like.as_slice() {
                [] => eprintln!("  {}", lang.say(Say::WhatAll, &[])),
                like => eprintln!("  {}", lang.say(Say::WhatLike, &[&prose::harmless(&like.join(", "))])),
            }
            Ok(1)
        }
    }
}

/// Returns a term for programs, with its texts in one language.
fn as_json(lang: Lang, term: &Term) -> serde_json::Value {
    serde_json::json!({
        "id": term.id, "name": term.name.get(tag(lang)), "say": term.say.get(tag(lang)), "also": term.also,
        "see": term.see, "lesson": term.lesson, "try": term.attempt,
    })
}

/// Formats a term: its name, what it is, and where to go on.
fn term_text(lang: Lang, library: &Library, term: &Term, width: usize) -> String {
    let (own, english) = (term.name.get(tag(lang)), term.name.get("en"));
    let mut out = if own == english { format!("{own}\n") } else { format!("{own} ({english})\n") };
    out.push_str(&wrapped(term.say.get(tag(lang)), "  ", width));
    let lesson = term.lesson.as_ref().and_then(|id| library.get(id));
    let lesson = lesson.map(|lesson| format!("{} {}", lesson.id, lesson.title.get(tag(lang))));
    let see: Vec<&str> = term
        .see
        .iter()
        .filter_map(|id| library.terms.get(id))
        .map(|other| other.name.get(tag(lang)))
        .collect();
    let rows = [
        (Say::WhatLesson, lesson),
        (Say::Try, term.attempt.clone()),
        (Say::WhatSee, (!see.is_empty()).then(|| see.join(", "))),
    ];
    for (label, value) in rows {
        if let Some(value) = value {
            out.push_str(&wrapped(&format!("{}: {value}", lang.say(label, &[])), "  ", width));
        }
    }
    out
}

/// Formats the list of all terms' names.
fn all(lang: Lang, terms: &Terms, width: usize) -> String {
    let mut names: Vec<&str> = terms.iter().map(|term| term.name.get(tag(lang))).collect();
    names.sort_by_key(|name| name.to_lowercase());
    let count = names.len().to_string();
    wrapped(&lang.say(Say::WhatList, &[&count]), "", width) + &wrapped(&names.join(", "), "  ", width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_shown_with_its_lesson_and_its_neighbours() {
        let library = Library::built_in();
        let pod = library.terms.find("pods").expect("the first term that anybody asks for");
        let english = term_text(Lang::En, &library, pod, 80);
        assert!(english.starts_with("Pod\n  ") && english.contains("lesson: first-voyage/"), "{english}");
        assert!(english.contains("try: kubectl ") && english.contains("see also: "), "{english}");
        assert!(english.lines().all(|line| line.chars().count() < 80), "{english}");
        let korean = term_text(Lang::Ko, &library, library.terms.find("파드").unwrap(), 80);
        assert!(korean.starts_with("파드 (Pod)\n  "), "{korean}");
        let all = all(Lang::En, &library.terms, 80);
        assert!(all.split_whitespace().any(|word| word == "kubelet,"), "{all}");
    }
}
