//! What the bench says besides its figures, on standard error.

use lang::charset::printable;
use std::io::Write;

/// Writes a line to standard error, in the letters that the locale has. If the terminal has hung up
/// or the reader of a pipe has left, nothing is written: `eprintln!` would end the program then,
/// and leave the cluster and the directory that are being measured.
pub(super) fn write_line(text: String) {
    write_line_to(std::io::stderr(), text);
}

/// Does the same for another stream than that of this process.
pub(super) fn write_line_to(mut stderr: impl Write, text: String) {
    let _ = writeln!(stderr, "{}", printable(text)); // it may be closed
}
