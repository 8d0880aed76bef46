//! How a command is typed where the reader is: at Ropewalk's prompt, or in a shell.
//!
//! Texts name commands in backticks, as they are typed at the prompt. In a shell they are others:
//!
//! ```text
//! prompt                         shell
//! lab list, why pod/web          ropewalk lab list, ropewalk why pod/web
//! lesson                         ropewalk lesson list
//! lesson 4                       ropewalk learn 4
//! check, solve                   ropewalk lesson check, ropewalk lesson solve
//! next, goto 3                   ropewalk repl -c next, ropewalk repl -c 'goto 3'
//! ```
//!
//! The prompt's commands are about the session's cluster. In a shell a command names its cluster
//! with an option, unless that is the usual one: `ropewalk lab --name shop list`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Commands of the prompt that are commands of the program, too. `etcdctl` is not among them: the
/// prompt runs it as a program of its own.
const SHARED: &[&str] = &[
    "doctor", "drill", "fault", "lab", "lang", "progress", "redo", "rewind", "status", "trace", "undo",
    "what", "why",
];
/// Commands of [`SHARED`] that are about no cluster.
const WITHOUT_CLUSTER: &[&str] = &["doctor", "lang", "what"];
/// Commands of the prompt about the open lesson, which are commands of `ropewalk lesson`.
const UNDER_LESSON: &[&str] = &["check", "solve"];
/// Commands of the prompt about the open drill, which are commands of `ropewalk drill`.
const UNDER_DRILL: &[&str] = &["skip", "stop"];
/// Words behind `lesson` that are commands of `ropewalk lesson`, too, and ask a cluster.
const LESSON_COMMANDS: &[&str] = &["check", "leave", "list", "record", "show", "solve"];
/// Words behind `lesson` that are commands of `ropewalk lesson`, too, and are about an author's
/// files. `lesson` with a word of neither table opens a lesson, except `again` and `stop`.
const AUTHOR_COMMANDS: &[&str] = &["new", "preview", "test"];
/// Commands of the prompt that only a session takes.
const SESSION_ONLY: &[&str] = &["answer", "back", "debrief", "goto", "hint", "next"];

/// Further commands of the program that are about a cluster: they take `--name`. (At the prompt
/// `kubectl` and `etcdctl` run as programs of their own, which need no option.)
const WITH_NAME: &[&str] = &["down", "etcdctl", "kubeconfig", "kubectl", "net", "reset", "up"];
/// Commands of the program about lessons, which take `--kubeconfig` as well as `--name`.
const WITH_KUBECONFIG: &[&str] = &["learn", "lesson", "repl"];

/// True if this process prints for a reader who types into a shell.
static IN_SHELL: AtomicBool = AtomicBool::new(false);
/// The option that names the cluster of this process' command line.
static CLUSTER: OnceLock<String> = OnceLock::new();

/// Makes this process write commands as a shell takes them. Without this call they are written for
/// a reader at the prompt. `cluster`: the option that names the cluster, `--name shop` or
/// `--kubeconfig FILE`; empty for the usual one.
pub fn read_in_shell(cluster: String) {
    let _ = CLUSTER.set(cluster); // a command line has one
    IN_SHELL.store(true, Ordering::Relaxed);
}

/// Makes this process write commands as the prompt takes them: its session begins.
pub fn read_at_prompt() {
    IN_SHELL.store(false, Ordering::Relaxed);
}

/// True if this process writes commands as a shell takes them.
pub(crate) fn is_in_shell() -> bool {
    IN_SHELL.load(Ordering::Relaxed)
}

/// Returns a text of another process, with its commands as they are typed where the reader of this
/// process is. [`Lang::say`](crate::Lang::say) does so by itself.
pub fn here(text: &str) -> String {
    if is_in_shell() { in_shell(text, cluster()) } else { text.into() }
}

/// The option that names the cluster of this process' command line; empty for the usual one.
pub(crate) fn cluster() -> &'static str {
    CLUSTER.get().map_or("", String::as_str)
}

/// Returns a text with the commands that it names as they are typed in a shell. A text that was
/// rewritten for a shell already stays as it is. `cluster`: as for [`read_in_shell`].
pub fn in_shell(text: &str, cluster: &str) -> String {
    with_commands(text, |part, is_command| if is_command { command(part, cluster) } else { part.into() })
}

/// Rewrites the parts of a text between backticks, which are commands, and those outside of them,
/// in their order. `rewrite` takes a part, and true for a command.
pub(crate) fn with_commands(text: &str, mut rewrite: impl FnMut(&str, bool) -> String) -> String {
    let parts: Vec<String> =
        text.split('`').enumerate().map(|(at, part)| rewrite(part, at % 2 == 1)).collect();
    parts.join("`")
}

