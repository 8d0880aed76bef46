//! Standard output and standard error of programs that outlive their readers, and the words for a
//! failure.

use std::io::{self, Write};

/// An I/O error in the words of strerror(3).
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// Text to standard output; a reader that is gone is no reason to stop.
pub(crate) fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Text to standard error, for programs that outlive the reader of their output: `eprintln!` would
/// panic.
pub(crate) fn err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes()); // nobody is left to read why
}
