//! Answers that a command prints as text or as JSON.

use crate::args::Output;
use lang::charset::print;
use serde::Serialize;

/// Prints an answer as JSON, or as the text that `text` makes of it.
pub(crate) fn print_answer<T: Serialize>(
    answer: &T,
    output: Option<Output>,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    match output {
        Some(Output::Json) => std::println!("{}", serde_json::to_string_pretty(answer)?),
        None => print!("{}", text(answer)),
    }
    Ok(())
}
