//! Runs commands of this program, in a process of their own or in the shell.

use super::beside::names_other;
use super::{Manner, Session};
use crate::dialect::quote;
use crate::exit;
use crate::lesson;
use crate::line::{begins_with_own_word, split_negation, with_prefix};
use crate::settings::{self, LANG_VARIABLE, LAST_VARIABLE};
use crate::shell::Shell;
use crate::terminal::Unedited;
use crate::texts::Say;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

impl Session {
    /// Runs a command of this program, and returns its exit code.
    pub(super) fn run_own_command(&mut self, args: &[String]) -> i32 {
        if let Some(code) = self.fault_shell(args) {
            return code;
        }
        if opens_session(args) {
            let say = |what| self.say(what, &[]);
            self.complain(&say(Say::Nested), None, Some(&say(Say::NestedTry)));
            return 1;
        }
        if needs_cluster(args, &self.place.name) && !self.check_alive() {
            return 1;
        }
        if let Some(code) = self.lab_beside(args) {
            return code;
        }
        self.follow_shell();
        if let Some(code) = self.own_by_shell(args) {
            self.after_lab(args, code);
            return code;
        }
        let mut command = match self.own_command(args) {
            Ok(command) => command,
            Err(code) => return code,
        };
        if self.manner == Manner::Pipe {
            command.stdin(Stdio::null());
        }
        // It may ask a question, which news would overwrite, and whose answer is a line.
        self.news.hold();
        let edited = self.unedited.as_ref().map(Unedited::edited);
        let mask = self.umask_of_shell();
        let ended = command.status();
        drop((edited, mask));
        self.news.release();
        match ended {
            Ok(status) => {
                let code = exit::code(status);
                self.after_lab(args, code);
                code
            }
            Err(error) => {
                self.complain(&self.say(Say::Unreadable, &[&error.to_string()]), None, None);
                126
            }
        }
    }

    /// Returns the process of a command of this program. `etcdctl` has the variables that the shell
    /// exports: `ETCDCTL_ENDPOINTS` and the like. The other commands have those of this program, as
    /// `ROPEWALK_LEARNER`; they also run if the shell does not tell its variables.
    ///
    /// # Errors
    /// Those of [`Session::exports`].
    fn own_command(&mut self, args: &[String]) -> Result<Command, i32> {
        let mut command = Command::new("/proc/self/exe");
        if args.first().is_some_and(|word| word == "etcdctl")
            && let Some(exports) = self.exports()?
        {
            command.env_clear().envs(exports);
        } else if let Some(exports) = self.shell.as_mut().and_then(Shell::exports) {
            command.envs(exports.iter().filter(|(name, _)| name.starts_with("ROPEWALK_")));
        }
        command.arg0("ropewalk").args(args).env("ROPEWALK_HOME", self.place.home.path());
        command.env(LANG_VARIABLE, lesson::tag(self.lang()));
        if let Some(before) = self.line_before.as_ref().and_then(settings::last) {
            command.env(LAST_VARIABLE, before);
        }
        Ok(command)
    }

    /// Puts in front of this program in a line of the shell what it is to know of the session: its
    /// language, and at the beginning of the line the line before.
    pub(super) fn with_session(&self, text: String) -> String {
        let lang = lesson::tag(self.lang());
        let text = with_prefix(&text, &format!("{LANG_VARIABLE}={lang} "));
        if !begins_with_own_word(&text) {
            return text;
        }
        let before = self.line_before.as_ref().and_then(settings::last);
        let before = before.map(|before| format!("{LAST_VARIABLE}={} ", quote(&before)));
        let (negation, command) = split_negation(&text);
        format!("{negation}{LANG_VARIABLE}={lang} {}{command}", before.unwrap_or_default())
    }
}

/// True for a command that can do nothing without the cluster of this name.
fn needs_cluster(args: &[String], name: &str) -> bool {
    let asks = ["drill", "etcdctl", "fault", "lab", "redo", "rewind", "status", "trace", "undo", "why"];
    let is_help = args.iter().any(|word| matches!(word.as_str(), "-h" | "--help"));
    args.first().is_some_and(|word| asks.contains(&word.as_str())) && !is_help && !names_other(args, name)
}

