//! # sh: the shell of built-in images
//!
//! ## In Kubernetes
//! `command: ["sh", "-c", …]`, probes, `kubectl exec -- sh`: what people write into a Pod is mostly
//! shell. In a container the shell is often pid 1, and then must do what an init does: collect
//! orphans, and hear signals only if it asked for them.
//! ## How this one works
//! brush-parser makes syntax trees; the rest is here and POSIX. [`exec`](mod@exec) walks the trees,
//! [`simple`] runs one command, [`expand`] makes words of them, [`redirect`] moves descriptors,
//! [`jobs`] forks and waits, [`timing`] is `time`, [`traps`] runs what `trap` asked for,
//! [`interactive`] talks to a person, [`builtins`] are the commands that must run inside.
//! [`apostrophes`] and [`documents`] hide from the parser what it does not understand, and
//! [`depth`] what would end the stack; [`subshells`] mends what it takes for arithmetic,
//! [`case_patterns`] a `)` that it takes for the end of `$(…)`, and [`guard`] catches its faults;
//! [`assembly`] makes commands of lines. It forks as shells do: one process, no threads; every
//! kernel call is a safe function of `linux`. Each `waitpid` takes *any* child and records its
//! status, so orphans of pid 1 do not stay zombies; the last command of `-c` replaces the shell, so
//! that signals reach it.
//! ## Left out
//! Line editing and history (the terminal's own editing works), `fg`, `bg` and ^Z, aliases; of
//! bash: arrays, `<(…)`, `for ((…))`, `coproc`, `printf -v`, and `=~` in `[[ … ]]`. They say so
//! with status 2; `let` is not found, as in dash. `$!` with an operator (`${!:-x}`) is a bad
//! substitution. `$LINENO` is not set, and no error under `set -u`. `set -m` says that job control
//! is off, and has status 0, as dash without a terminal. Redirections are of the descriptors 0 to
//! 9, as in dash.
//! Braces (`{1..3}`) are plain text, as in POSIX. Text that is not UTF-8 is not kept as it is. The
//! parser's own: blanks inside `${x:-a b}` become one; in a text with a here-document also in a
//! quoted `"${x:-…}"`, where `'` needs its other half; in a command with one the pattern in
//! `$(case a in a) …)` needs its `(`; a here-document in a quoted `"$(…)"` has no `)`; some scripts
//! with a here-document in whose line a `"…$(` stays open are syntax errors; at most 14
//! `"$(… "$(…` inside each other.
//! `ash` and `bash` are this shell too.
//! ## Read next
//! `applets::uutils`, the programs that scripts call; `linux::trap`.

mod apostrophes;
mod arith;
mod assembly;
mod builtins;
mod case_patterns;
mod depth;
mod documents;
mod exec;
mod expand;
mod extended_test;
#[cfg(test)]
mod fuzz;
mod glob;
mod guard;
mod interactive;
mod jobs;
mod parse;
mod pattern;
mod redirect;
mod simple;
mod start;
mod state;
mod subshells;
mod timing;
mod traps;

pub(crate) use start::main;

use super::reason;
use brush_parser::ast::{ArithmeticExpr, FunctionBody};
use brush_parser::word::WordPieceWithSource;
use linux::fork::Alone;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::{Rc, Weak};

/// Why a command does not simply go on to the next one.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    /// Leaves that many loops.
    Break(u32),
    Continue(u32),
    Return(i32),
    Exit(i32),
    /// An error that ends a script, but of an interactive shell only the line.
    Abort(i32),
}

/// A status, 0 to 255, or a jump.
type Run = Result<i32, Flow>;

/// Where `getopts` stands. Each running function has its own, as in dash: a loop over the options
/// of a function does not disturb the loop that calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Getopts {
    /// The word of the next option, counted from 1.
    index: usize,
    /// Where in that word the next option is; 0 at its beginning.
    at: usize,
}

impl Default for Getopts {
    fn default() -> Getopts {
        Getopts { index: 1, at: 0 }
    }
}