/// Returns a command of the prompt as it is typed in a shell; any other one as it is.
pub(crate) fn command(line: &str, cluster: &str) -> String {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let second = rest.split(' ').next().unwrap_or_default();
    match (word, second) {
        // `fault` alone names the feature: the command has a word behind it.
        ("fault", "") => line.into(),
        ("ropewalk", _) => with_option(line, second, rest, cluster),
        ("lesson", "") => of_program("lesson", cluster, "list"),
        ("lesson", "again" | "stop") => in_session(line, cluster),
        ("lesson", second) if AUTHOR_COMMANDS.contains(&second) => of_program("lesson", "", rest),
        ("lesson", second) if LESSON_COMMANDS.contains(&second) => of_program("lesson", cluster, rest),
        ("lesson", _) => of_program("learn", cluster, rest),
        // `answer` alone is no command: dots stand for the value.
        ("answer", "") => in_session("answer ...", cluster),
        (word, _) if WITHOUT_CLUSTER.contains(&word) => of_program(word, "", rest),
        (word, _) if SHARED.contains(&word) => of_program(word, name_option(cluster), rest),
        (word, _) if UNDER_LESSON.contains(&word) => of_program("lesson", cluster, line),
        (word, _) if UNDER_DRILL.contains(&word) => of_program("drill", name_option(cluster), line),
        (word, _) if SESSION_ONLY.contains(&word) => in_session(line, cluster),
        _ => line.into(),
    }
}

/// Returns a command of the program with the option that names the cluster, unless the command is
/// about no cluster, or names one. `line`: the whole command; `rest`: its words behind `ropewalk`,
/// the first of which is `word`.
fn with_option(line: &str, word: &str, rest: &str, cluster: &str) -> String {
    let behind = rest.strip_prefix(word).unwrap_or_default().trim_start();
    // The whole word: `--namespace` names no cluster.
    let names_cluster = |word: &str| matches!(word.split('=').next(), Some("--name" | "--kubeconfig"));
    let is_named = behind.split(' ').any(names_cluster);
    let is_authors = AUTHOR_COMMANDS.iter().any(|word| behind.split(' ').next() == Some(*word));
    let takes_name = WITH_NAME.contains(&word) || SHARED.contains(&word) && !WITHOUT_CLUSTER.contains(&word);
    let option = match (WITH_KUBECONFIG.contains(&word), takes_name) {
        _ if is_named || is_authors => "",
        (true, _) => cluster,
        (false, true) => name_option(cluster),
        (false, false) => "",
    };
    if option.is_empty() { line.into() } else { of_program(word, option, behind) }
}

/// Returns the option that names the cluster if it is `--name`, else nothing: a command that is not
/// about lessons takes no `--kubeconfig`.
fn name_option(cluster: &str) -> &str {
    if cluster.starts_with("--name ") { cluster } else { "" }
}

