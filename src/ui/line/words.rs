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

/// Words of this place.
pub(crate) const WORDS: &[&str] = &[
    "answer", "back", "check", "clear", "debrief", "doctor", "drill", "etcdctl", "exit", "fault", "goto",
    "help", "hint", "lab", "lang", "lesson", "map", "next", "progress", "quit", "redo", "rewind", "solve",
    "status", "trace", "undo", "what", "why",
];
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