struct Shell {
    alone: Alone,
    state: state::State,
    functions: HashMap<String, Rc<FunctionBody>>,
    /// `$1` and so on.
    args: Vec<String>,
    /// `$0`, and the start of messages.
    name: String,
    /// The working directory as `cd` counted it, whatever a script makes of `$PWD`. Empty if it is
    /// unknown.
    directory: String,
    /// `$?`.
    status: i32,
    /// Status of the last `$(…)` in this command: that of a command without words.
    substituted: i32,
    /// `$!`.
    background: Option<i32>,
    /// `$$`: the first shell's, in subshells too.
    pid: u32,
    /// Signal (0: EXIT) and what to run; nothing to run means ignored.
    traps: BTreeMap<i32, String>,
    /// In a subshell that set no trap yet: those of its parent, which `trap` shows.
    parent_traps: Option<BTreeMap<i32, String>>,
    /// `$?` before the trap that runs now: the status of an `exit` without a number in it.
    before_trap: Option<i32>,
    /// What redirections that are still to be undone hide.
    saved: Vec<Weak<redirect::Kept>>,
    /// Signals that were ignored at the start: a script may not change that.
    ignored: BTreeSet<i32>,
    jobs: jobs::Jobs,
    /// How many conditions we are in, where a failure is no error for `set -e`.
    conditions: u32,
    loops: u32,
    /// How many functions called each other.
    depth: u32,
    stack: depth::Stack,
    getopts: Getopts,
    /// `command -p` looks for its program now.
    standard_path: bool,
    interactive: bool,
    subshell: bool,
    parsed_words: HashMap<String, Rc<Vec<WordPieceWithSource>>>,
    parsed_sums: HashMap<String, Rc<ArithmeticExpr>>,
}

impl Shell {
    fn new(alone: Alone, name: String) -> Shell {
        Shell {
            alone,
            state: state::State::default(),
            functions: HashMap::new(),
            args: Vec::new(),
            name,
            directory: String::new(),
            status: 0,
            substituted: 0,
            background: None,
            pid: std::process::id(),
            traps: BTreeMap::new(),
            parent_traps: None,
            before_trap: None,
            saved: Vec::new(),
            ignored: BTreeSet::new(),
            jobs: jobs::Jobs::default(),
            conditions: 0,
            loops: 0,
            depth: 0,
            stack: depth::Stack::new(),
            getopts: Getopts::default(),
            standard_path: false,
            interactive: false,
            subshell: false,
            parsed_words: HashMap::new(),
            parsed_sums: HashMap::new(),
        }
    }

    /// Writes one line on standard error, begun by the shell's name. Written at once; a failure to
    /// write it is ignored.
    fn print_error(&self, what: impl std::fmt::Display) {
        write_stderr(&format!("{}: {what}\n", self.name));
    }

    /// Sets a variable; a read-only one is an error that ends a script.
    fn set(&mut self, name: &str, value: impl Into<String>) -> Result<(), Flow> {
        if self.state.set(name, value.into()) {
            if name == "OPTIND" {
                self.restart_getopts();
            }
            return Ok(());
        }
        self.print_error(format_args!("{name}: is read only"));
        Err(Flow::Abort(2))
    }

    /// Puts a variable back to what it was.
    fn restore(&mut self, name: String, was: Option<state::Variable>) {
        let is_index = name == "OPTIND";
        self.state.restore(name, was);
        if is_index {
            self.restart_getopts();
        }
    }

    /// Makes getopts go on at the beginning of the word that `$OPTIND` counts.
    fn restart_getopts(&mut self) {
        let index: usize = self.state.get("OPTIND").and_then(|n| n.parse().ok()).unwrap_or(1).max(1);
        self.getopts = Getopts { index, at: 0 };
    }

    /// Sets `$?` to the status of a command that ended without a jump, and returns it.
    fn set_status(&mut self, status: i32) -> Run {
        self.status = status;
        Ok(status)
    }
}

/// Writes text to standard error.
fn write_stderr(text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match nix::unistd::write(std::io::stderr(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return, // there is nowhere left to say it
        }
    }
}
