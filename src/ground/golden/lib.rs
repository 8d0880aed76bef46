//! # Golden scripts: a decision as a text
//!
//! ## In Kubernetes
//! Upstream has tables of cases in its tests. CockroachDB and etcd's raft keep commands and what
//! they print in one text file (`datadriven`).
//! ## How this one works
//! A room keeps scripts in its folder `golden`. A script holds commands and, below `---`, what they
//! answered. A test of the room carries out the commands and compares. After a change that is
//! meant, `UPDATE_GOLDENFILES=1 cargo test -p ROOM golden` writes the new answers, and the
//! difference is read as every other change is.
//!
//! ```text
//! put a=1
//! put a=2
//! get a
//! ---
//! revision 2
//! revision 3
//! a=2 (created 2, modified 3, version 2)
//! ```
//!
//! The format and its parser are those of the crate `goldenscript`. This room finds the scripts and
//! reads arguments; a room's runner says what the commands mean.
//! ## Left out
//! Scripts that need a running cluster: those are tests in `tests/it`.
//! ## Read next
//! The folders `golden` of `raft`, `etcd`, `scheduler` and `proxy`.

#![warn(missing_docs)]

pub use goldenscript::{Command, Context, Runner};

use std::error::Error;
use std::path::Path;
use std::str::FromStr;

/// What a runner answers to a command.
pub type Answer = Result<String, Box<dyn Error>>;

/// Carries out each script in the folder `golden` of `room`, each with a runner of its own.
///
/// # Panics
/// There is no script, a script cannot be read, or an answer is not the one in its script.
pub fn run<R: Runner>(room: &str, runner: impl Fn() -> R) {
    let dir = Path::new(room).join("golden");
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut scripts: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "{} has no scripts", dir.display());
    for script in scripts {
        println!("{}", script.display()); // the last one is the one that failed
        goldenscript::run(&mut runner(), &script).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    }
}

/// The arguments of a command, each taken once.
pub struct Args<'a>(goldenscript::ArgumentConsumer<'a>);

impl<'a> Args<'a> {
    /// The arguments of `command`.
    pub fn of(command: &'a Command) -> Args<'a> {
        Args(command.consume_args())
    }

    /// The next argument without a key.
    ///
    /// # Errors
    /// There is none, or it is no `T`.
    pub fn next<T: FromStr>(&mut self, what: &str) -> Result<T, Box<dyn Error>> {
        let text = self.0.next_pos().ok_or_else(|| format!("{what} is missing"))?;
        text.parse().map_err(|_| format!("{what}: {text:?} has another form").into())
    }

    /// The argument `key=`, if it is there.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn key<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, Box<dyn Error>> {
        let Some(text) = self.0.take_key(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("{key}: {text:?} has another form").into())
    }

    /// The next argument with a key.
    pub fn pair(&mut self) -> Option<(&'a str, &'a str)> {
        self.0.next_key()
    }

    /// Ends the command: all arguments were used.
    ///
    /// # Errors
    /// One was not.
    pub fn end(self) -> Result<(), Box<dyn Error>> {
        self.0.reject_next()
    }
}

/// The error of a command that a runner does not have.
pub fn unknown(command: &Command) -> Answer {
    Err(format!("no command {:?}", command.name).into())
}
