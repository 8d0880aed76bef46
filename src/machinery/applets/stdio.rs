//! Standard output and standard error of programs that outlive their readers, the words for a
//! failure, and texts that are read in advance.

use std::io::{self, Write};
use std::path::Path;

/// Returns an I/O error in the words of strerror(3).
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// Writes text to standard output; a reader that is gone is no reason to stop.
pub(crate) fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes text to standard error, for programs that outlive the reader of their output: `eprintln!`
/// would panic.
pub(crate) fn err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes()); // a failure of stderr has no place to go
}

/// Returns the text of a regular file, which can be read again. `None` if it is not one (a pipe, or
/// `-`), cannot be read, or is not UTF-8.
pub(crate) fn regular_text(name: impl AsRef<Path>) -> Option<String> {
    let name = name.as_ref();
    let is_regular = name != Path::new("-") && std::fs::metadata(name).is_ok_and(|file| file.is_file());
    is_regular.then(|| std::fs::read_to_string(name).ok()).flatten()
}
