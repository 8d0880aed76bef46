//! What was asked of a session on the command line.

use super::Error;
use super::record::Tape;
use super::texts::Lang;
use cluster::{Home, Place, foreign};
use std::path::PathBuf;
use std::sync::Arc;

/// Which cluster a session uses, in which form, and what it runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The name of the cluster, for example `main`.
    pub name: String,
    /// Run these lines and end.
    pub lines: Vec<String>,
    /// Run this file's lines and end.
    pub file: Option<PathBuf>,
    /// The language of `--lang`; `None`: [`super::settings::language`] decides.
    pub lang: Option<Lang>,
    /// Instead of a cluster of our own: the one behind this kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// The port of the API server, for a cluster that has to be started; `None`: the port that the
    /// cluster was made with, else 6443 or a free one.
    pub api_port: Option<u16>,
    /// Lines only, even on a terminal.
    pub plain: bool,
    /// The interface draws with ASCII alone.
    pub ascii: bool,
    /// The lesson that the session opens first: `4` or `first-voyage/04`.
    pub lesson: Option<String>,
    /// What that lesson's setup removes is removed without a question. The interface asks all the
    /// same.
    pub sure: bool,
    /// At a terminal: the lab that is started first, by its id, and its seed; `None`: the seed is
    /// drawn.
    pub lab: Option<(String, Option<u64>)>,
    /// This is the shell pane of the interface, with the token by which it sends commands to the
    /// interface. The interface itself starts the cluster and asks the questions at the end.
    pub in_pane: Option<String>,
    /// Begins with a drill.
    pub drill: Option<Drill>,
    /// Notes what is typed, for the draft of a lesson.
    pub record: Option<Arc<Tape>>,
}

/// Which drill is to begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drill {
    /// Repeat the drill of this seed; `None`: by chance.
    pub seed: Option<u64>,
    /// Ids of the skills to ask for; empty: all that were met.
    pub skills: Vec<String>,
}

impl Options {
    /// The directory of the cluster that is meant.
    pub(super) fn place(&self, home: &Home) -> Result<Place, Error> {
        Ok(match &self.kubeconfig {
            Some(file) => foreign::place(home, file)?,
            None => home.cluster(&self.name)?,
        })
    }
}
