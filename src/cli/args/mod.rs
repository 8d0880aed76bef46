//! The table of commands and options. Commands with many options or with commands of their own are
//! in files beside this one: `up`, `fault`, `lesson`, `lab`, `net`, and in `practice` `drill` and
//! `progress`.

mod fault;
mod lab;
mod language;
mod lesson;
mod net;
mod output;
mod practice;
mod refused;
#[cfg(test)]
mod tests;
mod up;

use clap::{Parser, Subcommand, ValueEnum};
pub(crate) use fault::{DiskState, Fault, NodeAct};
pub(crate) use lab::{Lab, LabArgs, Report};
pub(crate) use language::behind_the_subcommand;
pub(crate) use lesson::{Lesson, LessonArgs};
pub(crate) use net::Net;
pub(crate) use output::Output;
pub(crate) use practice::{Drill, Practice, Progress};
pub(crate) use refused::Refused;
pub(crate) use up::Up;

/// A whole, real Kubernetes cluster in one program, to learn with.
#[derive(Parser, Debug)]
#[command(name = "ropewalk", version, about, long_about = None, after_help = "Examples:
  ropewalk                       start (or resume) the cluster and open the interface
  ropewalk learn first-voyage/04 open it at a lesson
  ropewalk --plain               the same as lines only, for screen readers and logs
  ropewalk up --detach --wait    start the cluster in the background, wait until it is ready
  ropewalk status                what runs, and how to reach it
  ropewalk down                  stop the cluster; its data stays")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub session: Session,
}

/// Options of an interactive session.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Session {
    /// Which cluster
    #[arg(long, default_value = "main")]
    pub name: String,
    /// Language of the texts [default: the saved choice, else that of LANG]
    #[arg(long, value_enum, global = true)]
    pub lang: Option<ui::texts::Lang>,
    /// Port of the API on 127.0.0.1 if the cluster has to be started [default: the one that an
    /// earlier start named, else 6443 or the next free one]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub api_port: Option<u16>,
    #[command(flatten)]
    pub screen: Screen,
}

/// What the terminal is to show.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Screen {
    /// Lines only, no full-screen interface
    #[arg(long)]
    pub plain: bool,
    /// Draw with ASCII characters alone
    #[arg(long)]
    pub ascii: bool,
}