/// True for arguments with which this program opens a session, which would take the terminal of
/// this one: `repl`, `learn`, or nothing but options.
fn opens_session(args: &[String]) -> bool {
    let is_help = |word: &str| matches!(word, "-h" | "--help" | "-V" | "--version");
    let mut words = args.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--api-port" | "--lang" | "--name" => {
                words.next();
            }
            "repl" | "learn" => return !args.iter().any(|word| is_help(word)),
            word if !word.starts_with('-') || is_help(word) => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, play};
    use crate::texts::Lang;
    use cluster::Home;
    use std::ffi::OsStr;

    fn script(lines: &[&str]) -> Script {
        Script::of(lines.iter().map(ToString::to_string))
    }

    #[test]
    fn a_command_for_another_cluster_does_not_need_this_one() {
        let needs =
            |line: &str| needs_cluster(&line.split(' ').map(String::from).collect::<Vec<_>>(), "main");
        for line in ["status --name main", "undo", "fault --name=main list"] {
            assert!(needs(line), "{line}");
        }
        for line in ["status --name two", "undo --name=two", "lab --help", "what pod", "--help"] {
            assert!(!needs(line), "{line}");
        }
    }

    #[test]
    fn no_session_is_opened_inside_of_this_one() {
        let opens =
            |line: &str| opens_session(&line.split_whitespace().map(String::from).collect::<Vec<_>>());
        for line in ["", "repl", "learn first-voyage/04", "--plain", "--name two", "--lang ko --ascii"] {
            assert!(opens(line), "{line}");
        }
        for line in ["status", "--lang ko status", "--help", "--version", "learn --help", "what repl"] {
            assert!(!opens(line), "{line}");
        }
    }

    #[test]
    fn etcdctl_has_the_variables_that_the_shell_exports() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let export = "export ETCDCTL_ENDPOINTS=https://other:2379 ROPEWALK_HOME=/other";
        assert_eq!(play(&mut session, script(&[export])), 0);
        let command = session.own_command(&words(&["etcdctl", "del", "a"])).unwrap();
        let value = |name: &str| command.get_envs().find(|(n, _)| *n == name).and_then(|(_, value)| value);
        assert_eq!(value("ETCDCTL_ENDPOINTS"), Some(OsStr::new("https://other:2379")));
        assert_eq!(value("ROPEWALK_HOME"), Some(dir.path().as_os_str()), "the session's own");
        assert_eq!(play(&mut session, script(&["PATH=/none"])), 0);
        assert_eq!(session.own_command(&words(&["etcdctl", "del", "a"])).err(), Some(1));
        assert!(session.own_command(&words(&["status"])).is_ok());
    }

    /// `lab grade` writes the learner's name into a signed record.
    #[test]
    fn a_command_has_this_programs_variables_of_the_shell() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let export = "export ROPEWALK_LEARNER=kim ROPEWALK_HOME=/other KUBECONFIG=/jane";
        assert_eq!(play(&mut session, script(&[export])), 0);
        let command = session.own_command(&["lab", "grade"].map(String::from)).unwrap();
        let value = |name: &str| command.get_envs().find(|(n, _)| *n == name).and_then(|(_, value)| value);
        assert_eq!(value("ROPEWALK_LEARNER"), Some(OsStr::new("kim")));
        assert_eq!(value("ROPEWALK_HOME"), Some(dir.path().as_os_str()), "the session's own");
        assert_eq!(value("KUBECONFIG"), None, "a command names its cluster");
    }

    #[test]
    fn a_word_behind_another_command_runs() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let told = dir.path().join("told");
        // In the place of this program, a function that writes its arguments.
        let own = format!("ropewalk() {{ echo \"$*\" >> {}; }}", told.display());
        assert_eq!(play(&mut session, script(&[own.as_str(), "true; undo 2", "false || why"])), 0);
        assert_eq!(std::fs::read_to_string(&told).unwrap(), "undo --name main 2\nwhy --name main\n");
        assert_eq!(play(&mut session, script(&["true && hint"])), 127);
    }

    #[test]
    fn a_word_in_the_shell_knows_the_language_and_the_line_before() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::Ko, Manner::Pipe, runtime.handle().clone());
        let told = dir.path().join("told");
        // In the place of this program, a function that writes its arguments.
        let own = format!(
            "ropewalk() {{ echo \"$ROPEWALK_LANG $ROPEWALK_LAST $ROPEWALK_HOME\" > {}; }}",
            told.display()
        );
        let lines = [own.as_str(), "(exit 3) # it's", "why | cat", "why | cat"];
        assert_eq!(play(&mut session, script(&lines)), 0);
        let expected = format!("ko {{\"line\":\"(exit 3) # it's\",\"code\":3}} {}\n", dir.path().display());
        assert_eq!(std::fs::read_to_string(&told).unwrap(), expected);
        // A variable stands behind the shell's own word.
        let negated = session.with_session("! ropewalk why".into());
        assert!(negated.starts_with("! ROPEWALK_LANG=ko ROPEWALK_LAST="), "{negated}");
        assert!(negated.ends_with(" ropewalk why"), "{negated}");
        let later = session.with_session("ls 'a; ropewalk'; ropewalk why".into());
        assert_eq!(later, "ls 'a; ropewalk'; ROPEWALK_LANG=ko ropewalk why");
    }
}
