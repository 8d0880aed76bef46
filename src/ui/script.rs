//! Lines from a pipe, a file or `-c`: read plainly, nothing echoed.

use super::line;
use super::session::{Flow, Given, Lines, Session};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::BufRead;

/// Lines that are not typed at a terminal.
pub(crate) struct Script {
    lines: VecDeque<Vec<u8>>,
    /// Read further lines from standard input.
    pipe: bool,
}

impl Script {
    /// Lines of these texts, of which each may have several.
    pub(crate) fn of(texts: impl IntoIterator<Item = String>) -> Script {
        let split = |t: String| t.split('\n').map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
        Script { lines: texts.into_iter().flat_map(split).collect(), pipe: false }
    }

    /// Lines from standard input.
    pub(crate) fn pipe() -> Script {
        Script { lines: VecDeque::new(), pipe: true }
    }

    /// The next line without its end, and whether it is UTF-8. What is not stands in it as U+FFFD.
    fn take(&mut self) -> Option<(String, bool)> {
        let mut bytes = self.lines.pop_front();
        if bytes.is_none() && self.pipe {
            let mut read = Vec::new();
            let length = std::io::stdin().lock().read_until(b'\n', &mut read).ok()?;
            bytes = (length > 0).then_some(read);
        }
        let bytes = bytes?;
        let text = String::from_utf8_lossy(&bytes);
        let is_utf8 = matches!(text, Cow::Borrowed(_));
        Some((text.trim_end_matches(['\n', '\r']).to_string(), is_utf8))
    }
}

impl Lines for Script {
    fn more(&mut self) -> Given {
        match self.take() {
            Some((text, true)) => Given::Text(text),
            Some((_, false)) => Given::NotUtf8,
            None => Given::End,
        }
    }
}

/// Opens the lesson that the session begins with, if there is one, and runs every line. If the
/// lesson cannot be opened, no line runs: they are meant for that lesson.
///
/// Beside the lesson's id: whether what its setup removes is removed without a question.
pub(crate) fn play_lesson(session: &mut Session, lesson: Option<(String, bool)>, script: Script) -> i32 {
    match lesson.map_or(0, |(id, sure)| session.open_lesson(id, sure)) {
        0 => {
            let code = play(session, script);
            session.end_shell(code)
        }
        failed => failed,
    }
}

/// Runs every line; the exit code is the last one's, or that of `exit`.
pub(crate) fn play(session: &mut Session, mut script: Script) -> i32 {
    while let Some((first, mut is_utf8)) = script.take() {
        let mut text = line::Growing::new(first);
        while text.unfinished() {
            let Some((next, is_next_utf8)) = script.take() else { break };
            is_utf8 &= is_next_utf8;
            text.add(&next);
        }
        let text = text.into_text();
        if !is_utf8 && matters(&text) {
            session.refuse_bytes();
        } else if let Flow::Leave(code) = session.run(&text, &mut script) {
            return code;
        }
        if let Flow::Leave(code) = session.let_shell_judge() {
            return code;
        }
    }
    session.last()
}

