//! What Tab offers: verbs, flags, kinds and live names of kubectl, words of this place, files for
//! the shell.

use super::dialect;
use super::line::{self, WORDS, bare_verbs};
use super::names::Names;
use super::tui::model::View;
use api::kinds::{self, Kind};
use cluster::faults::killable;
use etcdctl::table::VERBS;
use kubectl::complete;
use kubectl::machine::names_file;
use lab::format::Library;
use lab::graded::read::Labs;
use std::sync::Arc;

/// Where names come from; a test has its own.
pub(crate) trait Source {
    fn names(&self, kind: &Kind, namespace: Option<&str>) -> Vec<String>;
    fn lessons(&self) -> Vec<String>;
    fn labs(&self) -> Vec<String>;
    /// Names of the glossary.
    fn terms(&self) -> Vec<String>;
}

impl Source for Arc<Names> {
    fn names(&self, kind: &Kind, namespace: Option<&str>) -> Vec<String> {
        self.of(kind, namespace)
    }
    fn lessons(&self) -> Vec<String> {
        Library::load().lessons.iter().map(|lesson| lesson.id.clone()).collect()
    }
    fn labs(&self) -> Vec<String> {
        Labs::load().labs.iter().map(|lab| lab.id.clone()).collect()
    }
    fn terms(&self) -> Vec<String> {
        Library::load().terms.iter().map(|term| term.id.clone()).collect()
    }
}

/// What fits at the end of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Words, sorted, that begin with what was typed.
    Words(Vec<String>),
    /// Names of files.
    #[default]
    Files,
}

/// Behind one of these stands the name of a file.
const REDIRECTS: [char; 2] = ['<', '>'];

/// What fits after `text`, the line up to the cursor.
pub(crate) fn offer(text: &str, source: &dyn Source) -> Offer {
    let text = last_command(text).trim_start().trim_start_matches('!');
    let mut words = line::cut(text).words;
    if text.is_empty() || text.ends_with(char::is_whitespace) {
        words.push(String::new());
    }
    let Some((last, before)) = words.split_last() else { return Offer::Files };
    if last.contains(REDIRECTS) || before.last().is_some_and(|word| word.ends_with(REDIRECTS)) {
        return Offer::Files;
    }
    // The same words as at the prompt: `ropewalk lang`. `ropewalk lesson` has others behind it.
    let before = match before {
        [first, rest @ ..] if first == "ropewalk" && rest.first().is_some_and(|word| word != "lesson") => {
            rest
        }
        _ => before,
    };
    let found = match before.first().map(String::as_str) {
        None if last.contains('/') => return Offer::Files,
        None => {
            let own = ["kubectl", "ropewalk"].into_iter().chain(WORDS.iter().copied());
            bare_verbs().chain(own).map(String::from).collect()
        }
        Some("kubectl" | "k") => match kubectl(&before[1..], last, source) {
            Some(found) => found,
            None => return Offer::Files,
        },
        Some(verb) if bare_verbs().any(|v| v == verb) || line::meant_for_kubectl(before) => {
            match kubectl(before, last, source) {
                Some(found) => found,
                None => return Offer::Files,
            }
        }
        Some("etcdctl") => etcdctl(&before[1..].join(" ")),
        Some("fault") => fault(before, source),
        Some("drill") => match before.get(1).map(String::as_str) {
            None => owned(&["--seed", "--skill", "check", "hint", "show", "skip", "start", "stop"]),
            Some("start") if before.len() == 2 => owned(&["--seed", "--skill"]),
            Some(_) => vec![],
        },
        Some("lang") => owned(&["en", "ko"]),
        Some("map") => View::ALL.iter().map(|view| view.name().to_string()).collect(),
        Some("lesson") => source.lessons().into_iter().chain(owned(&["again", "leave", "stop"])).collect(),
        Some("solve" | "check") => source.lessons(),
        Some("lab") if before.get(1).is_some_and(|word| word == "verify") => return Offer::Files,
        Some("lab") => of_lab(before, source),
        Some("status" | "trace" | "doctor" | "progress") if last.starts_with('-') => vec!["-o".into()],
        Some(
            "answer" | "back" | "clear" | "debrief" | "doctor" | "exit" | "goto" | "hint" | "next"
            | "progress" | "quit" | "redo" | "rewind" | "status",
        ) => vec![],
        Some("undo") => owned(&["--list"]),
        Some("what") => source.terms(),
        Some("help") => bare_verbs().chain(WORDS.iter().copied()).map(String::from).collect(),
        Some("trace" | "why") => match object(last, source) {
            Some(found) => found,
            None => {
                kinds::all().iter().filter(|k| k.is_stored()).map(|k| format!("{}/", k.singular)).collect()
            }
        },
        Some(_) => return Offer::Files,
    };
    Offer::Words(fitting(found, last))
}

