//! The commands of practice.

use super::output::Output;
use clap::{Args, Subcommand};
use ui::proof::part::Part;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ropewalk drill                    a prompt with up to five tasks and a clock; `stop` ends them early
  ropewalk drill --seed 417         the tasks of that drill once more, with the same names
  ropewalk drill --skill logs,exec  only these skills, also before they are due
  ropewalk drill start              the same for a script: then `drill check`, `drill skip`, `drill stop`
  ropewalk drill test --all         prove every task, on a cluster of its own
A skill is asked again a day after the first success and then after a week; what was skipped comes
first in the next drill.
The tasks are in a namespace of their own, which is removed at the end.")]
pub(crate) struct Practice {
    #[command(subcommand)]
    pub command: Option<Drill>,
    /// Repeat the drill of this seed [default: by chance]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub seed: Option<u64>,
    /// Ask only for these skills, met or not; their ids are in `progress -o json`
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with = "seed")]
    pub skill: Vec<String>,
    #[arg(long, default_value = "main", global = true)]
    pub name: String,
    #[arg(long, value_enum, global = true)]
    pub lang: Option<ui::texts::Lang>,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ropewalk progress            a picture; the cluster need not run
  ropewalk progress -o json    for machines
The JSON has `format` (1), `cluster`, `lessons` {done, all, tracks[{id, done, all}], list[{id, title, done, steps}]},
`labs` {passed, all, score, max, list[{id, title, score, max, passed}]}, `notices` and
`skills`[{id, title, state, last, due, dueDays, failed, helped, done, missed, lessons, labs}]; `state` is fresh, due,
rusty or notMet, times are RFC 3339 or null.")]
pub(crate) struct Progress {
    #[arg(long, default_value = "main")]
    pub name: String,
    #[arg(long, value_enum)]
    pub lang: Option<ui::texts::Lang>,
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Drill {
    /// Begin a drill on the running cluster
    Start {
        /// Repeat the drill of this seed [default: by chance]
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        seed: Option<u64>,
        /// Ask only for these skills, met or not; their ids are in `progress -o json`
        #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with = "seed")]
        skill: Vec<String>,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Show the drill that is open, or the last one
    Show {
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Say what is missing in the present task: exit code 0 if it is done, 1 if not
    Check {
        /// A task of this drill, by its id: a drill goes on by itself, so yours may be over already
        task: Option<String>,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Show the next hint; a task that is done after its last hint comes first in the next drill
    Hint,
    /// Leave the present task undone, and go on; it comes first in the next drill
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
        /// Every Nth of the tasks, beginning with the Kth
        #[arg(long, value_name = "K/N", default_value = "1/1")]
        part: Part,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Words {
        #[command(flatten)]
        practice: Practice,
    }

    /// The prompt puts the cluster's name right behind the word.
    #[test]
    fn the_name_may_stand_before_a_subcommand_and_behind_it() {
        for line in [
            "drill --name shop check -o json",
            "drill check -o json --name shop",
            "drill --name shop check scale-up",
            "drill --name shop start --seed 417",
            "drill --name shop show",
            "drill --name shop --seed 417",
            "drill --name shop --skill logs,exec",
            "drill start --name shop --skill logs",
        ] {
            let words = Words::try_parse_from(line.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert_eq!(words.practice.name, "shop", "{line}");
        }
    }

    #[test]
    fn skills_are_named_with_commas_and_without_a_seed() {
        let parsed = |line: &str| Words::try_parse_from(line.split(' ')).map(|words| words.practice.skill);
        assert_eq!(parsed("drill --skill logs,exec").unwrap(), ["logs", "exec"]);
        assert!(parsed("drill").unwrap().is_empty());
        assert!(parsed("drill --skill logs --seed 7").is_err());
    }
}