/// Returns a command of the program, with the option right behind its word.
fn of_program(word: &str, cluster: &str, rest: &str) -> String {
    let words: Vec<&str> = ["ropewalk", word, cluster, rest].into_iter().filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// Returns the command of a shell that runs one line in a session.
fn in_session(line: &str, cluster: &str) -> String {
    let is_plain = line.chars().all(|c| c.is_ascii_alphanumeric());
    match is_plain {
        true => of_program("repl", cluster, &format!("-c {line}")),
        false => of_program("repl", cluster, &format!("-c '{}'", line.replace('\'', r"'\''"))),
    }
}

/// Returns why a text cannot be rewritten for a shell in one of its two languages; `None`: it can
/// be. For the test that [`texts`](crate::texts) puts into each table.
pub fn problem(english: &str, korean: &str) -> Option<String> {
    let words = [english, korean].map(words_of_prompt);
    if words[0] != words[1] {
        return Some(format!("other commands in Korean: {words:?}"));
    }
    for text in [english, korean] {
        if text.matches('`').count() % 2 == 1 {
            return Some(format!("a backtick without its second one: {text}"));
        }
        let rewritten = in_shell(text, "");
        if let Some(left) = commands(&rewritten).find(|line| command(line, "") != *line) {
            return Some(format!("no command of a shell: {left}"));
        }
    }
    particle_problem(korean)
}

/// Returns the first words of the prompt's commands in a text, in order of the alphabet.
fn words_of_prompt(text: &str) -> Vec<&str> {
    let of_prompt = commands(text).filter(|line| command(line, "") != *line);
    let mut words: Vec<&str> = of_prompt.filter_map(|line| line.split(' ').next()).collect();
    words.sort_unstable();
    words
}

/// Returns the first Korean particle behind a command that is another one for a shell. The particle
/// depends on the last sound before it, which must stay the same.
fn particle_problem(korean: &str) -> Option<String> {
    let last = |line: &str| line.rsplit([' ', '\'']).find(|word| !word.is_empty()).map(String::from);
    let mut line = None;
    for (at, part) in korean.split('`').enumerate() {
        match line.take() {
            _ if at % 2 == 1 => line = Some(part),
            Some(line)
                if part.starts_with(|c: char| ('가'..='힣').contains(&c))
                    && last(line) != last(&command(line, "")) =>
            {
                return Some(format!("a particle behind `{line}`: {part}"));
            }
            _ => {}
        }
    }
    None
}

/// Returns the parts of a text that stand between backticks.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_the_prompt_has_one_of_the_shell() {
        for (prompt, shell) in [
            ("lab list", "ropewalk lab list"),
            ("drill", "ropewalk drill"),
            ("undo --list", "ropewalk undo --list"),
            ("lesson", "ropewalk lesson list"),
            ("lesson show", "ropewalk lesson show"),
            ("lesson ID", "ropewalk learn ID"),
            ("lesson first-voyage/04 --yes", "ropewalk learn first-voyage/04 --yes"),
            ("lesson again", "ropewalk repl -c 'lesson again'"),
            ("check", "ropewalk lesson check"),
            ("solve 4", "ropewalk lesson solve 4"),
            ("skip", "ropewalk drill skip"),
            ("next", "ropewalk repl -c next"),
            ("goto 3", "ropewalk repl -c 'goto 3'"),
            ("answer", "ropewalk repl -c 'answer ...'"),
            ("answer it's", r"ropewalk repl -c 'answer it'\''s'"),
        ] {
            assert_eq!(command(prompt, ""), shell);
            assert_eq!(command(shell, ""), shell, "once");
        }
        for same in ["ropewalk lesson list", "fault", "kubectl get pods", "quit", "help", "etcdctl get a", ""]
        {
            assert_eq!(command(same, ""), same);
        }
    }

    /// Without the option, a command would be about another cluster, or start one.
    #[test]
    fn a_command_of_the_shell_names_the_cluster() {
        for (prompt, by_name, by_file) in [
            ("lab list", "ropewalk lab --name shop list", "ropewalk lab list"),
            ("lesson", "ropewalk lesson --name shop list", "ropewalk lesson --kubeconfig f list"),
            ("lesson 4", "ropewalk learn --name shop 4", "ropewalk learn --kubeconfig f 4"),
            ("check", "ropewalk lesson --name shop check", "ropewalk lesson --kubeconfig f check"),
            ("next", "ropewalk repl --name shop -c next", "ropewalk repl --kubeconfig f -c next"),
            ("what pod", "ropewalk what pod", "ropewalk what pod"),
            ("ropewalk fault heal", "ropewalk fault --name shop heal", "ropewalk fault heal"),
            ("ropewalk down", "ropewalk down --name shop", "ropewalk down"),
            (
                "ropewalk etcdctl snapshot save f.db",
                "ropewalk etcdctl --name shop snapshot save f.db",
                "ropewalk etcdctl snapshot save f.db",
            ),
            (
                "ropewalk trace pod/web --namespace a",
                "ropewalk trace --name shop pod/web --namespace a",
                "ropewalk trace pod/web --namespace a",
            ),
            ("ropewalk learn 4", "ropewalk learn --name shop 4", "ropewalk learn --kubeconfig f 4"),
        ] {
            assert_eq!(command(prompt, "--name shop"), by_name);
            assert_eq!(command(prompt, "--kubeconfig f"), by_file);
            assert_eq!(command(by_name, "--name shop"), by_name, "once");
        }
        for same in [
            "ropewalk up --name x",
            "ropewalk up --name=x",
            "ropewalk lab test",
            "ropewalk doctor",
            "ropewalk --name x",
        ] {
            assert_eq!(command(same, "--name shop"), same);
        }
    }

    /// A word in two tables would have two lines of a shell, of which one is never used.
    #[test]
    fn a_command_stands_in_one_table() {
        let tables = [SHARED, UNDER_LESSON, UNDER_DRILL, SESSION_ONLY, WITH_NAME, WITH_KUBECONFIG];
        let mut words = tables.concat();
        words.sort_unstable();
        let all = words.len();
        words.dedup();
        assert_eq!(words.len(), all, "{words:?}");
        assert!(WITHOUT_CLUSTER.iter().all(|word| SHARED.contains(word)));
        assert!(!LESSON_COMMANDS.iter().any(|word| AUTHOR_COMMANDS.contains(word)));
    }

    #[test]
    fn only_what_stands_in_backticks_is_a_command() {
        let text = "the next status: `next`, or `kubectl get pods`; undo";
        assert_eq!(
            in_shell(text, ""),
            "the next status: `ropewalk repl -c next`, or `kubectl get pods`; undo"
        );
        assert_eq!(in_shell(&in_shell(text, ""), ""), in_shell(text, ""));
        assert_eq!(here(text), text, "the reader is at the prompt until a command line says otherwise");
    }

    #[test]
    fn a_text_that_reads_wrongly_in_a_shell_is_found() {
        assert_eq!(problem("`next` goes on", "`next`로 계속합니다"), None);
        assert_eq!(problem("`lesson` lists", "`lesson` 명령으로 목록을 봅니다"), None);
        let particle = problem("`lesson` lists", "`lesson`으로 목록을 봅니다").unwrap();
        assert!(particle.contains("으로"), "{particle}");
        assert!(problem("`next` goes on", "`back` 명령으로 계속합니다").is_some());
        assert!(problem("`next goes on", "`next로 계속합니다").is_some());
    }
}