/// The last command of a line: what stands behind the last operator of the shell. An operator in
/// quotes is a letter, as in `-o jsonpath='{.items[?(@.a)]}'`, but `$(` begins a command also in
/// double quotes. Pure.
fn last_command(text: &str) -> &str {
    let (mut begin, mut quote, mut before) = (0, None, ' ');
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => drop(chars.next()),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, '|' | ';' | '&' | '(') => begin = at + 1,
            (Some('"'), '(') if before == '$' => (begin, quote) = (at + 1, None),
            _ => {}
        }
        before = c;
    }
    &text[begin..]
}

/// What follows `lab`, or one of its words.
fn of_lab(before: &[String], source: &dyn Source) -> Vec<String> {
    match before.get(1).map(String::as_str) {
        None => {
            owned(&["check", "give-up", "grade", "hint", "leave", "list", "show", "solve", "start", "verify"])
        }
        Some("check" | "give-up" | "grade" | "hint" | "leave" | "show" | "solve" | "start")
            if before.len() == 2 =>
        {
            source.labs()
        }
        Some(_) => vec![],
    }
}

/// The words of `fault`, after what was typed `before`.
fn fault(before: &[String], source: &dyn Source) -> Vec<String> {
    match before.get(1).map(String::as_str) {
        None => {
            owned(&["cut", "disk", "heal", "kill", "list", "loss", "node", "shell", "slow", "start", "stop"])
        }
        Some("shell") if before.len() == 2 => {
            let words = lab::ShellFault::ALL.map(lab::ShellFault::word);
            words.into_iter().chain(["heal"]).map(String::from).collect()
        }
        Some("kill" | "start" | "stop") => killable().map(String::from).collect(),
        Some("disk") if before.len() == 2 => owned(&["full"]),
        Some("node") if before.len() == 2 => owned(&["crash", "start", "stop"]),
        Some("cut" | "disk" | "loss" | "slow" | "node") => names_of("nodes", source),
        Some(_) => vec![],
    }
}

/// The verbs of etcdctl, or what follows the first word of one.
fn etcdctl(typed: &str) -> Vec<String> {
    let verbs = VERBS.iter().map(|v| v.name.split(' '));
    let next = verbs.filter_map(|mut words| match typed.is_empty() {
        true => words.next(),
        false => (words.next() == Some(typed)).then(|| words.next()).flatten(),
    });
    next.map(String::from).collect()
}

/// The words that begin with what was typed, sorted. An RBAC object's name may be almost anything:
/// one with control characters is not written to the terminal.
fn fitting(mut found: Vec<String>, typed: &str) -> Vec<String> {
    found.retain(|word| word.starts_with(typed) && !word.contains(char::is_control));
    found.sort();
    found.dedup();
    found
}

