//! Builds the commands with which a shell runs the learner's lines and reports how each ended.
//! Pure.
//!
//! The shell reads commands from a pipe, so nothing is echoed and nothing that a program leaves
//! unread on the terminal is taken for a command. Each line is an `eval` whose standard input and
//! error are the terminal (descriptors 7 and 8). The shell's own prompt, which it prints whenever
//! it is ready for the next command, even after Ctrl-C or a syntax error, is the report: it carries
//! the line's number and the exit code, and goes to a pipe of its own. Shells without a terminal
//! print no prompt; a function writes the same report to descriptor 8. Scripts lock files with
//! descriptor 9 (flock(1)), so it is left to them. dash takes no number above 9 for one.
//!
//! The exit code is kept inside of the `eval`, which therefore succeeds. `set -e` and a trap for
//! ERR count each failure in the line itself, except those that the shell excuses, e.g. `test -f x`
//! in `test -f x && cat x`. An `eval` that returned the code would be one more failure, and never
//! excused.
//!
//! The prompt belongs to the learner, too: a line may set it, or install a hook that sets it. So
//! each line begins and ends with a new prompt without hooks, and a line that is not reported is
//! asked about by a command of its own ([`question`]), which the shell reads once it is ready. That
//! may give two reports of a line; by their number the second one is known.

mod program;
mod report;

pub(crate) use report::{report, told_beside};

use super::line::unfinished;
use report::FIXED;
use std::path::Path;

/// A function that writes the variables that the shell exports into the file named. A program that
/// the shell starts has them in `/proc/self/environ` whatever their values are; `export -p` quotes
/// them as each shell likes. `>|` also writes with `set -C`. The redirection stands in the
/// subshell: a shell that waits for a program may tell of its jobs then, which is for the learner.
const EXPORTS: &str =
    "__ropewalk_exports() { ( { exec cat /proc/self/environ >|\"$1\"; } 2>/dev/null ) || :; }; ";

/// Stands behind a line in its `eval` and keeps the line's exit code, and the last word of its last
/// command, for `$_` in the next line. dash may have none: after `set -u` it would end. The
/// redirection keeps it out of the trace of `set -x`.
const KEEP_CODE: &str = "\n{ __ropewalk_code=$? __ropewalk_last=${_-}; } 2>/dev/null";

/// The exit code of a line: what [`KEEP_CODE`] has kept, else that of the `eval`, which has failed
/// or was interrupted.
const KEPT: &str = "\"${__ropewalk_code:-$?}\"";

/// Ends the shell of a script where it has refused a line, as it does without an `eval`: bash at a
/// syntax error, zsh and ksh also at a variable that is not set (POSIX, XCU 2.8.1). dash and ash
/// end there by themselves.
const END_IF_REFUSED: &str = "case ${__ropewalk_code-refused} in refused) exit;; esac; ";

/// Gives up the line that runs when Ctrl-C is pressed in a shell without a prompt: an error in the
/// trap ends the `command eval` around the line, and not the shell.
const CUT_OFF: &str = "trap '{ __ropewalk_code=130; : ${__ropewalk_cut?}; } 2>/dev/null' INT; ";

/// Makes zsh report its jobs before its next prompt, because the session's prompt stands on the
/// terminal until then. While a job is stopped, zsh reports at once instead: it would repeat the
/// notice of a job that was stopped in an `eval` before each of its prompts.
const TELL_OF_JOBS: &str = "if [[ \" ${(j: :)jobstates-}\" == *\" suspended:\"* ]]; \
                            then setopt notify; else unsetopt notify; fi; ";

/// The shells that differ in what the session needs of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Bash,
    Zsh,
    /// The ash of busybox. With `-i` it reads commands through its line editor, which prints the
    /// prompt among the output of programs, and takes the end of a program in the background for
    /// the end of its input. So at a terminal it has job control, and no prompt.
    Busybox,
    /// dash, ksh and whatever else keeps to POSIX.
    Posix,
}

