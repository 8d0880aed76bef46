//! Standard output and standard error of programs that outlive their readers, the words for a
//! failure, arguments as texts, and texts that are read in advance.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

/// Returns an I/O error in the words of strerror(3).
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// Writes text to standard output; a reader that is gone is no reason to stop.
pub(crate) fn write_stdout(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes text to standard error, for programs that outlive the reader of their output: `eprintln!`
/// would panic.
pub(crate) fn write_stderr(text: &str) {
    // A failure of standard error cannot be reported anywhere.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Returns the arguments behind the program's name as texts. Bytes that are not UTF-8 become
/// U+FFFD.
pub(crate) fn arguments_as_text(args: Vec<OsString>) -> Vec<String> {
    args.into_iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect()
}

/// Returns the text of a regular file, which can be read again. `None` if it is not one (a pipe, or
/// `-`), cannot be read, or is not UTF-8.
pub(crate) fn regular_text(name: impl AsRef<Path>) -> Option<String> {
    let name = name.as_ref();
    let is_regular = name != Path::new("-") && std::fs::metadata(name).is_ok_and(|file| file.is_file());
    is_regular.then(|| std::fs::read_to_string(name).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn the_name_of_a_program_is_no_argument() {
        let args = [&b"tar"[..], b"c", b"\xff"].map(|arg| OsString::from_vec(arg.to_vec()));
        assert_eq!(arguments_as_text(args.into()), ["c", "\u{fffd}"]);
        assert!(arguments_as_text(Vec::new()).is_empty());
    }
}
