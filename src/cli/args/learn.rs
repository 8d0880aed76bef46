//! The commands of lessons and labs.

use super::output::Output;
use clap::{Subcommand, ValueEnum};
use ui::proof_part::Part;

#[derive(Subcommand, Debug)]
pub(crate) enum Lesson {
    /// All lessons, and how far you are
    List {
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// A lesson's text
    Show {
        /// e.g. first-voyage/04; without it the open one
        id: Option<String>,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Judge a lesson's current step: exit code 0 if it is done, 1 if not
    Check {
        id: Option<String>,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Play the solution of a lesson's current step
    Solve {
        id: Option<String>,
        /// Every step to the end
        #[arg(long)]
        all: bool,
    },
    /// Prove lessons on clusters of their own: red at the start and after each wrong answer, green
    /// after the solution and each other way
    Test {
        ids: Vec<String>,
        /// All there are; with --lessons those of that directory
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Clusters side by side at most; a third starts only while the processors have time
        #[arg(short, long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
        jobs: u8,
        /// Only read them: format, expressions, languages
        #[arg(long)]
        dry_run: bool,
        /// The solutions, and of the other answers every Nth, beginning with the Kth
        #[arg(long, value_name = "K/N", default_value = "1/1")]
        part: Part,
    },
    /// Delete the namespaces that lessons made on the cluster behind --kubeconfig
    Leave,
    /// Write a template: TRACK/NN-name
    New { id: String },
    /// Open a prompt, and write what you do there as the draft of a lesson
    #[command(
        after_help = "The draft is written when you leave the prompt: to lessons/TRACK/NN-name, or below --lessons DIR
or $ROPEWALK_LESSONS.
A folder that is there is never written to. Each command that changed an object, or asked for one, becomes
a step with its solution and proposed checks; what is left for you to write is marked TODO.
Lines are written as you type them, so type no passwords."
    )]
    Record {
        /// TRACK/NN-name
        id: String,
    },
    /// Show a folder's lesson as it reads, or its faults, after each change; Ctrl-C ends it
    Preview {
        /// The folder of lessons
        #[arg(value_name = "DIR")]
        directory: std::path::PathBuf,
        /// The lesson to show [default: the one that was changed last]
        id: Option<String>,
    },
}

/// Forms of a grade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    Json,
    Csv,
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
        file: std::path::PathBuf,
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
