//! Words that a line may begin with.

use kubectl::table;

/// Verbs that stay shell commands unless `kubectl` or `k` stands in front.
const SHADOWED: &[&str] = &["cp", "diff", "exec", "set", "top", "wait"];

/// Verbs of kubectl that may stand alone.
pub(crate) fn bare_verbs() -> impl Iterator<Item = &'static str> {
    let taken = |name: &str| SHADOWED.contains(&name) || WORDS.contains(&name);
    table::root().children().map(table::Verb::name).filter(move |name| !taken(name))
}

/// True for a verb of kubectl that may stand alone.
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

/// The words of the prompt: what a line may begin with beside verbs of kubectl.
pub(crate) const WORDS: &[&str] = &[
    "answer", "back", "check", "clear", "debrief", "doctor", "drill", "etcdctl", "exit", "fault", "goto",
    "help", "hint", "lab", "lang", "lesson", "map", "next", "progress", "quit", "redo", "rewind", "solve",
    "status", "trace", "undo", "what", "why",
];
/// Those of [`WORDS`] that a process of this program does, so that a shell can run them, too.
/// `etcdctl` is left out: it is on the PATH.
pub(super) const IN_A_PROCESS: &[&str] = &[
    "doctor", "drill", "fault", "lab", "progress", "redo", "rewind", "status", "trace", "undo", "what", "why",
];
/// Those of [`WORDS`] that only the session itself does, and that are no command of a shell.
pub(super) const ALONE: &[&str] =
    &["answer", "back", "check", "debrief", "goto", "hint", "lang", "lesson", "map", "next", "quit", "solve"];
/// Words of lessons.
pub(super) const LESSON: &[&str] =
    &["answer", "back", "check", "debrief", "goto", "hint", "lesson", "next", "solve"];

/// Commands of this program that take the name of a cluster, beside those in [`IN_A_PROCESS`].
const OF_A_CLUSTER: &[&str] = &["down", "etcdctl", "kubeconfig", "kubectl", "lesson", "net", "reset", "up"];
/// Words behind `ropewalk lesson` that ask a cluster. The others refuse the name of one, or have no
/// use for it.
pub(crate) const OF_LESSON: &[&str] = &["check", "list", "record", "show", "solve"];
/// Those of [`IN_A_PROCESS`] that are about no cluster.
pub(super) const OF_NO_CLUSTER: &[&str] = &["doctor", "what"];

/// Commands of this program that take the name of a cluster.
pub(crate) fn commands_of_a_cluster() -> impl Iterator<Item = &'static str> {
    let all = IN_A_PROCESS.iter().chain(OF_A_CLUSTER).copied();
    all.filter(|word| !OF_NO_CLUSTER.contains(word))
}

/// True if a line of the shell begins with this program, or with the shell's `! ` and this program.
pub(crate) fn begins_with_own_word(text: &str) -> bool {
    split_negation(text).1.split_whitespace().next() == Some("ropewalk")
}

/// Parts a command of this program that may take the name of a cluster from what follows it.
/// `behind`: the text behind the word `ropewalk`. `None`: another word, or one in quotes.
pub(super) fn command_of_a_cluster(behind: &str) -> Option<(&str, &str)> {
    let text = behind.trim_start();
    let ends = |c: char| c.is_whitespace() || matches!(c, '|' | '&' | ';' | '<' | '>');
    let (word, rest) = text.split_at(text.find(ends).unwrap_or(text.len()));
    let is_one = IN_A_PROCESS.contains(&word) || OF_A_CLUSTER.contains(&word);
    (is_one && text.len() < behind.len()).then_some((word, rest))
}

/// Returns ` --name` and the cluster's name for an own word that is about a cluster, unless the
/// words behind it name one. kubectl and etcdctl have words of their own behind their first one:
/// `kubectl expose deploy web --name=shop` names a Service.
pub(super) fn name_of<'a>(word: &str, mut behind: impl Iterator<Item = &'a str>, cluster: &str) -> String {
    let is_name = |word: &str| word == "--name" || word.starts_with("--name=");
    let is_other = |word: &str| word == "--kubeconfig" || word.starts_with("--kubeconfig=");
    let is_named = match word {
        word if OF_NO_CLUSTER.contains(&word) => true,
        "kubectl" | "etcdctl" => behind.next().is_some_and(is_name),
        "lesson" => {
            let asks = behind.next().is_some_and(|word| OF_LESSON.contains(&word));
            !asks || behind.any(|word| is_name(word) || is_other(word))
        }
        _ => behind.any(is_name),
    };
    if is_named { String::new() } else { format!(" --name {cluster}") }
}

