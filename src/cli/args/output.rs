//! The forms of an answer for machines.

use clap::ValueEnum;

/// What `-o` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Json,
}
