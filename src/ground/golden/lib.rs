//! # Golden scripts: a decision as a text
//!
//! ## In Kubernetes
//! Upstream has tables of cases in its tests. CockroachDB and etcd's raft keep commands and what
//! they print in one text file (`datadriven`).
//! ## How this one works
//! A room keeps scripts in its folder `golden`. A script holds commands and, below `---`, what they
//! answered. A test of the room carries out the commands and compares their answers with those in
//! the script. After a change that is meant, `UPDATE_GOLDENFILES=1 cargo test -p ROOM golden`
//! writes the new answers; review them as any other change.
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
//! The folders `golden` of `raft`, `etcd`, `scheduler`, `proxy`, `net`, `lab` and of the
//! `controllers`.

#![warn(missing_docs)]

pub use goldenscript::{Command, Context, Runner};

use goldenscript::{Argument, ArgumentConsumer};
use std::error::Error;
use std::path::Path;
use std::str::FromStr;

/// What a runner answers to a command: the text below `---`, or why the command failed.
pub type Answer = Result<String, Box<dyn Error>>;

/// Carries out each file in the folder `golden` of the folder `room`, each with a runner of its
/// own.
///
/// # Panics
/// There is no script, a script cannot be read, a command fails that has no `!` before it, or an
/// answer is not the one in its script.
pub fn run<R: Runner>(room: &str, runner: impl Fn() -> R) {
    let dir = Path::new(room).join("golden");
    let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut scripts = paths.unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    scripts.sort();
    assert!(!scripts.is_empty(), "{} has no scripts", dir.display());
    for script in scripts {
        println!("{}", script.display()); // the last one is the one that failed
        goldenscript::run(&mut runner(), &script).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    }
}

/// The arguments of a command, each taken once.
pub struct Args<'a> {
    all: &'a [Argument],
    left: ArgumentConsumer<'a>,
}

impl<'a> Args<'a> {
    /// Begins to take the arguments of `command`.
    pub fn of(command: &'a Command) -> Args<'a> {
        Args { all: &command.args, left: command.consume_args() }
    }

    /// Takes the next argument without a key; errors call it `what`.
    ///
    /// # Errors
    /// There is none, or it cannot be parsed as a `T`.
    pub fn next<T: FromStr>(&mut self, what: &str) -> Result<T, Box<dyn Error>> {
        let text = self.left.next_pos().ok_or_else(|| format!("{what} is missing"))?;
        text.parse().map_err(|_| format!("{what}: {text:?} cannot be parsed").into())
    }

    /// Takes the argument `key=`, if it is there.
    ///
    /// # Errors
    /// It cannot be parsed as a `T`, or is given more than once: the parser would drop all but the
    /// last one, and the script would show what did not happen.
    pub fn key<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, Box<dyn Error>> {
        let is_it = |argument: &&Argument| matches!(argument, Argument::KeyValue(k, _) if k == key);
        if self.all.iter().filter(is_it).count() > 1 {
            return Err(format!("{key}= is given more than once").into());
        }
        let Some(text) = self.left.take_key(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("{key}: {text:?} cannot be parsed").into())
    }

    /// Takes the next argument with a key, whatever it is; `None` if none is left.
    pub fn pair(&mut self) -> Option<(&'a str, &'a str)> {
        self.left.next_key()
    }

    /// Checks that all arguments were taken, so that a misspelt one does not go unnoticed.
    ///
    /// # Errors
    /// One was not.
    pub fn end(self) -> Result<(), Box<dyn Error>> {
        self.left.reject_next()
    }
}

/// Returns the error for a command that a runner does not have.
pub fn unknown(command: &Command) -> Answer {
    Err(format!("no command {:?}", command.name).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Runs `take N by=N K=V…`, which shows what it has taken.
    struct Taker;

    impl Runner for Taker {
        type Command = Command;

        fn run(&mut self, command: &Command, _: &Context) -> Answer {
            let mut args = Args::of(command);
            let out = match command.name.as_str() {
                "take" => {
                    let (number, by): (u8, Option<u8>) = (args.next("the number")?, args.key("by")?);
                    let rest: Vec<String> = std::iter::from_fn(|| args.pair())
                        .map(|(key, value)| format!("{key}: {value}"))
                        .collect();
                    format!("{number} by {by:?}, then [{}]", rest.join(", "))
                }
                _ => return unknown(command),
            };
            args.end()?;
            Ok(out)
        }
    }

    #[test]
    fn golden() {
        run(env!("CARGO_MANIFEST_DIR"), || Taker);
    }

    #[test]
    fn a_script_passes_only_with_the_answers_that_it_holds() {
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            return; // then the answers are written, not compared
        }
        let room = tempfile::tempdir().unwrap();
        let passes =
            || catch_unwind(AssertUnwindSafe(|| run(room.path().to_str().unwrap(), || Taker))).is_ok();
        assert!(!passes(), "there is no folder");
        let dir = room.path().join("golden");
        std::fs::create_dir(&dir).unwrap();
        assert!(!passes(), "there is no script");
        for (script, is_right) in [
            ("take 3\n---\n3 by None, then []\n", true),
            ("take 3\n---\n4 by None, then []\n", false),
            ("take x\n---\nok\n", false),
        ] {
            std::fs::write(dir.join("a"), script).unwrap();
            assert_eq!(passes(), is_right, "{script}");
        }
    }
}
