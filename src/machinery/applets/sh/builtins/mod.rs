//! Commands that must run inside the shell, because they change it, and a few that run here for
//! speed.

mod control;
pub(super) mod escapes;
mod getopts;
mod limits;
mod look_up;
mod numbers;
mod output;
mod process;
mod read;
pub(super) mod test;
mod variables;

use super::{Flow, Run, Shell};

/// Special in the sense of POSIX: an error in one ends a script, assignments before one stay. POSIX
/// has no `local`; dash and busybox make it special.
const SPECIAL: [&str; 16] = [
    ":", ".", "break", "continue", "eval", "exec", "exit", "export", "local", "readonly", "return", "set",
    "shift", "times", "trap", "unset",
];

const REGULAR: [&str; 23] = [
    "[", "alias", "cd", "command", "echo", "false", "getopts", "hash", "jobs", "kill", "printf", "pwd",
    "read", "source", "test", "true", "type", "ulimit", "umask", "unalias", "wait", "bg", "fg",
];

pub(super) fn is_special(name: &str) -> bool {
    SPECIAL.contains(&name)
}

pub(super) fn is_builtin(name: &str) -> bool {
    is_special(name) || REGULAR.contains(&name)
}

impl Shell {
    /// Runs `argv`, whose first word is a builtin's name.
    pub(super) fn dispatch_builtin(&mut self, argv: &[String]) -> Run {
        let Some((name, args)) = argv.split_first() else { return Ok(0) };
        match name.as_str() {
            ":" | "true" => Ok(0),
            "false" => Ok(1),
            "echo" => self.echo(args),
            "printf" => self.printf(args),
            "test" => self.test(args, false),
            "[" => self.test(args, true),
            "cd" => self.cd(args),
            "pwd" => self.pwd(args),
            "exit" => Err(Flow::Exit(match (args, self.before_trap) {
                ([], Some(status)) => status,
                _ => self.status_argument(args)?,
            })),
            "return" => Err(Flow::Return(self.status_argument(args)?)),
            "break" | "continue" => self.jump(name == "break", args),
            "shift" => self.shift(args),
            "set" => self.set_builtin(args),
            "unset" => self.unset_builtin(args),
            "export" | "readonly" | "local" => self.declare(name, args),
            "eval" => self.run_text(&args.join(" "), false),
            "." | "source" => self.dot(args),
            "exec" => self.exec_builtin(args),
            "trap" => self.trap_builtin(args),
            "wait" => self.wait_command(args),
            "kill" => self.kill(args),
            "jobs" => self.jobs_builtin(args),
            "read" => self.read_builtin(args),
            "getopts" => self.getopts(args),
            "umask" => self.umask(args),
            "ulimit" => self.ulimit(args),
            "times" => self.times(),
            "command" => self.command_builtin(args),
            "type" => self.type_builtin(args),
            "hash" => self.hash(args),
            _ => {
                self.print_error(format_args!("{name}: not implemented by this shell"));
                Ok(2)
            }
        }
    }

    /// Complains as `name` and returns 2.
    fn report_misuse(&self, name: &str, what: impl std::fmt::Display) -> Run {
        self.print_error(format_args!("{name}: {what}"));
        Ok(2)
    }
}
