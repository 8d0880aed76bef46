//! The commands and options of `lesson`.

use super::output::Output;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use ui::proof::part::Part;

/// A command of `lesson`, and the options that all of its commands take.
#[derive(Args, Debug)]
pub(crate) struct LessonArgs {
    #[command(subcommand)]
    pub command: Lesson,
    /// On the cluster behind this kubeconfig, in a namespace of its own, instead of one of
    /// Ropewalk's own
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "name")]
    pub kubeconfig: Option<PathBuf>,
    /// Read this directory of lessons beside those in the program, or write to it: list, show
    /// ID, test, new, record
    #[arg(long, global = true, value_name = "DIR")]
    pub lessons: Option<PathBuf>,
    /// With --lessons or `preview`: without the lessons in the program
    #[arg(long, global = true)]
    pub only: bool,
    #[arg(long, default_value = "main", global = true)]
    pub name: String,
    #[arg(long, value_enum, global = true)]
    pub lang: Option<ui::texts::Lang>,
}

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
        directory: PathBuf,
        /// The lesson to show [default: the one that was changed last]
        id: Option<String>,
    },
}
