//! What a step breaks on the learner's own side: the environment of the shell at Ropewalk's prompt.
//! A session does it to its own shell and takes it back; start files and other terminals are never
//! touched.
//!
//! A pack names one of the words of [`ShellFault`] and no value, so it can set nothing but `PATH`
//! and `KUBECONFIG`, and these only to what the session itself makes of them.

use crate::cel::value;
use crate::format::Step;
use crate::view::State;
use cel::Value;
use serde::{Deserialize, Serialize};

/// A fault of the learner's own shell, by the word that a step (`shell: [path]`) and the command
/// line (`fault shell path`) have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShellFault {
    /// No directory of `PATH` has a program `kubectl`.
    Path,
    /// `KUBECONFIG` names a file that does not exist.
    MissingKubeconfig,
    /// `KUBECONFIG` names a file with the address of another cluster, which does not answer.
    WrongKubeconfig,
}

impl ShellFault {
    /// All of them, in the order in which they are listed.
    pub const ALL: [ShellFault; 3] =
        [ShellFault::Path, ShellFault::MissingKubeconfig, ShellFault::WrongKubeconfig];

    /// The word for it: `path`, `missing-kubeconfig`, `wrong-kubeconfig`.
    pub fn word(self) -> &'static str {
        match self {
            ShellFault::Path => "path",
            ShellFault::MissingKubeconfig => "missing-kubeconfig",
            ShellFault::WrongKubeconfig => "wrong-kubeconfig",
        }
    }
}

/// What is to be broken in the shell of each session of the cluster, as long as the step is open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokenShell {
    /// Of the step that wants it, e.g. `first-voyage/21#shell@712`: a step that begins anew has
    /// another one, and is broken anew.
    pub id: String,
    /// At most one of each variable.
    pub faults: Vec<ShellFault>,
}

impl BrokenShell {
    /// What an open step of a lesson breaks. `since`: the revision at which it began.
    pub(crate) fn of(lesson: &str, step: &Step, since: i64, state: State) -> Option<BrokenShell> {
        let is_broken = state == State::Open && !step.shell.is_empty();
        is_broken
            .then(|| BrokenShell { id: format!("{lesson}#{}@{since}", step.id), faults: step.shell.clone() })
    }
}

/// How a shell stands that was broken for a step, after a line of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShellState {
    /// [`BrokenShell::id`] of the step.
    pub id: String,
    /// A directory of `PATH` has a program `kubectl`.
    pub kubectl: bool,
    /// Where the file leads that kubectl reads: `own` (this cluster), `other`, or `missing` if
    /// there is no such file.
    pub kubeconfig: String,
}

impl ShellState {
    /// What `shell()` answers. Until a line has run in the broken shell nothing is known.
    pub(crate) fn value_of(state: Option<&ShellState>) -> Value {
        match state {
            Some(state) => value::map([
                ("kubectl", Value::Bool(state.kubectl)),
                ("kubeconfig", value::text(&state.kubeconfig)),
            ]),
            None => value::map([("error", value::text("no line has run in the shell of this step yet"))]),
        }
    }
}

/// Says what is odd about the faults of a step: the same variable twice, or an expression that asks
/// for the shell of a step that breaks nothing in it.
pub(crate) fn odd(step: &Step) -> Option<String> {
    let of_path = |fault: &&ShellFault| **fault == ShellFault::Path;
    let paths = step.shell.iter().filter(of_path).count();
    if paths > 1 || step.shell.len() - paths > 1 {
        return Some(format!("step {:?} breaks the same variable of the shell twice", step.id));
    }
    let asks = step.exprs().any(|expr| expr.calls("shell"));
    (asks && step.shell.is_empty())
        .then(|| format!("step {:?} asks for shell(), and no `shell:` is declared", step.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::{Expr, Facts, Probe, Use};
    use crate::format::{Lesson, parse};
    use std::path::Path;
    use std::sync::Arc;

    fn lesson(first: &str) -> Result<Lesson, String> {
        let text = format!(
            "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\nsteps:\n\
             - id: one\n  task: T.\n  check: 'shell().kubectl'\n  solution: [kubectl get pods]\n{first}\n---\n\
             # T\n\nText.\n\n## One {{#one}}\n\nText.\n"
        );
        parse(&text, Path::new("t/01/lesson.md"), &[]).map_err(|faults| faults[0].what.clone())
    }

    #[test]
    fn a_step_names_what_it_breaks_and_no_value() {
        let read = lesson("  shell: [path, missing-kubeconfig]").unwrap();
        let step = &read.steps[0];
        let broken = |state| BrokenShell::of("t/01", step, 7, state);
        let expected = BrokenShell { id: "t/01#one@7".into(), faults: step.shell.clone() };
        assert_eq!((broken(State::Open), broken(State::Done)), (Some(expected), None));
        assert_eq!(step.shell, [ShellFault::Path, ShellFault::MissingKubeconfig]);
        for (first, says) in [
            ("", "no `shell:` is declared"),
            ("  shell: [missing-kubeconfig, wrong-kubeconfig]", "the same variable"),
            ("  shell: [path, path]", "the same variable"),
            // Whatever a pack would like to set.
            ("  shell: [LD_PRELOAD]", "LD_PRELOAD"),
            ("  shell: {PATH: /tmp/evil}", ""),
            ("  shell: [{path: /tmp/evil}]", ""),
        ] {
            let told = lesson(first).expect_err(says);
            assert!(told.contains(says), "{first}: {told}");
        }
        for fault in ShellFault::ALL {
            assert_eq!(serde_json::json!(fault), fault.word());
        }
    }

    /// Its check says nothing of the shell.
    #[test]
    fn a_step_that_asks_for_the_shell_in_a_hint_breaks_something_in_it() {
        for hint in
            ["{tier: 1, when: '!shell().kubectl', say: S.}", "{tier: 1, say: 'It is ${shell().kubeconfig}.'}"]
        {
            let read = |shell: &str| {
                let text = format!(
                    "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\nsteps:\n\
                     - id: one\n  task: T.\n  check: 'present(\"Pod\",\"default\",\"a\")'\n  \
                     solution: [kubectl get pods]\n  hints: [{hint}]\n{shell}---\n\
                     # T\n\nText.\n\n## One {{#one}}\n\nText.\n"
                );
                parse(&text, Path::new("t/01/lesson.md"), &[]).map_err(|faults| faults[0].what.clone())
            };
            let told = read("").expect_err(hint);
            assert!(told.contains("no `shell:` is declared"), "{told}");
            assert!(read("  shell: [path]\n").is_ok(), "{hint}");
        }
    }

    #[test]
    fn a_check_sees_how_the_shell_stands() {
        let holds = |source: &str, state: Option<&ShellState>| {
            let expr = Expr::compile(source, Use::Check, &[]).unwrap();
            assert!(expr.is_probe(), "{source}");
            let answers = [(Probe::Shell, ShellState::value_of(state))].into();
            expr.holds(&Arc::new(Facts { answers, ..Facts::default() }))
        };
        let state = ShellState { id: "t/01#one@7".into(), kubectl: true, kubeconfig: "other".into() };
        assert!(holds("shell().kubectl", Some(&state)));
        assert!(holds("shell().kubeconfig == 'other'", Some(&state)));
        assert!(!holds("shell().kubeconfig == 'own'", Some(&state)));
        assert!(!holds("!shell().kubectl", None) && !holds("shell().kubectl", None), "nothing is known yet");
    }
}