/// True unless the bytes of a text that are not UTF-8, U+FFFD by now, stand in a remark. Pure.
fn matters(text: &str) -> bool {
    let words = line::cut(text).words;
    let is_lost = |word: &String| word.contains(char::REPLACEMENT_CHARACTER);
    words.iter().any(is_lost) || (text.contains('\n') && !words.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Manner;
    use crate::terminal::EndSignals;
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
                // Lines that this program runs: kubectl refuses the flag, the word of lessons "3".
                (vec!["set -e", "version --nope", &beyond], 1),
                (vec!["set -e", "next 3", &beyond], 2),
                (vec!["set -e", "version --nope || :", "version --nope", &beyond], 1),
                (vec!["kill -9 $$", &beyond], 128 + 9),
            ] {
                let mut session = session_at(dir.path(), manner, &runtime);
                assert_eq!(play(&mut session, script(&lines)), code, "{manner:?}: {lines:?}");
                assert!(!next.exists(), "{manner:?}: a line ran behind {lines:?}");
            }
        }
        for lines in [["(exit 3)", "next 3"], ["trap 'echo' ERR", "version --nope"], ["true", "set +e"]] {
            let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
            let lines = [&lines[..], &[&beyond]].concat();
            assert_eq!(play(&mut session, script(&lines)), 0, "no shell has ended: {lines:?}");
            std::fs::remove_file(&next).unwrap();
        }
    }

    /// `learn nope < lines`: `check` would judge another lesson.
    #[test]
    fn a_script_whose_lesson_cannot_be_opened_runs_no_line() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let next = dir.path().join("next");
        let line = format!("echo > {}", next.display());
        let played = |lesson: Option<&str>| {
            let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
            play_lesson(&mut session, lesson.map(|id| (id.to_string(), false)), script(&[&line]))
        };
        assert_ne!(played(Some("first-voyage/04")), 0, "no cluster answers");
        assert!(!next.exists());
        assert_eq!(played(None), 0);
        assert!(next.exists());
    }

    /// `trap 'code=$?; rm -r $dir; exit $code' EXIT` (POSIX, XCU 2.15, `trap`).
    #[test]
    fn a_trap_at_the_end_of_a_script_knows_its_code_and_may_change_it() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let told = dir.path().join("told");
        let tells = format!("trap 'echo $? > {}' EXIT", told.display());
        for (lines, code, heard) in [
            ([&*tells, "exit 4"], 4, "4"),
            ([&*tells, "(exit 3)"], 3, "3"),
            // The built-in kubectl refuses it.
            ([&*tells, "version --nope"], 1, "1"),
            (["trap 'exit 9' EXIT", "exit 4"], 9, ""),
            (["trap 'exit 9' EXIT", "true"], 9, ""),
        ] {
            let mut session = session_at(dir.path(), Manner::File, &runtime);
            assert_eq!(play_lesson(&mut session, None, script(&lines)), code, "{lines:?}");
            assert_eq!(std::fs::read_to_string(&told).unwrap_or_default().trim(), heard, "{lines:?}");
            let _ = std::fs::remove_file(&told); // it is there in some of the cases
        }
    }

    #[test]
    fn a_line_that_is_not_run_is_not_judged() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let [errors, next] = ["errors", "next"].map(|name| dir.path().join(name));
        let trap = format!("trap 'echo E >> {}' ERR", errors.display());
        let beyond = format!("echo > {}", next.display());
        // The learner's shell may be dash, which has no such trap.
        let has_trap =
            play(&mut session_at(dir.path(), Manner::File, &runtime), script(&["trap : ERR"])) == 0;
        for (lines, failures) in [
            (vec![&*trap, "false", "# a remark", "", &beyond], 1),
            (vec![&*trap, "version --nope", "", "# a remark", &beyond], 1),
            (vec![&*trap, "set -e", "[ -f /nonexistent ] && echo", "", "# a remark", &beyond], 0),
        ] {
            let mut session = session_at(dir.path(), Manner::File, &runtime);
            assert_eq!(play(&mut session, script(&lines)), 0, "{lines:?}");
            std::fs::remove_file(&next).unwrap();
            if has_trap {
                let said = std::fs::read_to_string(&errors).unwrap_or_default();
                assert_eq!(said, "E\n".repeat(failures), "{lines:?}");
                let _ = std::fs::remove_file(&errors); // there may have been none
            }
        }
    }

    #[test]
    fn an_answer_with_an_open_quote_takes_no_lines_behind_it() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let next = dir.path().join("next");
        let beyond = format!("echo > {}", next.display());
        for answer in ["answer it's", "답 (a", "answer a \\"] {
            let mut session = session_at(dir.path(), Manner::File, &runtime);
            assert_eq!(play(&mut session, script(&[answer, &beyond])), 0, "{answer}");
            std::fs::remove_file(&next).unwrap();
        }
    }

    /// The learner may have named another cluster in `KUBECONFIG`.
    #[test]
    fn a_line_of_kubectl_is_refused_if_the_shell_does_not_tell_its_variables() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
        let own = session.place.kubeconfig();
        std::fs::create_dir_all(own.parent().unwrap()).unwrap();
        let lines = ["export KUBECONFIG=/other PATH=/none", "config set-context main"];
        assert_eq!(play(&mut session, script(&lines)), 1);
        assert!(!own.exists());
    }

    /// Set in the process that gets the signal, because one reaches all of a process.
    const INSIDE: &str = "ROPEWALK_TEST_SCRIPT_ENDED";

    /// Runs a test of this module in a process of its own.
    fn in_a_process(test: &str) {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("script::tests::{test}")]);
        let ran = command.env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }

    /// Not a test of its own: what one below runs in a process.
    #[test]
    fn gets_a_signal_in_its_first_line() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let runtime = Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let [go, next] = ["go", "next"].map(|name| dir.path().join(name));
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
        let signals = || EndSignals::new(EndSignals::SCRIPT).unwrap();
        let mut others = {
            let _inside = runtime.enter();
            session.end.signals = Some(signals());
            signals()
        };
        let (first, beyond) =
            (format!("kill -TERM $PPID; read x < {}", go.display()), format!("echo > {}", next.display()));
        let handle = runtime.handle().clone();
        let other = std::thread::spawn(move || {
            assert_eq!(handle.block_on(others.recv()), 143);
            std::fs::write(go, "\n").unwrap(); // the line ends once the signal has come
        });
        assert_eq!(play(&mut session, script(&[&first, &beyond])), 143);
        other.join().unwrap();
        assert!(!next.exists(), "a line ran after the signal");
    }

    #[test]
    fn no_line_begins_after_a_signal_that_ends_the_session() {
        in_a_process("gets_a_signal_in_its_first_line");
    }

    /// A manifest whose writer ends because of a signal.
    struct Interrupted(EndSignals, tokio::runtime::Handle);

    impl Lines for Interrupted {
        fn more(&mut self) -> Given {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
            assert_eq!(self.1.block_on(self.0.recv()), 130);
            Given::End
        }
    }

    /// Not a test of its own: what one below runs in a process.
    #[test]
    fn gets_a_signal_in_a_manifest() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        linux::signal::reset().unwrap(); // the tests may run in the background of a script
        let runtime = Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
        let mut lines = {
            let _inside = runtime.enter();
            session.end.signals = Some(EndSignals::new(EndSignals::SCRIPT).unwrap());
            Interrupted(EndSignals::new(EndSignals::SCRIPT).unwrap(), runtime.handle().clone())
        };
        assert_eq!(session.run("apply -f -", &mut lines), Flow::Next);
        assert_eq!(session.last(), 130, "it was not sent: there is no cluster, which would be 1");
        assert_eq!(session.run("echo", &mut lines), Flow::Leave(130));
    }

    #[test]
    fn a_manifest_that_a_signal_has_cut_off_is_not_sent() {
        in_a_process("gets_a_signal_in_a_manifest");
    }

    /// A line that puts a function in the place of kubectl in the shell: it writes what it is given
    /// into this file.
    fn kubectl_writes(given: &Path) -> String {
        format!("kubectl() {{ echo \"$@\" > {}; }}", given.display())
    }

    #[test]
    fn a_line_that_was_cut_off_in_a_quote_runs_nothing() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let given = dir.path().join("given");
        let writes = kubectl_writes(&given);
        for lines in [&["delete pods -l 'app"][..], &["delete pod \"web", "get pods"]] {
            let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
            let lines = [&[writes.as_str()], lines].concat();
            assert_eq!(play(&mut session, script(&lines)), 2, "as bash and dash say: {lines:?}");
            assert!(!given.exists(), "{lines:?}");
        }
    }

    #[test]
    fn a_command_that_reads_the_input_is_a_process_of_its_own() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let given = dir.path().join("given");
        let writes = kubectl_writes(&given);
        for manner in [Manner::File, Manner::Script] {
            let mut session = session_at(dir.path(), manner, &runtime);
            assert_eq!(play(&mut session, script(&[&writes, "exec -i web -- true"])), 0, "{manner:?}");
            assert_eq!(std::fs::read_to_string(&given).unwrap(), "exec -i web -- true\n");
            std::fs::remove_file(&given).unwrap();
        }
        // A manifest of the file is no line for the shell.
        let mut session = session_at(dir.path(), Manner::File, &runtime);
        let manifest = format!("echo > {}", given.display());
        assert_eq!(play(&mut session, script(&["delete -i -f -", &manifest, "EOF"])), 1);
        assert!(!given.exists());
    }

    #[test]
    fn a_plain_line_of_kubectl_has_the_variables_that_the_shell_exports() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let config = dir.path().join("jane");
        let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
        let export = format!("export KUBECONFIG={}", config.display());
        assert_eq!(play(&mut session, script(&[&export, "config set-context jane"])), 0);
        assert!(std::fs::read_to_string(&config).unwrap().contains("jane"));
        let own = session.place.kubeconfig();
        assert!(!own.exists());
        std::fs::create_dir_all(own.parent().unwrap()).unwrap();
        let back = format!("KUBECONFIG={}", own.display());
        assert_eq!(play(&mut session, script(&[&back, "config set-context main"])), 0);
        assert!(std::fs::read_to_string(&own).unwrap().contains("main"));
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
        while let Some((line, _)) = script.take() {
            all.push(line);
        }
        assert_eq!(all, ["a", "b", "c"]);
    }

    /// The command would get U+FFFD, and do its work under another name.
    #[test]
    fn a_line_that_is_not_utf_8_is_not_run() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let next = dir.path().join("next");
        let beyond = format!("echo > {}", next.display());
        let file = dir.path().join("caf").display().to_string();
        let refused = [format!("echo > {file}").as_bytes(), b"\xe9"].concat();
        for (before, code, goes_on) in [("true", 0, true), ("set -e", 1, false)] {
            let mut session = session_at(dir.path(), Manner::Pipe, &runtime);
            let lines: [&[u8]; 4] = [b"# caf\xe9", before.as_bytes(), &refused, beyond.as_bytes()];
            let lines = lines.into_iter().map(<[u8]>::to_vec).collect();
            assert_eq!(play(&mut session, Script { lines, pipe: false }), code, "{before}");
            assert_eq!(next.exists(), goes_on, "{before}");
            let _ = std::fs::remove_file(&next); // it is there in one of the cases
        }
        assert!(!dir.path().join("caf\u{fffd}").exists(), "a file with another name");
        assert!(!matters("# caf\u{fffd}") && !matters("get pods # caf\u{fffd}"));
        assert!(matters("cat <<EOF\n# caf\u{fffd}\nEOF") && matters("get pods caf\u{fffd}"));
    }

    #[test]
    fn a_line_of_a_manifest_that_is_not_utf_8_is_told_from_others() {
        let lines = [&b"name: caf\xc3\xa9\n"[..], b"name: caf\xe9\r\n"];
        let mut script = Script { lines: lines.into_iter().map(<[u8]>::to_vec).collect(), pipe: false };
        assert!(matches!(script.more(), Given::Text(text) if text == "name: caf\u{e9}"));
        assert!(matches!(script.more(), Given::NotUtf8));
        assert!(matches!(script.more(), Given::End));
    }
}
