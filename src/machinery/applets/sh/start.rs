//! How a shell begins: arguments, environment, signals.

use super::{Shell, expand};
use linux::fork::Alone;
use linux::script_fds;
use linux::trap::{self, Action};
use std::ffi::OsString;
use std::io;

/// The default of `$PATH`, and where `command -p` looks.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where commands come from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Text(String),
    File(String),
    Stdin,
}

/// What the arguments say.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    source: Source,
    /// `$0`.
    name: String,
    /// `$1` and so on.
    args: Vec<String>,
    interactive: bool,
    /// Letters that `set` knows, and names after `-o`.
    letters: Vec<(char, bool)>,
    options: Vec<(String, bool)>,
}

fn parse(argv: &[String]) -> Result<Call, String> {
    let (name, mut rest) = match argv {
        [name, rest @ ..] => (name.clone(), rest),
        [] => ("sh".to_string(), argv),
    };
    let (mut text, mut stdin, mut interactive) = (false, false, false);
    let (mut letters, mut options) = (Vec::new(), Vec::new());
    while let [word, more @ ..] = rest {
        let on = word.starts_with('-');
        if word == "-" {
            // `-` ends the options. Without a file behind it, commands come from standard input.
            rest = more;
            break;
        }
        if word.len() < 2 || !(on || word.starts_with('+')) {
            break;
        }
        rest = more;
        if word == "--" {
            break;
        }
        for letter in word[1..].chars() {
            match letter {
                'c' => text = true,
                's' => stdin = true,
                'i' => interactive = true,
                'l' => {}
                'o' => match rest {
                    [option, more @ ..] => {
                        options.push((option.clone(), on));
                        rest = more;
                    }
                    [] => return Err("-o requires an argument".into()),
                },
                '-' => return Err(format!("bad option {word}")),
                _ => letters.push((letter, on)),
            }
        }
    }
    let call = |source, name, args: &[String]| Call {
        source,
        name,
        args: args.to_vec(),
        interactive,
        letters: letters.clone(),
        options: options.clone(),
    };
    match rest {
        [] if text => Err("-c requires an argument".into()),
        [command, zero, args @ ..] if text => Ok(call(Source::Text(command.clone()), zero.clone(), args)),
        [command, args @ ..] if text => Ok(call(Source::Text(command.clone()), name, args)),
        [file, args @ ..] if !stdin => Ok(call(Source::File(file.clone()), file.clone(), args)),
        args => Ok(call(Source::Stdin, name, args)),
    }
}

/// `sh [-ceinsux] [-o OPTION] [TEXT | FILE] [ARGUMENT]…`
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let argv: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let own_name = argv.first().cloned().unwrap_or_else(|| "sh".into());
    let complain = |what: String| {
        super::write_stderr(&format!("{own_name}: {what}\n"));
        2
    };
    let call = match parse(&argv) {
        Ok(call) => call,
        Err(e) => return complain(e),
    };
    let alone = match Alone::check() {
        Ok(alone) => alone,
        Err(_) => return complain("cannot run in a program with threads".into()),
    };
    let mut shell = Shell::new(alone, call.name.clone());
    shell.args = call.args;
    if let Err(e) = shell.prepare(&call.letters, &call.options) {
        return complain(e);
    }
    let result = match call.source {
        // As dash does it, `-v` does not show what the arguments say.
        Source::Text(text) => shell.run_text(&text, true),
        Source::File(path) => match std::fs::read(&path) {
            Ok(bytes) => shell.run_file(&String::from_utf8_lossy(&bytes)),
            Err(e) => {
                complain(format!("can't open '{path}': {}", super::reason(&e)));
                return if e.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            }
        },
        Source::Stdin => {
            if call.interactive || (script_fds::is_terminal(0) && script_fds::is_terminal(2)) {
                shell.become_interactive();
            }
            shell.read_commands()
        }
    };
    shell.finish(result)
}

impl Shell {
    /// Says why `set -m` has no effect: dash's words without a terminal, ours with one.
    pub(super) fn no_job_control(&self) -> &'static str {
        match (0..=2).any(script_fds::is_terminal) {
            true => "this shell has no job control; job control turned off",
            false => "can't access tty; job control turned off",
        }
    }

    fn prepare(&mut self, letters: &[(char, bool)], options: &[(String, bool)]) -> Result<(), String> {
        // Rust's runtime ignores SIGPIPE; a shell and its children do not.
        let _ = trap::set(libc::SIGPIPE, Action::Default);
        self.ignored = (1..32).filter(|signal| trap::is_ignored(*signal)).collect();
        let _ = trap::set(libc::SIGCHLD, Action::Note);
        for (name, value) in std::env::vars_os() {
            self.state.import_variable(name, value);
        }
        let default_prompt = "\\w \\$ ".to_string();
        for (name, value) in [
            ("PATH", PATH.to_string()),
            ("PS1", default_prompt),
            ("PS2", "> ".to_string()),
            ("PS4", "+ ".to_string()),
        ] {
            if self.state.get(name).is_none() {
                let _ = self.state.set(name, value);
            }
        }
        let _ = self.state.set("IFS", expand::IFS.to_string()); // the environment's is ignored
        let _ = self.state.set("OPTIND", "1".to_string());
        let _ = self.state.set("PPID", nix::unistd::getppid().to_string());
        if let Ok(directory) = std::env::current_dir() {
            // A PWD from outside that leads here is kept: it may know links that the kernel does
            // not.
            let known = self.state.get("PWD").filter(|pwd| {
                pwd.starts_with('/') && std::fs::canonicalize(pwd).is_ok_and(|real| real == directory)
            });
            let directory = known.map_or_else(|| directory.to_string_lossy().into_owned(), str::to_string);
            self.directory.clone_from(&directory);
            let _ = self.state.set("PWD", directory);
            self.state.mark_variable("PWD", |v| v.exported = true);
        }
        for (letter, on) in letters {
            if !self.state.set_flag(*letter, *on) {
                return Err(format!("illegal option -{letter}"));
            }
        }
        for (name, on) in options {
            if !self.state.set_option(name, *on) {
                return Err(format!("illegal option -o {name}"));
            }
        }
        if self.state.refuse_monitor() {
            self.print_error(self.no_job_control());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Call, String> {
        parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read_as_posix_says() {
        let text = call("sh -ec exit zero one two").unwrap();
        assert_eq!((text.source, text.name.as_str()), (Source::Text("exit".into()), "zero"));
        assert_eq!((text.args, text.letters), (vec!["one".into(), "two".into()], vec![('e', true)]));
        let file = call("sh -o pipefail ./script x").unwrap();
        assert_eq!(
            (file.source, file.options),
            (Source::File("./script".into()), vec![("pipefail".into(), true)])
        );
        assert_eq!(call("sh -s a").unwrap().source, Source::Stdin);
        assert_eq!(call("sh -").unwrap().source, Source::Stdin);
        assert_eq!(call("sh - script").unwrap().source, Source::File("script".into()));
        assert_eq!(call("sh -c"), Err("-c requires an argument".into()));
        assert_eq!(call("sh --rcfile x").unwrap_err(), "bad option --rcfile");
    }
}