impl Dialect {
    /// Returns the dialect of a shell by the program's name; `None` for shells with another grammar
    /// (fish, tcsh, nu).
    pub(crate) fn of(shell: &Path) -> Option<Dialect> {
        match shell.file_name()?.to_str()? {
            "bash" => Some(Dialect::Bash),
            "zsh" => Some(Dialect::Zsh),
            "busybox" => Some(Dialect::Busybox),
            "sh" | "dash" | "ash" | "ksh" | "mksh" => Some(Dialect::Posix),
            _ => None,
        }
    }

    /// Returns the arguments with which it reads commands from standard input.
    pub(crate) fn arguments(self, terminal: bool, start_files: bool) -> &'static [&'static str] {
        match (self, terminal, start_files) {
            (Dialect::Bash, true, true) => &["--noediting", "-i", "+o", "history"],
            (Dialect::Bash, true, false) => &["--noediting", "--norc", "-i", "+o", "history"],
            (Dialect::Bash, false, _) => &["--noprofile", "--norc"],
            (Dialect::Zsh, true, true) => &["-i", "+o", "zle", "-o", "shinstdin", "-o", "histignorespace"],
            (Dialect::Zsh, true, false) => {
                &["-f", "-i", "+o", "zle", "-o", "shinstdin", "-o", "histignorespace"]
            }
            (Dialect::Zsh, false, _) => &["-f", "-s"],
            (Dialect::Busybox, true, _) => &["-m", "-s"],
            (Dialect::Posix, true, _) => &["-i"],
            (Dialect::Busybox | Dialect::Posix, false, _) => &["-s"],
        }
    }

    /// Returns the first commands: the report, then what the learner's lines rely on. Several
    /// lines, because a function named like an alias can only be defined on a line after the alias
    /// went. They are reported as line 0.
    pub(crate) fn preparation(self, surroundings: &Surroundings<'_>, token: &str, terminal: bool) -> String {
        let own = match self {
            Dialect::Bash => "set +H 2>/dev/null; shopt -s expand_aliases; ",
            Dialect::Zsh => "setopt interactivecomments; unsetopt prompt_sp prompt_cr 2>/dev/null; ",
            Dialect::Busybox if terminal => CUT_OFF,
            Dialect::Busybox | Dialect::Posix => "",
        };
        let Surroundings { program, cluster, home, kubeconfig, bin, spare } = surroundings;
        let [program, home, kubeconfig, bin, spare] =
            [program, home, kubeconfig, bin, spare].map(|path| quote(&path.to_string_lossy()));
        let own_program = program::function(&program, &quote(cluster));
        let functions = self.functions(token, terminal);
        // With `set -o vi` in a start file bash reads our commands with its line editor, although
        // options forbid it: a tab in a line would ask for completion. The hooks of zsh are given
        // each command, e.g. for the title of the window, and so is what start files have bash run
        // for DEBUG.
        let first = match (self, terminal) {
            (Dialect::Bash, true) => {
                "set +o emacs 2>/dev/null; set +o vi 2>/dev/null; \
                 unset -v PROMPT_COMMAND 2>/dev/null || :; trap - DEBUG\n"
            }
            (Dialect::Zsh, true) => " preexec_functions=(); unset -f preexec 2>/dev/null\n",
            _ => "",
        };
        // With TMOUT the shell would end while it waits for the next line. By the address of
        // another cluster's API server kubectl knows that it runs in a pod there, and takes the
        // namespace of that pod. A subshell tries first whether they are read-only: a failed
        // `unset` may give up the commands behind it.
        format!(
            "{first} unalias k kubectl ropewalk 2>/dev/null; unset HISTFILE; PS2=\n \
             (unset TMOUT) 2>/dev/null && unset TMOUT; \
             (unset KUBERNETES_SERVICE_HOST) 2>/dev/null && unset KUBERNETES_SERVICE_HOST\n \
             {own}export ROPEWALK_HOME={home}; export KUBECONFIG={kubeconfig}; \
             export PATH={bin}:\"$PATH\":{spare}; \
             k() {{ kubectl \"$@\"; }}; {own_program}{functions}__ropewalk 0 0\n"
        )
    }

    /// Returns the functions of [`Dialect::order`] and [`question`]. Each is called with an exit
    /// code and the number of a line; `__ropewalk_begin` returns the code, so that `$?` is that in
    /// the line. None of their commands may fail: after the learner's `set -e` that would end the
    /// shell. Their trace of `set -x` goes to /dev/null.
    fn functions(self, token: &str, terminal: bool) -> String {
        let report = format!("command printf '[{token}:%s:%s]' \"$2\" \"$1\"");
        let begin = "unset -v __ropewalk_code || :; return \"$1\"";
        if !terminal || self == Dialect::Busybox {
            let (to, kept) = if terminal { (3, "3>&2 ") } else { (8, "") };
            return format!(
                "__ropewalk_begin() {{ {{ {begin}; }} 2>/dev/null; }}; \
                 __ropewalk() {{ {{ __ropewalk_code=$1; {report} >&{to}; }} {kept}2>/dev/null; }}; \
                 __ropewalk_again() {{ __ropewalk \"$@\"; }}; {EXPORTS}"
            );
        }
        // What would replace the prompt, or print it unexpanded, is undone. In zsh both the
        // function `precmd` and those that the array names run before each prompt, and `preexec`
        // before each of our commands (zshmisc(1), hook functions); bash 5.1 knows PROMPT_COMMAND
        // as an array, and bash 4.4 prints PS0 behind each of our commands.
        //
        // An assignment to a read-only PS1 would give up the whole order, the learner's line in it.
        // So the attribute is asked for, or a subshell tries it first: not in bash, which would
        // tell of its jobs when the subshell ends, where it is lost. If PS1 cannot be set, the
        // function itself reports the line.
        let prompt = match self {
            Dialect::Zsh => format!(
                "precmd_functions=(); preexec_functions=(); unset -f precmd preexec 2>/dev/null || :; \
                 setopt prompt_percent; {TELL_OF_JOBS}\
                 [[ ${{(t)PS1}} != *readonly* ]] && PS1=\"[{token}:$1:$2]\""
            ),
            Dialect::Bash => format!(
                "unset -v PROMPT_COMMAND PS0 2>/dev/null || :; shopt -s promptvars; \
                 if [[ ${{PS1+x}} ]] && ((BASH_VERSINFO > 4)); then [[ ${{PS1@a}} != *r* ]]; else (PS1=); fi \
                 && PS1=\"[{token}:$1:$2]\""
            ),
            Dialect::Busybox | Dialect::Posix => format!("(PS1=) && PS1=\"[{token}:$1:$2]\""),
        };
        // If the shell gives up the line, e.g. at Ctrl-C, the prompt tells `$?`. After a line that
        // came to its end `$?` is that of our own commands, so the prompt tells the code kept.
        let given_up = if self == Dialect::Zsh { "%?" } else { "$?" };
        let fixed = format!("command printf '[{token}:%s:%s{FIXED}]' \"$2\" \"$1\"");
        let history = self.history();
        format!(
            "__ropewalk_prompt() {{ {prompt}; }}; \
             __ropewalk() {{ {{ __ropewalk_code=$1; __ropewalk_prompt \"$2\" \"$1\" || {fixed} >&3; }} \
             3>&2 2>/dev/null; }}; \
             __ropewalk_begin() {{ {{ __ropewalk_prompt \"$2\" '{given_up}' || :; {begin}; }} 2>/dev/null; }}; \
             __ropewalk_again() {{ {{ {report} >&3; }} 3>&2 2>/dev/null; __ropewalk \"$@\"; }}; \
             {EXPORTS}{history}"
        )
    }

    /// Returns a function that adds each of its arguments to the list of `history` and `fc`. Not a
    /// line that begins with an alias for `fc -s`: the next such line would run itself, until the
    /// shell has no stack any more.
    fn history(self) -> String {
        let add = match self {
            Dialect::Bash => "[[ ${BASH_ALIASES[${1%%[[:space:]]*}]-} == *fc* ]] || builtin history -s",
            Dialect::Zsh => {
                "[[ \" $1 \" == *\" fc \"* || ${aliases[${1%%[[:space:]]*}]-} == *fc* ]] || print -rs"
            }
            Dialect::Busybox | Dialect::Posix => return String::new(),
        };
        format!(
            "__ropewalk_history() {{ {{ while (($#)); do {add} -- \"$1\"; shift; done; }} \
             2>/dev/null || :; }}; "
        )
    }

    /// Returns a command that adds lines typed at the prompt to the history of a shell on a
    /// terminal. It stands in front of an order. Only bash and zsh get it. They keep the orders
    /// out of it: bash by `+o history`, zsh because each of our commands begins with a space.
    pub(crate) fn remember(self, typed: &[String]) -> String {
        if !matches!(self, Dialect::Bash | Dialect::Zsh) || typed.is_empty() {
            return String::new();
        }
        let typed: Vec<String> = typed.iter().map(|line| quote(line)).collect();
        // For zsh a command of its own: of the one that adds lines `fc` does not count the last.
        let end = if self == Dialect::Zsh { "\n" } else { ";" };
        format!(" __ropewalk_history {}{end}", typed.join(" "))
    }

    /// Returns a line of the learner's as a command for the shell. `number` is in its report,
    /// `last` is what `$?` is to be in it.
    pub(crate) fn order(self, line: &str, number: u64, last: i32, terminal: bool) -> String {
        let channels = if terminal { "<&7 2>&8 7<&- 8>&-" } else { "<&7 7<&- 8>&-" };
        // An open here-document or a backslash at its end would swallow what stands behind.
        let keep = if unfinished(line) { "" } else { KEEP_CODE };
        // `eval` would take a line that begins with a dash for its options.
        let space = if line.starts_with('-') { " " } else { "" };
        let line = quote(&format!("{space}{line}{keep}"));
        // Where a failure ends the shell (`set -e`), the code of a line that this program has run
        // is none: it may be there only for `$?`. A list does not count its first command (POSIX,
        // XCU 2.15, `set`).
        let join = if last == 0 { ";" } else { " ||" };
        // Its last word is `$_` in the line: `mkdir shop`, and then `cd $_`.
        let begin = format!(" __ropewalk_begin {last} {number} \"${{__ropewalk_last-}}\"{join}");
        // Without a prompt an error would end the shell, but not behind `command` (POSIX, XCU
        // 2.8.1).
        let eval = if terminal && self == Dialect::Busybox { "command eval" } else { "eval" };
        let end = if terminal || keep.is_empty() { "" } else { END_IF_REFUSED };
        format!("{begin} {eval} {line} {channels}; {end}__ropewalk {KEPT} {number} || :\n")
    }
}

/// Returns a command that reports a line whose prompt was lost. For a line that still runs it
/// changes nothing: the shell reads it afterwards.
pub(crate) fn question(number: u64) -> String {
    format!(" __ropewalk_again {KEPT} {number} || :\n")
}

/// Returns a command that writes the variables that the shell exports into a file, as
/// `/proc/PID/environ` has them, and reports that under this number.
pub(crate) fn ask_for_exports(file: &str, number: u64) -> String {
    format!(" __ropewalk_exports {}; __ropewalk 0 {number}\n", quote(file))
}

/// What lines in the shell rely on.
pub(crate) struct Surroundings<'a> {
    /// This program.
    pub program: &'a Path,
    /// The name of the session's cluster.
    pub cluster: &'a str,
    /// The home of the session's cluster, as an absolute path.
    pub home: &'a Path,
    pub kubeconfig: &'a Path,
    /// Before everything else on PATH: the built-in tools.
    pub bin: &'a Path,
    /// After everything else on PATH: stand-ins for tools that a machine may lack.
    pub spare: &'a Path,
}

/// Returns a text in quotes, as a word that a shell takes literally.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
