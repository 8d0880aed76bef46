//! The commands of practice.

use super::Output;
use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub(crate) enum Drill {
    /// Begin a drill on the running cluster
    Start {
        /// Repeat the drill of this seed [default: by chance]
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        seed: Option<u64>,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// The drill that is open, or the last one
    Show {
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// What of the present task is missing: exit code 0 if it is done, 1 if not
    Check {
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// The next hint of the present task; done after the last one, it is asked again the next day
    Hint,
    /// Leave the present task undone, and go on; it is asked again the next day
    Skip,
    /// End the drill; what was done counts
    Stop,
    /// Prove tasks on a cluster of their own: red before and after each wrong answer, green after
    /// the solution
    Test {
        /// Skills or tasks
        ids: Vec<String>,
        /// All there are
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Draw names and numbers from this seed
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        seed: u64,
    },
}
