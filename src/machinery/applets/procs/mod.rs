//! `ps`, `top` and `free`, from /proc.

mod free;
mod process;
mod ps;
#[cfg(test)]
mod tests;
mod top;

pub(crate) use free::free;
pub(crate) use process::printable;
pub(crate) use ps::ps;
pub(crate) use top::top;

use std::io::Write;

/// Prints a text. Returns the exit code: 1 if it cannot be written.
fn print_text(text: &str) -> i32 {
    i32::from(std::io::stdout().write_all(text.as_bytes()).is_err())
}
