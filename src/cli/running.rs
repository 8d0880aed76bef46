//! Answers of a running cluster that a command can do without.

use cluster::Error;
use lang::charset::eprintln;
use ui::texts::Lang;

/// Returns what the cluster answered, `None` if there is no answer, and the exit code for this
/// part of the command. A cluster that does not run is no failure. One that runs and does not
/// answer is: without the error, a script would take a list without progress for the truth.
pub(crate) fn if_running<T>(answer: Result<T, Error>, lang: Lang) -> (Option<T>, i32) {
    match answer {
        Ok(answer) => (Some(answer), 0),
        Err(Error::NotRunning(_)) => (None, 0),
        Err(error) => {
            eprintln!("ropewalk: {}", error.say(lang));
            (None, 1)
        }
    }
}
