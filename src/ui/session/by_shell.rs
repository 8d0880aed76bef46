//! Lines of kubectl and of this program that the shell runs, because this process would run them
//! differently: after `exec > log` the log would lack what they print.

use super::Session;
use crate::commands::{self, Input, is_stream};
use crate::dialect::quote;
use crate::shell::{Shell, Variables};
use client::kubeconfig::{Env, Kubeconfig};
use std::path::Path;

impl Session {
    fn is_redirected(&self) -> bool {
        self.shell.as_ref().is_some_and(Shell::is_redirected)
    }

    /// Runs a line of kubectl in the shell if that has another output, or another time zone that
    /// the line tells times in, or if the line may read for ever. `None`: the built-in kubectl is
    /// to run.
    pub(super) fn kubectl_by_shell(
        &mut self,
        args: &[String],
        input: &Input,
        exports: Option<&Variables>,
    ) -> Option<i32> {
        let env = commands::environment(&self.place, exports);
        let may_wait = names_stream(args) || has_stream_for_kubeconfig(&env);
        if !self.is_redirected() && !tells_other_times(args, exports) && !may_wait {
            return None;
        }
        // Not a function or an alias of that name: at this prompt the line is kubectl's.
        let command = in_words("command kubectl", args);
        let line = match input {
            Input::Text(text) => format!("command printf %s {} | {command}", quote(text)),
            Input::Keyboard | Input::Stdin | Input::Nothing => command,
        };
        Some(self.in_shell(&line))
    }

    /// Runs a command of this program in the shell if that has another output.
    pub(super) fn own_by_shell(&mut self, args: &[String]) -> Option<i32> {
        if !self.is_redirected() {
            return None;
        }
        let line = self.with_session(in_words("ropewalk", args));
        Some(self.in_shell(&line))
    }
}

/// True for `describe`, which tells local times, where the shell exports another time zone than
/// this process has: a process has one for all of its threads.
fn tells_other_times(args: &[String], exports: Option<&Variables>) -> bool {
    let own = std::env::var("TZ").ok();
    let is_other = exports.is_some_and(|exports| exports.get("TZ") != own.as_ref());
    is_other && args.iter().any(|arg| arg == "describe")
}

/// True for a line that names a pipe, a socket or a device, for example as the file of a manifest.
fn names_stream(args: &[String]) -> bool {
    let own = args.iter().take_while(|arg| *arg != "--");
    let mut paths = own.flat_map(|arg| arg.strip_prefix("-f").unwrap_or(arg).split(['=', ',']));
    paths.any(|path| is_stream(Path::new(path)))
}

/// True if kubectl reads a kubeconfig from a pipe or the like: `export KUBECONFIG=/dev/stdin`.
fn has_stream_for_kubeconfig(env: &Env) -> bool {
    Kubeconfig::files_of(env).iter().any(|file| is_stream(file))
}

/// Returns a line of the shell that runs a program with these arguments.
fn in_words(program: &str, args: &[String]) -> String {
    let quoted = args.iter().map(|arg| quote(arg));
    std::iter::once(program.to_string()).chain(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, play};
    use crate::session::Manner;
    use crate::texts::Lang;
    use cluster::Home;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn local_times_are_those_of_the_shell() {
        let tells = |line: &str, zone: Option<String>| {
            let exports = zone.map(|zone| ("TZ".to_string(), zone)).into_iter().collect();
            let args: Vec<String> = line.split(' ').map(String::from).collect();
            tells_other_times(&args, Some(&exports))
        };
        let other = Some("Asia/Pyongyang".to_string());
        assert!(tells("describe node a", other.clone()) && tells("-n b describe pod a", other.clone()));
        assert!(!tells("get pods", other) && !tells("describe node a", std::env::var("TZ").ok()));
        assert!(!tells_other_times(&["describe".into()], None), "there is no shell");
    }

    #[test]
    fn a_pipe_is_not_read_where_nothing_ends_that() {
        let dir = tempfile::tempdir().unwrap();
        let [pipe, file] = ["pipe", "file"].map(|name| dir.path().join(name).display().to_string());
        nix::unistd::mkfifo(pipe.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(&file, "").unwrap();
        let may = |line: String| names_stream(&line.split(' ').map(String::from).collect::<Vec<_>>());
        for line in ["apply -f ", "apply -f", "apply --filename=x,", "create cm a --from-file=key="] {
            assert!(may(format!("{line}{pipe}")) && !may(format!("{line}{file}")), "{line}");
        }
        assert!(may("apply -f /dev/zero".into()) && !may("apply -f .".into()));
        assert!(!may(format!("exec web -- cat {pipe}")), "a file of the container's");
        let exported = |named: String| {
            let vars = [("KUBECONFIG".to_string(), named)].into();
            has_stream_for_kubeconfig(&Env { vars, ..Env::default() })
        };
        assert!(exported(format!("{file}:{pipe}")) && !exported(file));
    }

    /// `exec > log` at the beginning of a script keeps all that it prints (POSIX, XCU 2.15,
    /// `exec`).
    #[test]
    fn a_log_of_a_script_has_what_kubectl_and_this_program_print() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let (bin, log) = (place.home.bin(), dir.path().join("log"));
        std::fs::create_dir_all(&bin).unwrap();
        let kubectl = bin.join("kubectl");
        std::fs::write(&kubectl, "#!/bin/sh\necho \"$*\"\n[ $1 = apply ] && cat\nexit 3\n").unwrap();
        std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut session = Session::new(place, Lang::En, Manner::File, runtime.handle().clone());
        let exec = format!("exec > {}", log.display());
        let lines = [
            // In the place of this program, a function that prints its words.
            "ropewalk() { echo \"own $*\"; }",
            "kubectl() { echo \"of the learner\"; }",
            exec.as_str(),
            "get pods -l 'a b'",
            "apply -f -",
            "it's: 1",
            "EOF",
            "echo $?",
            "status",
        ];
        assert_eq!(play(&mut session, Script::of(lines.iter().map(ToString::to_string))), 0);
        let told = std::fs::read_to_string(log).unwrap();
        assert_eq!(told, "get pods -l a b\napply -f -\nit's: 1\n3\nown status --name main\n");
    }
}
