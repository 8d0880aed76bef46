//! Suggests the line that was probably meant by one that failed.

use super::shell::NOT_FOUND;
use super::{Manner, Session};
use crate::commands;
use crate::line;
use crate::texts::Say;
use lab::why::with_meant_kind;
use lang::charset::eprintln;
use lang::texts;
use std::path::PathBuf;

texts! {
    enum Word {
        Alone: "`{}` is a word of Ropewalk's prompt, not of the shell. Type it on a line of its own", "`{}` 명령은 셸이 아니라 Ropewalk 프롬프트의 명령입니다. 다른 명령과 나누어 한 줄에 따로 입력하세요";
    }
}

impl Session {
    /// Suggests the line that was meant by one that has run with this code, if the shell did not
    /// find its command. `text` is what the shell was to run, `typed` what stood at the prompt.
    pub(super) fn suggest(&self, code: i32, text: &str, typed: &str) {
        // The code with which the shell itself has ended tells nothing of a command.
        let is_unknown = self.shell.is_some() && (code == NOT_FOUND || is_hangul_in_background(text));
        if is_unknown && let Some(said) = self.suggestion(text, typed) {
            eprintln!("{said}");
        }
    }

    /// Returns what is said of a line with a command that the shell did not find; `None`: nothing
    /// is known.
    fn suggestion(&self, text: &str, typed: &str) -> Option<String> {
        if let Some(word) = line::word_of_the_session(text) {
            return Some(self.lang().say(Word::Alone, &[word]));
        }
        let bin = self.place.home.bin();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        dirs.extend([bin.join("stand-ins"), bin]);
        let is_command = |word: &str| {
            BUILT_IN.contains(&word) || dirs.iter().any(|dir| commands::is_program(&dir.join(word)))
        };
        let meant = line::with_kubectl(typed.trim(), is_command);
        // The first word is looked at as the shell got it: `get` of `get pods; xyzzy` is no slip.
        let meant = meant.or_else(|| line::meant_line(text, is_command))?;
        Some(self.say(Say::DidYouMean, &[&meant]))
    }

    /// Suggests a known kind for an unknown one, if the line was a command of kubectl's and failed:
    /// kubectl itself suggests verbs only.
    pub(super) fn suggest_kind(&self, text: &str) {
        let has_failed = self.last == 1 && self.manner == Manner::Terminal;
        if let Some(meant) = with_meant_kind(text.trim()).filter(|_| has_failed) {
            eprintln!("{}", self.say(Say::DidYouMean, &[&meant]));
        }
    }
}

/// Commands of the shell itself that a learner may type.
const BUILT_IN: &[&str] = &[
    "alias", "bg", "cd", "disown", "echo", "eval", "exec", "export", "fg", "hash", "history", "jobs", "kill",
    "printf", "pwd", "read", "set", "source", "test", "time", "type", "ulimit", "umask", "unalias", "unset",
    "wait",
];

/// True for `니ㄷ데 900 &`: the shell says 0, and only later that there is no such command.
fn is_hangul_in_background(text: &str) -> bool {
    let ends_alone = text.trim_end().strip_suffix('&').is_some_and(|line| !line.ends_with('&'));
    let begins = text.split_whitespace().next().unwrap_or_default();
    ends_alone && line::english_keys(begins).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::Lang;
    use cluster::Home;

    #[test]
    fn what_is_suggested_is_the_line_as_it_was_typed() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        for (typed, text, meant) in [
            (
                "fault kill etcd; get pods",
                "ropewalk fault --name main kill etcd; get pods",
                Some("fault kill etcd; kubectl get pods"),
            ),
            ("!true; get pods", "true; get pods", Some("!true; kubectl get pods")),
            ("kubeclt get pods", "kubeclt get pods", Some("kubectl get pods")),
            ("get pods; xyzzy", "kubectl get pods; xyzzy", None),
        ] {
            let said = meant.map(|meant| format!("Did you mean `{meant}`?"));
            assert_eq!(session.suggestion(text, typed), said, "{typed}");
        }
        let alone = session.suggestion("true && hint", "true && hint").unwrap_or_default();
        assert!(alone.contains("`hint`"), "{alone}");
    }

    /// Set in the process that has a terminal.
    const ON_A_TERMINAL: &str = "ROPEWALK_TEST_SUGGESTION";

    /// Not a test of its own: runs on the terminal that the test below opens.
    #[test]
    fn types_a_verb_behind_a_word_of_this_program() {
        if std::env::var_os(ON_A_TERMINAL).is_none() {
            return;
        }
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let _inside = runtime.enter();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        // In the place of this program.
        assert_eq!(session.in_shell("ropewalk() { :; }"), 0);
        session.run("why; get pods", &mut crate::script::Script::of([]));
        assert_eq!(session.last(), NOT_FOUND);
    }

    #[test]
    fn a_suggestion_shows_nothing_that_the_session_has_put_into_the_line() {
        let test = "session::suggest::tests::types_a_verb_behind_a_word_of_this_program";
        let said = crate::shell::tests::on_a_terminal(test, ON_A_TERMINAL, "1");
        assert!(said.contains("Did you mean `why; kubectl get pods`?"), "{said}");
    }

    #[test]
    fn a_line_on_a_korean_layout_is_noticed_in_the_background_too() {
        for (text, is_noticed) in [
            ("니ㄷ데 900 &", true),
            ("니ㄷ데 900", false),
            ("sleep 900 &", false),
            ("echo 파드 &", false),
            ("ㅣㄴ &&", false),
        ] {
            assert_eq!(is_hangul_in_background(text), is_noticed, "{text}");
        }
    }
}