/// Parts the shell's `! ` from the command behind it.
pub(crate) fn split_negation(text: &str) -> (&str, &str) {
    text.split_at(if text.starts_with("! ") { 2 } else { 0 })
}

#[cfg(test)]
mod tests {
    use crate::line::{Line, classify};

    /// Texts of this program say "`ropewalk fault heal` mends it". On the cluster of a lesson that
    /// would mend another one, and `ropewalk lab leave` would delete what is there.
    #[test]
    fn a_command_is_about_the_cluster_of_the_session_also_with_the_name_of_the_program() {
        let of = |text: &str| classify(text, "two");
        let own = |args: &[&str]| Line::Own(args.iter().map(ToString::to_string).collect());
        assert_eq!(of("ropewalk undo 2"), own(&["undo", "--name", "two", "2"]));
        assert_eq!(of("ropewalk  lab leave"), own(&["lab", "--name", "two", "leave"]));
        assert_eq!(of("ropewalk kubectl get pods"), own(&["kubectl", "--name", "two", "get", "pods"]));
        let shop = ["kubectl", "--name", "two", "expose", "deploy", "web", "--name", "shop"];
        assert_eq!(of("ropewalk kubectl expose deploy web --name shop"), own(&shop));
        for named in
            ["ropewalk down --name main", "ropewalk reset --name=main", "ropewalk --name main status"]
        {
            let words: Vec<&str> = named.split(' ').skip(1).collect();
            assert_eq!(of(named), own(&words));
        }
        assert_eq!(of("ropewalk up --detach"), own(&["up", "--name", "two", "--detach"]));
        assert_eq!(of("ropewalk lesson check"), own(&["lesson", "--name", "two", "check"]));
        // These are about no cluster of Ropewalk's, and would refuse its name.
        for text in ["lesson new a/01-b", "lesson check --kubeconfig f", "lesson --lessons d list", "lesson"]
        {
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(of(&format!("ropewalk {text}")), own(&words));
        }
        for (text, whole) in [
            ("ropewalk status|cat", "ropewalk status --name two|cat"),
            ("! ropewalk why", "! ropewalk why --name two"),
            ("ls; ropewalk fault heal", "ls; ropewalk fault --name two heal"),
            ("ls && ropewalk undo", "ls && ropewalk undo --name two"),
            ("ls; ropewalk lesson solve", "ls; ropewalk lesson --name two solve"),
            ("ls; ropewalk undo --name main", "ls; ropewalk undo --name main"),
            (
                "ls; ropewalk kubectl expose po web --name=x",
                "ls; ropewalk kubectl --name two expose po web --name=x",
            ),
            ("ls; ropewalk kubectl --name=main get po", "ls; ropewalk kubectl --name=main get po"),
            ("ls; ropewalk what pod; ropewalk", "ls; ropewalk what pod; ropewalk"),
        ] {
            assert_eq!(of(text), Line::Shell(whole.into()), "{text}");
        }
    }

    /// Texts name them for a reader in a shell as well.
    #[test]
    fn a_word_has_a_command_of_the_shell_unless_a_shell_has_it_or_needs_none() {
        let not_said = ["clear", "etcdctl", "exit", "fault", "help", "map", "quit"];
        for word in super::WORDS {
            let said = lang::typed::in_shell(&format!("`{word}`"), "");
            assert_eq!(said.starts_with("`ropewalk "), !not_said.contains(word), "{said}");
        }
    }

    #[test]
    fn a_line_about_the_cluster_is_known_in_the_shell_too() {
        for text in
            ["get pods", "delete pod $POD", "k get po | wc -l", "edit deploy web", "undo", "undo | cat"]
        {
            assert!(classify(text, "main").is_about_the_cluster(), "{text}");
        }
        // A term is explained while the setup of a lesson keeps the engine busy.
        for text in ["ls", "cd /tmp && vi web.yaml", "what pod", "doctor"] {
            assert!(!classify(text, "main").is_about_the_cluster(), "{text}");
        }
    }
}