/// The forms of a trace beside text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Picture {
    Json,
    Svg,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Start a cluster
    #[command(after_help = "Examples:
  ropewalk up                         run in the foreground; Ctrl-C stops it
  ropewalk up --detach --wait         run in the background; return when everything is ready
  ropewalk up --workers 3 --api-port 7443
  ropewalk up --clock 20              five minutes of the cluster take fifteen seconds")]
    Up(Up),
    /// Stop a cluster; its data stays
    Down {
        /// Which cluster
        #[arg(long, default_value = "main")]
        name: String,
    },
    /// Show what runs
    #[command(
        after_help = "Exit code 0: the cluster runs, or is being started; 3: it does not run; 4: not known."
    )]
    Status {
        #[arg(long, default_value = "main")]
        name: String,
        /// Output for machines
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Wipe a cluster and everything in it
    Reset {
        #[arg(long, default_value = "main")]
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Print the path of the cluster's kubeconfig, or merge it into ~/.kube/config
    Kubeconfig {
        #[arg(long, default_value = "main")]
        name: String,
        /// Add the context ropewalk-NAME to ~/.kube/config (a copy of the old file is kept)
        #[arg(long)]
        merge: bool,
    },
    /// Open the interface at a lesson
    #[command(after_help = "Examples:
  ropewalk learn                    the lesson where you left it
  ropewalk learn first-voyage/04 --lang ko
  ropewalk learn first-voyage/04 --kubeconfig ~/.kube/config
With --kubeconfig lessons are played on the cluster of that file's current context, each in a namespace of its own, which
is offered for deletion at the end. The file is only read, and outside that namespace nothing is changed.
A lesson that declares another cluster than yours is played on that one, beside yours, after a question. `lesson leave`
or the end of the session removes it.")]
    Learn {
        /// TRACK/LESSON, e.g. first-voyage/04
        lesson: Option<String>,
        /// Play on the cluster behind this kubeconfig instead of one of Ropewalk's own
        #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "api_port"])]
        kubeconfig: Option<std::path::PathBuf>,
        /// Do not ask before the cluster that the lesson declares is started, nor before the
        /// lesson's setup deletes what you made. The interface asks about the latter all the same
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        session: Session,
    },
    /// Lines to the cluster and the shell: from a terminal, a pipe, a file or -c
    #[command(after_help = "Examples:
  ropewalk repl                                 read lines
  ropewalk repl -c 'get nodes' -c 'get pods'    run these lines; the exit code is the last one's
  ropewalk repl exercise.txt                    run a file's lines")]
    Repl {
        /// Run this line and end (repeatable)
        #[arg(short = 'c', value_name = "LINE")]
        lines: Vec<String>,
        /// Run the lines of this file and end
        file: Option<std::path::PathBuf>,
        /// Sit down at the cluster behind this kubeconfig instead of one of Ropewalk's own
        #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "api_port"])]
        kubeconfig: Option<std::path::PathBuf>,
        /// Token of the interface that runs this session in its shell pane: it takes commands that
        /// name the token
        #[arg(long, hide = true, value_name = "TOKEN")]
        in_pane: Option<String>,
        #[command(flatten)]
        session: Session,
    },
    /// The built-in kubectl, on the cluster's own kubeconfig
    #[command(
        disable_help_flag = true,
        after_help = "Examples:
  ropewalk kubectl get pods -A"
    )]
    Kubectl {
        #[arg(long, default_value = "main")]
        name: String,
        /// kubectl's words
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The built-in etcdctl, on the cluster's own store
    #[command(
        disable_help_flag = true,
        after_help = "Examples:
  ropewalk etcdctl get --prefix /registry/pods --keys-only
  ropewalk etcdctl endpoint status -w table"
    )]
    Etcdctl {
        #[arg(long, default_value = "main")]
        name: String,
        /// etcdctl's words
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Break something for real, and mend it
    #[command(after_help = "Examples:
  ropewalk fault list                                 what is broken now
  ropewalk fault kill kube-scheduler                  every scheduler; kube-scheduler/NODE for one
  ropewalk fault kill kubelet/ropewalk-worker
  ropewalk fault stop kube-scheduler                  stays down until `ropewalk fault start kube-scheduler`
  ropewalk fault cut ropewalk-control-plane ropewalk-control-plane2
  ropewalk fault loss ropewalk-worker ropewalk-worker2 20
  ropewalk fault disk full ropewalk-control-plane     fills its etcd disk; without NODE, those of all
  ropewalk fault heal                                 mends every link and makes room on every disk
  ropewalk fault node crash ropewalk-worker           pulls the plug; `node start` brings it back")]
    Fault {
        #[command(subcommand)]
        command: Fault,
        #[arg(long, default_value = "main", global = true)]
        name: String,
    },
    /// What the last command, a request, or an object went through, hop by hop
    #[command(after_help = "Examples:
  ropewalk trace                 the last command of kubectl or curl
  ropewalk trace pod/web         everything about one object (in namespace default, or NAMESPACE/KIND/NAME)
  ropewalk trace pod web -n shop the same, as kubectl names it
  ropewalk trace -o svg > a.svg  as a picture
Exit code 0: something was found; 1: nothing was (-o json prints []), or the cluster does not run; 2: a wrong argument.")]
    Trace {
        /// LAST (the default), a request's id, KIND/NAME, KIND NAME or NAMESPACE/KIND/NAME; KIND
        /// may be PLURAL.GROUP
        #[arg(num_args = 0..=2)]
        what: Vec<String>,
        /// The object's namespace; without it, default
        #[arg(short, long)]
        namespace: Option<String>,
        #[arg(long, default_value = "main")]
        name: String,
        #[arg(short, long, value_enum)]
        output: Option<Picture>,
    },
    /// The rules in the nodes' kernels that lead connections to pods
    Net {
        #[command(subcommand)]
        command: Net,
        #[arg(long, default_value = "main", global = true)]
        name: String,
    },
    /// Explain a term, in English or in Korean; without one, list all terms
    #[command(after_help = "Examples:
  ropewalk what pod              what it is, the lesson that teaches it, a line that shows it
  ropewalk what control plane    words of two parts need no quotes
  ropewalk what                  the names of all terms
Exit code 1: there is no such term.")]
    What {
        /// The term, in English or in Korean; kubectl's abbreviations too
        #[arg(value_name = "TERM")]
        words: Vec<String>,
        /// Read this directory of lessons, too: its terms are explained beside the built-in ones
        #[arg(long, value_name = "DIR")]
        lessons: Option<std::path::PathBuf>,
        /// With --lessons: only that directory's terms
        #[arg(long, requires = "lessons")]
        only: bool,
        /// Language of the answer
        #[arg(long, value_enum)]
        lang: Option<lang::Lang>,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Explain the last refusal, or what is the matter with an object
    #[command(after_help = "Examples:
  ropewalk why                    the last kubectl command, or what it left behind
  ropewalk why pod/web            an object; also `why web`, `why deploy web -n shop`
  ropewalk why localhost:31234    why a connection is refused
Exit code 1: something is wrong, and here is what.")]
    Why {
        /// KIND/NAME, KIND NAME, NAME or localhost:PORT
        #[arg(num_args = 0..=2)]
        about: Vec<String>,
        #[arg(short, long, default_value = "default")]
        namespace: String,
        /// Language of the answer
        #[arg(long, value_enum)]
        lang: Option<lang::Lang>,
        #[arg(long, default_value = "main")]
        name: String,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Take back the last step: the cluster's objects as they were before it
    #[command(
        after_help = "A step is everything that one kubectl command wrote, or one write of another client.
Pods that are gone start anew; data in volumes does not come back.

Examples:
  ropewalk undo           take back the last step; again: the one before it
  ropewalk undo 3         take back three steps at once
  ropewalk undo --list    what can be undone, oldest first, each with its first revision"
    )]
    Undo {
        /// How many steps
        #[arg(default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        count: u16,
        /// Show the steps and change nothing
        #[arg(long, conflicts_with = "count")]
        list: bool,
        /// Do not ask, even if this takes back what another client has written since
        #[arg(short, long)]
        yes: bool,
        #[arg(long, default_value = "main")]
        name: String,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Do again what was undone last, until something new is written
    Redo {
        #[arg(long, default_value = "main")]
        name: String,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Put the cluster's objects back to a revision or a time
    #[command(after_help = "Examples:
  ropewalk rewind 812                     a resourceVersion, as `kubectl get -o yaml` shows it
  ropewalk rewind 10:42:07                when the clock last showed it, or 2026-11-20T10:42:07Z
  ropewalk rewind 5m                      five minutes ago
`ropewalk redo` brings back what was there before.")]
    Rewind {
        /// REVISION, TIME, or how long ago
        to: String,
        /// Do not ask, even if this takes back what was made since
        #[arg(short, long)]
        yes: bool,
        #[arg(long, default_value = "main")]
        name: String,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Lessons: list, read, check, solve, prove and write them
    #[command(after_help = "Examples:
  ropewalk lesson list                        all lessons, and how far you are
  ropewalk lesson check first-voyage/04       is its current step done? exit code 0 only then
  ropewalk lesson test first-voyage/04        prove it: red before, green after, each wrong answer red
  ropewalk lesson new harbour/01-config       a template to fill in
  ropewalk lesson record harbour/02-restart   do it once, and get a draft
  ropewalk lesson preview lessons             read it while you write; Ctrl-C ends it
  ropewalk lesson list --lessons lessons      yours beside the built-in ones; --only: yours alone
  ropewalk lesson list --kubeconfig FILE      what can be played on that cluster, and why the rest cannot
  ropewalk lesson solve first-voyage/04 --all --kubeconfig FILE
  ropewalk lesson leave --kubeconfig FILE     delete the namespaces that were made there")]
    Lesson(LessonArgs),
    /// Graded labs: something is broken; mend it
    #[command(after_help = "Examples:
  ropewalk lab list                           all labs, and your best grades
  ropewalk lab start broken-selector          break it, and start the clock; again: put it back and start anew
  ropewalk lab leave                          end the open lab without a grade
  ropewalk lab start broken-selector --seed 417   the same names and fault for a whole class
  ropewalk lab check                          how the tasks stand; exit code 0 if all that can be seen is right
  ropewalk lab grade -o json                  points and verdicts as a signed record; exit code 0 only at full marks
  ropewalk lab verify record.json             exit code 0 only for a record that nobody edited
  ropewalk lab test broken-selector           prove it, on clusters of its own")]
    Lab(LabArgs),
    /// Two minutes of practice: tasks from what you have met, due ones first
    Drill(Practice),
    /// Lessons done, grades of labs, and which skills are fresh, due or rusty
    Progress(Progress),
    /// Print the language of the texts, or choose it
    #[command(after_help = "Examples:
  ropewalk lang       which it is
  ropewalk lang ko    Korean from now on; `--lang ko` is for one command only")]
    Lang {
        /// The language from now on
        #[arg(value_enum)]
        to: Option<ui::texts::Lang>,
    },
    /// What this machine allows, what is lost without it, and how to mend it
    Doctor {
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Measure on this machine what a cluster does, beside what it can be compared with
    #[command(after_help = "Examples:
  ropewalk bench                    everything, several minutes; best on a machine that does nothing else
  ropewalk bench start pods         only these
  ropewalk bench api --peer-kubeconfig FILE
                                    beside the API server that FILE names
  ropewalk bench runtime -o json    for machines: p50_ms, and every figure with its peer's
Each line tells the median of several runs, how they spread, and the aim. × is how many times as fast as the line's peer:
etcd and crun are used where they are on PATH.")]
    Bench {
        /// Only these parts
        #[arg(value_enum)]
        what: Vec<bench::What>,
        /// How often everything is done, instead of as often as is usual
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        runs: Option<u16>,
        #[arg(short, long, value_enum)]
        output: Option<Output>,
        /// Kubeconfig of an API server to measure beside this program's; a namespace is made there,
        /// and removed
        #[arg(long, value_name = "FILE")]
        peer_kubeconfig: Option<std::path::PathBuf>,
        /// Measure in this directory, as the supervisor of nodes without a cluster
        #[arg(long, hide = true, value_name = "DIR")]
        inside: Option<std::path::PathBuf>,
    },
    /// Print the version
    Version {
        #[arg(short, long, value_enum)]
        output: Option<Output>,
    },
    /// Print a completion script for a shell
    Completion {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}
