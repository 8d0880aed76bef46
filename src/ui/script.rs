//! Lines from a pipe, a file or `-c`: read plainly, nothing echoed.

use super::line;
use super::session::{Flow, Given, Lines, Session};
use std::collections::VecDeque;
use std::io::BufRead;

/// Lines that are not typed at a terminal.
pub(crate) struct Script {
    lines: VecDeque<String>,
    /// Read further lines from standard input.
    pipe: bool,
}

impl Script {
    pub(crate) fn of(texts: impl IntoIterator<Item = String>) -> Script {
        let split =
            |t: String| t.split('\n').map(|l| l.trim_end_matches('\r').to_string()).collect::<Vec<_>>();
        Script { lines: texts.into_iter().flat_map(split).collect(), pipe: false }
    }

    pub(crate) fn pipe() -> Script {
        Script { lines: VecDeque::new(), pipe: true }
    }

    fn take(&mut self) -> Option<String> {
        if let Some(line) = self.lines.pop_front() {
            return Some(line);
        }
        let mut bytes = Vec::new();
        if !self.pipe || std::io::stdin().lock().read_until(b'\n', &mut bytes).ok()? == 0 {
            return None;
        }
        Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_string())
    }
}

impl Lines for Script {
    fn more(&mut self) -> Given {
        self.take().map_or(Given::End, Given::Text)
    }
}

/// Runs every line; the exit code is the last one's, or that of `exit`.
pub(crate) fn play(session: &mut Session, mut script: Script) -> i32 {
    while let Some(first) = script.take() {
        let mut text = line::Growing::new(first);
        while text.unfinished() {
            let Some(next) = script.take() else { break };
            text.add(&next);
        }
        if let Flow::Leave(code) = session.run(&text.into_text(), &mut script) {
            return code;
        }
    }
    session.last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Manner;
    use crate::texts::Lang;
    use cluster::Home;
    use std::path::Path;
    use tokio::runtime::Runtime;

    /// A session in a home of its own, without a cluster.
    fn session_at(home: &Path, manner: Manner, runtime: &Runtime) -> Session {
        let place = Home::at(home).cluster("main").unwrap();
        Session::new(place, Lang::En, manner, runtime.handle().clone())
    }

    fn script(lines: &[&str]) -> Script {
        Script::of(lines.iter().map(ToString::to_string))
    }

    #[test]
    fn a_script_ends_with_its_shell() {
        let runtime = Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let next = dir.path().join("next");
        let beyond = format!("echo > {}", next.display());
        for manner in [Manner::File, Manner::Pipe, Manner::Script] {
            for (lines, code) in [
                (vec!["cd /no/such/place 2> /dev/null || exit 3", &beyond], 3),
                (vec!["set -e", "false", &beyond], 1),
                (vec!["kill -9 $$", &beyond], 128 + 9),
            ] {
                let mut session = session_at(dir.path(), manner, &runtime);
                assert_eq!(play(&mut session, script(&lines)), code, "{manner:?}: {lines:?}");
                assert!(!next.exists(), "{manner:?}: a line ran behind {lines:?}");
            }
        }
        let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
        assert_eq!(play(&mut session, script(&["(exit 3)", &beyond])), 0, "only a subshell has ended");
        assert!(next.exists());
    }

    #[test]
    fn lines_behind_the_end_of_a_shell_are_dropped_once() {
        let runtime = Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
        session.run("true", &mut script(&[]));
        assert_eq!(session.take_reason_to_drop(), None);
        session.run("exit 3 || :", &mut script(&[]));
        assert_eq!(session.take_reason_to_drop(), Some(crate::texts::Say::ShellEndedDropped));
        assert_eq!(session.take_reason_to_drop(), None);
    }

    #[test]
    fn lines_of_files_and_arguments_are_one_stream() {
        let mut script = Script::of(["a\r\nb".to_string(), "c".to_string()]);
        let mut all = Vec::new();
        while let Some(line) = script.take() {
            all.push(line);
        }
        assert_eq!(all, ["a", "b", "c"]);
    }
}
