//! The commands and options of `lab`.

use super::output::Output;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use ui::proof::part::Part;

/// A command of `lab`, and the options that all of its commands take.
#[derive(Args, Debug)]
pub(crate) struct LabArgs {
    #[command(subcommand)]
    pub command: Lab,
    /// Read labs from this directory instead of those in the program: list, show ID, test,
    /// verify
    #[arg(long, global = true, value_name = "DIR")]
    pub labs: Option<PathBuf>,
    #[arg(long, default_value = "main", global = true)]
    pub name: String,
    #[arg(long, value_enum, global = true)]
    pub lang: Option<ui::texts::Lang>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Lab {
    /// All labs, and your best grades
    List {
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// What a lab asks for; without an id the open one
    Show {
        id: Option<String>,
        /// Draw names and fault from this seed [default: the open lab's, else 1]
        #[arg(long, requires = "id")]
        seed: Option<u64>,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Break it, and start the clock. An open lab ends, and what it made is taken away first. A lab
    /// that declares another cluster than yours is played on that one, after a question
    Start {
        id: String,
        /// Draw names and fault from this seed [default: by chance]
        #[arg(long)]
        seed: Option<u64>,
        /// Do not ask before something is taken away
        #[arg(short, long)]
        yes: bool,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// How the tasks stand, without disturbing anything: exit code 0 if all that can be seen is
    /// right
    Check {
        id: Option<String>,
        #[arg(long)]
        seed: Option<u64>,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Grade: exit code 0 only at full marks. May be repeated
    Grade {
        id: Option<String>,
        #[arg(long)]
        seed: Option<u64>,
        /// json: the signed record; csv: a line a task
        #[arg(short, long, value_enum)]
        output: Option<Report>,
        /// Whose grade it is [default: $ROPEWALK_LEARNER, else $USER]
        #[arg(long)]
        learner: Option<String>,
    },
    /// The next hint; the record counts them
    Hint { id: Option<String> },
    /// Play the solution; such a lab does not count as passed
    Solve {
        id: Option<String>,
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Be told the cause and the way; such a lab does not count as passed, and the record says so
    GiveUp {
        id: Option<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// End the open lab without a grade and take away what it made; later records say so
    Leave {
        id: Option<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Is this record as it was signed, and its lab the one in this program (or in --labs)? Exit
    /// code 0 only then. Key order and white space do not matter
    Verify {
        /// A record of `lab grade -o json`; - reads standard input
        file: PathBuf,
        /// It has to be signed with the key of this fingerprint (sha256:…)
        #[arg(long)]
        key: Option<String>,
    },
    /// Prove labs on clusters of their own: red at the start and after each wrong answer, full
    /// marks after the solution and each other way
    Test {
        ids: Vec<String>,
        /// All there are
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Clusters side by side at most; a third starts only while the processors have time
        #[arg(short, long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
        jobs: u8,
        /// Only read them: format, expressions, languages
        #[arg(long)]
        dry_run: bool,
        /// Only cases whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Each other way and wrong answer with one of its faults, not with each: half the time
        #[arg(long)]
        once: bool,
        /// With every Nth of a lab's seeds, beginning with the Kth
        #[arg(long, value_name = "K/N", default_value = "1/1")]
        part: Part,
    },
}

/// The forms of a grade beside text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    Json,
    Csv,
}
