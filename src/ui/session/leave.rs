//! The end of a session that is asked for at its prompt: `exit`, `quit`, Ctrl-D.

use super::{Flow, Manner, Session};
use crate::shell::Shell;
use crate::texts::Say;

impl Session {
    /// Runs `exit [CODE]` and `quit`. The last eight bits of a code count (POSIX, XCU 2.15,
    /// `exit`). With a word that is no number a script ends with 2, as in bash and dash: none of
    /// its lines behind that was to run.
    pub(super) fn exit(&mut self, code: Option<&str>) -> Flow {
        let at_terminal = self.manner == Manner::Terminal;
        let left_with = match code.map(|code| (code, code.parse::<i64>())) {
            None if at_terminal => 0,
            None => self.last,
            Some((_, Ok(number))) => (number & 0xff) as i32,
            Some((code, Err(_))) => {
                self.complain(&self.say(Say::BadExit, &[code]), None, None);
                self.last = 2;
                return if at_terminal { Flow::Next } else { Flow::Leave(2) };
            }
        };
        if self.stays() { Flow::Next } else { Flow::Leave(left_with) }
    }

    /// Ends the shell of a script with this code: a trap for EXIT finds it in `$?`, and may end
    /// with another one. Returns the code of the script.
    pub(crate) fn end_shell(&mut self, code: i32) -> i32 {
        if self.manner == Manner::Terminal || self.shell.is_none() || self.asked_to_end().is_some() {
            return code;
        }
        let ended = self.in_shell(&format!("exit {code}"));
        if self.cutoff.shell_lost { ended } else { code }
    }

    /// Returns whether a signal has ended the session.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.code.is_some()
    }

    /// Returns whether a session stays that a person wants to leave: its shell has stopped
    /// programs, e.g. an editor with a text that is not saved, which would end with it. Warns once;
    /// the second call, with no line in between, returns false. Source: bash(1), `exit`.
    pub(crate) fn stays(&mut self) -> bool {
        let stopped = self.shell.as_ref().map(Shell::stopped).unwrap_or_default();
        if self.manner != Manner::Terminal || stopped.is_empty() || self.line.warned_of_stopped {
            return false;
        }
        let tip = self.say(Say::StoppedTry, &[]);
        self.complain(&self.say(Say::Stopped, &[&stopped.join(", ")]), None, Some(&tip));
        self.line.warned_of_stopped = true;
        self.last = 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, play};
    use crate::texts::Lang;
    use cluster::Home;
    use std::path::Path;
    use tokio::runtime::Runtime;

    fn session(runtime: &Runtime, home: &Path, manner: Manner) -> Session {
        let _inside = runtime.enter();
        let place = Home::at(home).cluster("main").unwrap();
        Session::new(place, Lang::En, manner, runtime.handle().clone())
    }

    /// An editor that Ctrl-Z has stopped may have a text that is not saved.
    #[test]
    fn a_session_with_a_stopped_program_is_left_at_the_second_time() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path(), Manner::Pipe);
        assert_eq!(session.in_shell("sleep 900 & kill -STOP $!"), 0);
        let until = clock::Instant::now() + std::time::Duration::from_secs(60);
        while session.shell.as_ref().unwrap().stopped().is_empty() && clock::Instant::now() < until {
            std::thread::yield_now();
        }
        let run = |session: &mut Session, line: &str| session.run(line, &mut Script::of([]));
        assert_eq!(run(&mut session, "exit 3"), Flow::Leave(3), "a script is not asked");
        session.manner = Manner::Terminal;
        for line in ["quit", "map", "exit 3"] {
            assert_eq!(run(&mut session, line), Flow::Next, "{line}");
        }
        assert_eq!(run(&mut session, "exit 3"), Flow::Leave(3), "it was said");
        session.line.warned_of_stopped = false;
        assert!(session.stays() && !session.stays(), "Ctrl-D");
        session.manner = Manner::Pipe;
        assert_eq!(session.in_shell("kill -KILL $!"), 0);
    }

    #[test]
    fn a_script_ends_at_exit_whatever_its_code_is() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let next = dir.path().join("next");
        for (line, code) in [("exit abc", 2), ("exit 300", 44), ("exit -1", 255), ("exit", 5), ("quit", 5)] {
            let mut session = session(&runtime, dir.path(), Manner::File);
            let lines = ["(exit 5)".to_string(), line.into(), format!("echo > {}", next.display())];
            assert_eq!(play(&mut session, Script::of(lines)), code, "{line}");
            assert!(!next.exists(), "{line}");
        }
        let mut session = session(&runtime, dir.path(), Manner::Terminal);
        assert_eq!(session.run("exit abc", &mut Script::of([])), Flow::Next, "a person may correct it");
        assert_eq!(session.run("exit -1", &mut Script::of([])), Flow::Leave(255));
        // It has the code of what Ctrl-C ends, and no signal has come: a farewell follows.
        assert_eq!(session.run("exit 130", &mut Script::of([])), Flow::Leave(130));
        assert!(!session.is_ended());
    }
}
