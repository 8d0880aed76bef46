//! The command line in Korean: every page of `--help`, and every error of the arguments.
//!
//! The table of commands in [`args`](super::args) is written once, with its English. When a line
//! asks for help or is wrong, and the language is Korean, the line is parsed again by the same
//! table with Korean value names and pages (`help.ko.txt`), and clap's error is written by its kind
//! and context. A line that is right is parsed once and costs nothing here.

mod errors;
mod page;
mod table;
#[cfg(test)]
mod tests;

use super::args::Args;
use clap::{Command, CommandFactory, ValueEnum};
pub(crate) use errors::text;
use lang::Lang;
use std::ffi::OsString;

/// The program's name, which is also the path of its page.
const PROGRAM: &str = "ropewalk";
/// The widest page, as in English.
const WIDEST: usize = 100;

/// Parses a line again. The error is the one of the English table, with Korean names in it; where
/// it is a page of the help, the page is Korean.
pub(crate) fn error(words: &[OsString], columns: usize) -> Option<clap::Error> {
    command(columns.min(WIDEST)).try_get_matches_from(words).err()
}

/// The value of `--lang`, as far as the line can be understood: the whole line may be wrong.
/// What stands behind `--`, or behind the command `kubectl` or `etcdctl`, belongs to another
/// program. `help kubectl` and `what etcdctl` are this program's own, and so is the cluster that is
/// called `kubectl` (`--name kubectl`).
pub(crate) fn asked_language(words: &[OsString]) -> Option<Lang> {
    const OPTION: &str = "--lang";
    // The other options of the program itself whose value is the next word.
    const VALUED: [&str; 2] = ["--name", "--api-port"];
    let mut words = words.iter().skip(1).map(|word| word.to_str().unwrap_or_default());
    let mut has_command = false;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix(OPTION) {
            Some("") => words.next()?,
            Some(rest) if rest.starts_with('=') => &rest[1..],
            _ if word == "--" => return None,
            _ if !has_command && VALUED.contains(&word) => {
                words.next()?;
                continue;
            }
            _ if !has_command && ["kubectl", "etcdctl"].contains(&word) => return None,
            _ => {
                has_command |= !word.starts_with('-');
                continue;
            }
        };
        return Lang::from_str(value, false).ok();
    }
    None
}

/// The table of commands in Korean, for pages of this width.
fn command(width: usize) -> Command {
    let mut command = name_values(Args::command(), PROGRAM);
    // Only a built table has the arguments and commands that clap adds, and the global ones.
    command.build();
    write_pages(&mut command, PROGRAM, width);
    command
}

/// Gives the values of options their Korean names, before they are handed to subcommands.
fn name_values(command: Command, path: &str) -> Command {
    let named = command.mut_args(|argument| {
        let text = table::argument(path, argument.get_id().as_str());
        match text.and_then(|(_, text)| text.value).filter(|_| !argument.is_hide_set()) {
            Some(name) => argument.value_name(name),
            None => argument,
        }
    });
    named.mut_subcommands(|sub| {
        let path = join(path, sub.get_name());
        name_values(sub, &path)
    })
}

/// Replaces the pages of a command and its subcommands. Those of `help` show pages of others.
fn write_pages(command: &mut Command, path: &str, width: usize) {
    if command.get_name() != "help" {
        for sub in command.get_subcommands_mut() {
            let path = join(path, sub.get_name());
            write_pages(sub, &path, width);
        }
    }
    let text = page::render(command, path, width);
    *command = std::mem::take(command).override_help(text);
}

/// The path of a subcommand's page.
fn join(path: &str, name: &str) -> String {
    if path == PROGRAM { name.into() } else { format!("{path} {name}") }
}
