//! What the text in the lesson's pane names: commands that can be put on the line of the shell, and
//! terms of the glossary. Pure.

use super::model::Model;
use crate::lesson::tag;
use crate::line::{Line, classify};
use lab::format::Term;
use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};

/// The language of a block whose lines are commands.
const COMMANDS: &str = "sh";
/// A shorter word of ASCII letters is an abbreviation of kubectl's (`no` for nodes), and in a text
/// an everyday word.
const WORD_MIN: usize = 3;

/// Returns the Markdown in the pane, as it is read: of the open lab, else of the open lesson.
fn texts(model: &Model) -> Vec<&str> {
    if let Some(lab) = model.shown_lab() {
        let tasks = lab.tasks.iter().map(|task| &task.task);
        return [&lab.text].into_iter().chain(tasks).chain(&lab.hints).map(String::as_str).collect();
    }
    let Some(view) = model.open_lesson() else { return vec![] };
    let read = [&view.prose, &view.after].into_iter().chain(&view.debrief).chain([&view.closing]);
    let asked = view.predict.iter().map(|asked| &asked.question);
    let answer = view.answer.iter().map(|asked| &asked.question);
    let hints = view.hints.iter().map(|hint| &hint.say);
    read.chain(asked).chain([&view.task]).chain(answer).chain(hints).map(String::as_str).collect()
}

/// Returns the commands in the pane, each once: whole blocks, and the commands in its sentences.
pub(crate) fn commands(model: &Model) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for text in texts(model) {
        let mut block: Option<String> = None;
        for event in Parser::new(text) {
            let command = match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(kind))) if &*kind == COMMANDS => {
                    block = Some(String::new());
                    None
                }
                Event::Text(part) => {
                    block.iter_mut().for_each(|block| block.push_str(&part));
                    None
                }
                Event::End(TagEnd::CodeBlock) => block.take(),
                Event::Code(code) => is_command(&code).then(|| code.to_string()),
                _ => None,
            };
            let command = command.map(|command| command.trim_end().to_string());
            found.extend(command.filter(|command| !command.is_empty() && !found.contains(command)));
        }
    }
    found
}

/// True for code in a sentence that can be run, as `kubectl get pods` or `fault list`. A verb alone
/// (`kubectl run`) is only spoken of.
fn is_command(code: &str) -> bool {
    let mut words = code.split_whitespace();
    let is_kubectl = words.next() == Some("kubectl");
    let arguments = words.count();
    let is_known = matches!(classify(code, ""), Line::Kubectl(_) | Line::Foreground(_) | Line::Own(_));
    (is_known && arguments > usize::from(is_kubectl)) || (is_kubectl && arguments > 1)
}

/// Returns the terms of the glossary in the pane, in the order in which they come first.
pub(crate) fn terms(model: &Model) -> Vec<&Term> {
    let (text, tag) = (texts(model).join("\n").to_lowercase(), tag(model.lang));
    let first = |term: &Term| {
        let names = [term.name.get(tag), term.name.get("en")];
        let words = names.into_iter().chain(term.also.iter().map(String::as_str));
        let words = words.filter(|word| !word.is_ascii() || word.len() >= WORD_MIN);
        words.filter_map(|word| place(&text, &word.to_lowercase())).min()
    };
    let found = model.glossary.iter().filter_map(|term| Some((first(term)?, term)));
    let mut found: Vec<(usize, &Term)> = found.collect();
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, term)| term).collect()
}

/// Returns where a text has this word, or its English plural. A Korean particle may follow it.
fn place(text: &str, word: &str) -> Option<usize> {
    if word.is_empty() {
        return None;
    }
    let is_whole = |at: &usize| {
        let behind = &text[at + word.len()..];
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        let begins = !text[..*at].ends_with(char::is_alphanumeric);
        begins && (!word.is_ascii() || ends(behind) || behind.strip_prefix('s').is_some_and(ends))
    };
    text.match_indices(word).map(|(at, _)| at).find(is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_alone_is_no_command() {
        for command in
            ["kubectl get pods", "get pods -o wide", "fault kill etcd", "kubectl logs web | tail -3"]
        {
            assert!(is_command(command), "{command}");
        }
        for code in ["kubectl", "kubectl run", "run", "nginx-pod", "-o wide", "spec.replicas", "default"] {
            assert!(!is_command(code), "{code}");
        }
    }

    #[test]
    fn a_word_is_found_whole_with_its_plural_and_its_particle() {
        assert_eq!(place("etcdctl asks etcd.", "etcd"), Some(13));
        assert_eq!(place("two pods", "pod"), Some(4));
        assert_eq!(place("podsox", "pod"), None);
        assert_eq!(place("새 파드를 만듭니다", "파드"), Some("새 ".len()));
        assert_eq!(place("kubelet이 실행합니다", "kubelet"), Some(0));
        assert_eq!(place("anything", ""), None);
    }
}