/// What Tab writes for a word: in quotes if the shell would run or expand some of it: the API
/// server accepts a ClusterRole with the name `x;reboot`. `alone`: no other word fits, so a space
/// follows, unless the word goes on. Pure.
pub(crate) fn as_typed(word: &str, alone: bool) -> String {
    let literal = |c: char| c.is_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.chars().all(literal) || word.starts_with('=') {
        return dialect::quote(word) + if alone { " " } else { "" };
    }
    let goes_on = word.ends_with(['/', '=']);
    if alone && !goes_on { format!("{word} ") } else { word.to_string() }
}

fn names_of(plural: &str, source: &dyn Source) -> Vec<String> {
    kinds::all().iter().find(|k| k.plural == plural).map(|k| source.names(k, None)).unwrap_or_default()
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Candidates after `kubectl ARGS…`; `None` for a file name.
fn kubectl(args: &[String], last: &str, source: &dyn Source) -> Option<Vec<String>> {
    let flag = args.last().map(String::as_str).unwrap_or_default();
    let follows = flag == "-f" && args.iter().any(|a| a == "logs"); // there it takes no value
    let typed = last.split_once('=').map_or("", |(typed, _)| typed);
    if (names_file(flag) && !follows) || names_file(typed) {
        return None;
    }
    let live = |resource: &str, namespace: &str| {
        let kind = kinds::all().iter().find(|k| k.plural == resource);
        kind.map(|k| source.names(k, (!namespace.is_empty()).then_some(namespace))).unwrap_or_default()
    };
    let found = complete::of_words(args, last, &live);
    Some(found.into_iter().map(|c| c.text).collect())
}

/// `KIND/NA…`: names of that kind with the kind in front.
fn object(last: &str, source: &dyn Source) -> Option<Vec<String>> {
    let (word, _) = last.split_once('/')?;
    let known = |k: &&Kind| k.plural == word || k.singular == word || k.short_names.contains(&word);
    let names = kinds::all().iter().find(known).map(|k| source.names(k, None)).unwrap_or_default();
    Some(names.into_iter().map(|n| format!("{word}/{n}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Source for Fixed {
        fn names(&self, kind: &Kind, namespace: Option<&str>) -> Vec<String> {
            let first = format!("{}-{}", kind.singular, namespace.unwrap_or("here"));
            vec![first, "web".into(), "web\x1b[2J".into()]
        }
        fn lessons(&self) -> Vec<String> {
            owned(&["first-voyage/04", "first-voyage/05"])
        }
        fn labs(&self) -> Vec<String> {
            owned(&["broken-selector"])
        }
        fn terms(&self) -> Vec<String> {
            owned(&["pod", "node"])
        }
    }

    fn words(text: &str) -> Vec<String> {
        match offer(text, &Fixed) {
            Offer::Words(words) => words,
            Offer::Files => vec!["FILES".into()],
        }
    }

    #[test]
    fn verbs_kinds_names_and_flags_are_offered_where_they_fit() {
        assert_eq!(words("des"), ["describe"]);
        assert_eq!(words("kubectl exe"), ["exec"]);
        assert_eq!(words("get deployment"), ["deployments"]);
        assert_eq!(words("k get po "), ["pod-here", "web"]);
        assert_eq!(words("k -n kube-system get pods p"), ["pod-kube-system"]);
        assert_eq!(words("describe pod/w"), ["pod/web"]);
        assert_eq!(words("rollout un"), ["undo"]);
        assert_eq!(words("rollout undo deployment w"), ["web"]);
        assert_eq!(words("get pods --show-l"), ["--show-labels"]);
        assert_eq!(words("get pods -o y"), ["yaml"]);
        assert_eq!(words("logs -f w"), ["web"]);
        assert_eq!(words("get pods -n "), ["namespace-here", "web"]);
        assert_eq!(words("ls; k get pods w"), ["web"]);
        for quoted in
            ["-o jsonpath='{.items[?(@.a)]}'", "-l 'a in (b)'", "-o custom-columns=\"A;B\"", "-l a\\;b"]
        {
            assert_eq!(words(&format!("get pods {quoted} -n ")), ["namespace-here", "web"], "{quoted}");
        }
        assert_eq!(words("echo \"it's $(k get pods w"), ["web"]);
        assert_eq!(words("echo 'a' && k get pods w"), ["web"]);
        assert_eq!(words("apply -f "), ["FILES"]);
        for text in [
            "create cm c --from-file ",
            "create cm c --from-file=a",
            "create secret tls t --cert s",
            "create secret tls t --cert=c --key k",
            "patch pod web --patch-file p",
            "cluster-info dump --output-directory d",
        ] {
            assert_eq!(words(text), ["FILES"], "{text}");
        }
        for text in ["get pods > p", "get pods >p", "get pods 2> ", "k apply -f - < "] {
            assert_eq!(words(text), ["FILES"], "{text}");
        }
        assert_eq!(words("vi ma"), ["FILES"]);
        assert_eq!(words("fault kill kube-s"), ["kube-scheduler"]);
        assert_eq!(words("fault stop kube-s"), ["kube-scheduler"]);
        assert_eq!(words("fault st"), ["start", "stop"]);
        assert_eq!(words("fault node s"), ["start", "stop"]);
        assert_eq!(words("k set image deployment w"), ["web"]);
        // What the line says decides whose word it is, as when it is run.
        assert_eq!(words("set image deployment w"), ["web"]);
        assert_eq!(words("exec -it w"), ["web"]);
        assert_eq!(words("set w"), ["FILES"]);
        assert_eq!(words("exec w"), ["FILES"]);
    }

    #[test]
    fn words_of_this_place_have_what_follows_them() {
        assert_eq!(words("map s"), ["scheduling"]);
        assert_eq!(words("help und"), ["undo"]);
        assert_eq!(words("lesson "), ["again", "first-voyage/04", "first-voyage/05", "leave", "stop"]);
        assert_eq!(words("lab s"), ["show", "solve", "start"]);
        assert_eq!(words("lab start "), ["broken-selector"]);
        assert_eq!(words("lab le"), ["leave"]);
        assert_eq!(words("lab leave "), ["broken-selector"]);
        assert_eq!(words("why pod/w"), ["pod/web"]);
        assert_eq!(words("next "), Vec::<String>::new());
        assert_eq!(words("drill st"), ["start", "stop"]);
        for line in ["lang ", "fault kill kube-s", "lab start ", "kubectl get po ", "etcdctl "] {
            assert_eq!(words(&format!("ropewalk {line}")), words(line), "{line}");
        }
        assert_eq!(words("ropewalk lesson t"), ["FILES"]);
        assert_eq!(words("drill start "), ["--seed", "--skill"]);
        assert_eq!(words("drill check "), Vec::<String>::new());
    }

    /// None of these words takes a file.
    #[test]
    fn no_file_is_offered_behind_a_word_of_this_place() {
        for word in WORDS {
            assert_ne!(words(&format!("{word} ")), ["FILES"], "{word}");
        }
        assert_eq!(words("status -"), ["-o"]);
        assert_eq!(words("lab verify "), ["FILES"], "a record");
        assert_eq!(words("ropewalk status "), words("status "));
    }

    #[test]
    fn tab_writes_no_name_that_the_shell_would_run() {
        for (word, typed) in [
            ("web", "web "),
            ("pod/", "pod/"),
            ("--output=", "--output="),
            ("system:node-proxier", "system:node-proxier "),
            ("파드", "파드 "),
            ("x;reboot", "'x;reboot' "),
            ("$(reboot)", "'$(reboot)' "),
            ("it's", "'it'\\''s' "),
            ("=ls", "'=ls' "),
            ("a b", "'a b' "),
        ] {
            assert_eq!(as_typed(word, true), typed);
            assert_eq!(as_typed(word, false), typed.trim_end());
            let cut = line::cut(typed);
            assert!(!cut.special && cut.words == [word], "{typed}: {cut:?}");
        }
    }
}
