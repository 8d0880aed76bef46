//! # The learner's session
//!
//! ## In Kubernetes
//! People work in a terminal, with a shell and kubectl. A learner needs these three, and a cluster
//! to talk to.
//! ## How this one works
//! [`repl::run`] opens a session: [`connection`] starts a cluster or joins the one that runs. On a
//! terminal the interface opens ([`tui`]): lesson or lab, live map, and a shell pane that runs this
//! same REPL. Without it, and inside that pane, lines are read (by rustyline on a terminal, plainly
//! from a pipe or a file) and [`line`] decides what each one is:
//! ```text
//! get pods            ─┐
//! k get pods           ├─▶ commands   kubectl, in this program
//! kubectl get pods    ─┘
//! status, help, lang  ───▶ session    words of this program
//! next, hint, check   ───▶ lesson     questions to the lesson engine, which also sends news
//! drill, skip, stop   ───▶ practice   two minutes of practice; while they last, hint and check too
//! get pods | wc -l    ─┬─▶ shell      $SHELL, one for the whole session: cd and export last
//! ls, vi, curl, !get  ─┘
//! ```
//! ### The shell
//! The shell is a real one on a terminal of its own ([`screen`]). It reads commands from a pipe,
//! and its prompt, which goes to another pipe, says when it is ready and how the last command ended
//! ([`dialect`]); nothing that is visible is ever parsed. While a line runs, the learner's terminal
//! passes every key on, so editors and pagers work and Ctrl-C reaches the command. A script ends
//! with its shell: its next line would run without the directory and the variables of before.
//!
//! In bash and zsh `history` and `fc` know the lines that were typed at the prompt ([`session`]),
//! and not what stands around them for the report.
//!
//! A line of kubectl or etcdctl that runs in this program has the variables that the shell exports
//! ([`commands`]); if the shell does not tell them, the line is refused. After `exec > log` the
//! shell runs such a line itself, so that the log has what it prints. A here-document is parsed at
//! its first line and where it may end.
//!
//! In the interface the pane's terminal is emulated. When its width changes, its lines and their
//! past are laid out anew, so that a narrow window cuts nothing off; the emulator itself would.
//!
//! With `--kubeconfig` the session uses a foreign cluster: [`connection`] opens
//! [`cluster::foreign`] in this process instead of starting a cluster, and offers to delete what
//! lessons made there when the session ends. The rest of the room does not know the difference.
//! Texts for people are in tables, in English and Korean ([`texts`], and `tui::words` for the
//! interface).
//! ### The views of the map
//! One play head moves all views: its line stands under each of them, with marks for a typed
//! command (`$`), a fault and a step that turned green. F4 puts the objects of an earlier moment
//! beside those of now and restores nothing; `rewind` restores. A typed command is one of
//! kubectl's, which its requests name by a session, or a single request of curl, wget or HTTPie.
//!
//! A view of one object is first about the one that the open step names, then the one that the
//! learner's last command changed, then one that is not well, then the one that changed last.
//!
//! These views draw all that they know from 72 by 13 cells on (the map of a screen of 120 by 34, or
//! F2 at 80 by 24), and a small form below that size. The boxes of the cluster view begin at 74 by
//! 15 cells, the diagram of the control plane at 62 by 13:
//! - Scheduling names the plug-in that refused each node, and has a line for each earlier decision.
//! - Rollout has a gauge between the fewest and the most pods that the strategy allows, pods with
//!   names and ages, and the old revisions. Without a Deployment it has the pods by their owners,
//!   those without an owner first.
//! - Pod has the conditions with their times, and containers with probes, restarts and back-off.
//! - Raft draws a lifeline for each member, so that an arrow never points at a member that it
//!   passes.
//! - Network follows each port to its endpoints, counts connections, and marks where one is
//!   refused.
//!
//! What no record and no object tells is not drawn: how many connections each pod got, for example.
//! Ages move while nothing happens. Those of pods and revisions are counted on the cluster's clock,
//! every ten seconds, or every second while something is younger than a minute. The age of a
//! node's lease that is late moves every second.
//! ### How the screen is divided
//! The division follows from the screen's size alone (`tui::layout`):
//! - From 110 columns and 30 lines on, the lesson stands at the left, the map above the shell at
//!   the right.
//! - From 110 columns on with fewer lines, lesson and map stand side by side above the shell.
//! - With fewer than 110 columns half of them would cut commands inside their words. So the lesson,
//!   the lab or the list has the whole width. Its task and what is missing stand firmly below its
//!   text; in a lab these are the tasks that are not done. The map is a strip of two lines: what
//!   its view counts (`web 3/4`: ready and desired pods), and what is not well
//!   (`web-1 ImagePullBackOff`) or the newest event. While a lab asks for the cause, the strip
//!   tells no more of what is not well than `kubectl get`. F2 shows the whole map and goes back.
//!   While a question waits for its answer there is no strip.
//! - Below 80 columns or 24 lines one pane is shown at a time.
//!
//! A drill prints its tasks into the shell.
//! ## Left out
//! Shells with a grammar of their own (fish, nu, tcsh): bash or sh runs instead, and a terminal
//! session says so.
//!
//! The shell of busybox, e.g. on Alpine Linux, reads no start file here (`ENV`). After `trap - INT`
//! Ctrl-C ends it, and the next line gets a new one.
//!
//! `exec` with a redirection of descriptor 0, 7 or 8, at a terminal also of 2, does not outlast its
//! line: the shell runs each line with descriptors of the session in their place ([`dialect`]).
//! Those of 1, 3 to 6 and 9 last, so `exec 9>lock` and `flock 9` work.
//!
//! `$?` and `$_` are those of the line before; bash's `PIPESTATUS` knows only pipelines of its own
//! line. A trap for DEBUG runs for the commands of the session, too, ksh's `history` lists them,
//! and a script shows them after `set -x` and `set -v`.
//! ## Read next
//! `cli`, which brings the learner here; [`dialect`] for the trick with the prompt.

#![warn(missing_docs)]

pub mod beside;
mod breaks;
mod column;
mod commands;
mod complete;
pub mod connection;
pub mod consent;
mod dialect;
mod editor;
mod error;
mod exit;
pub mod guests;
mod kubeconfig;
pub mod labs;
pub mod lesson;
mod lesson_files;
mod line;
mod memory;
mod names;
pub mod options;
mod paste;
pub mod practice;
pub mod proof;
pub mod prose;
pub mod record;
pub mod repl;
mod screen;
mod script;
mod session;
pub mod settings;
mod shell;
pub mod terminal;
pub mod texts;
pub mod tracks;
mod tui;
mod typed;

pub use error::Error;
