//! Words that a line may begin with.

use kubectl::table;

/// Verbs that stay shell commands unless `kubectl` or `k` stands in front.
const SHADOWED: &[&str] = &["cp", "diff", "exec", "set", "top", "wait"];
/// Verbs of kubectl that may stand alone.
pub(crate) fn bare_verbs() -> impl Iterator<Item = &'static str> {
    let taken = |name: &str| SHADOWED.contains(&name) || WORDS.contains(&name);
    table::root().children().map(table::Verb::name).filter(move |name| !taken(name))
}

pub(super) fn is_bare_verb(word: &str) -> bool {
    bare_verbs().any(|verb| verb == word)
}

/// Returns whether a line that begins with a shadowed verb makes sense to kubectl alone, and not to
/// the shell's command of that name. `set image …` would set bash's own arguments and say nothing,
/// `exec web -- ls` would end the shell.
pub(crate) fn meant_for_kubectl(words: &[String]) -> bool {
    let second = words.get(1).map_or("", String::as_str);
    let has = |word: &str| words.iter().any(|w| w == word);
    match words.first().map_or("", String::as_str) {
        "set" => {
            ["env", "image", "resources", "selector", "serviceaccount", "sa", "subject"].contains(&second)
        }
        "exec" => second != "--" && has("--") || ["-it", "-ti", "-i", "-t"].contains(&second),
        "top" => ["node", "nodes", "no", "pod", "pods", "po"].contains(&second),
        "wait" => words.iter().any(|w| w.starts_with("--for")),
        "diff" => words.len() == 3 && ["-f", "-k"].contains(&second),
        _ => false,
    }
}

/// Words of this place.
pub(crate) const WORDS: &[&str] = &[
    "answer", "back", "check", "clear", "debrief", "doctor", "drill", "etcdctl", "exit", "fault", "goto",
    "help", "hint", "lab", "lang", "lesson", "map", "next", "progress", "quit", "redo", "rewind", "solve",
    "status", "trace", "undo", "what", "why",
];
/// Those of them that a process of this program does, so that a shell can run them, too. `etcdctl`
/// is left out: it is on the PATH.
pub(super) const IN_A_PROCESS: &[&str] = &[
    "doctor", "drill", "fault", "lab", "progress", "redo", "rewind", "status", "trace", "undo", "what", "why",
];
/// Those that only the session itself does, and that are no command of a shell.
pub(super) const ALONE: &[&str] =
    &["answer", "back", "check", "debrief", "goto", "hint", "lang", "lesson", "map", "next", "quit", "solve"];
/// Words of lessons.
pub(super) const LESSON: &[&str] =
    &["answer", "back", "check", "debrief", "goto", "hint", "lesson", "next", "solve"];

/// True if a line of the shell begins with this program, or with the shell's `! ` and this program.
pub(crate) fn begins_with_own_word(text: &str) -> bool {
    split_negation(text).1.split_whitespace().next() == Some("ropewalk")
}

/// Parts the shell's `! ` from the command behind it.
pub(crate) fn split_negation(text: &str) -> (&str, &str) {
    text.split_at(if text.starts_with("! ") { 2 } else { 0 })
}
