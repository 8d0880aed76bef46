//! `up`, `down`, `status`, `reset`, `kubeconfig`, `fault`, `kubectl`, `etcdctl`, and the cluster
//! that `repl` and `learn` connect to.

mod faults;
mod files;
mod start;
mod status;
mod stop;
mod tools;

pub(crate) use faults::fault;
pub(crate) use files::{kubeconfig, reset};
pub(crate) use start::up;
pub(crate) use status::status;
pub(crate) use stop::down;
pub(crate) use tools::{etcdctl, etcdctl_alone, kubectl};

use super::args::Session;
use cluster::{Error, Place, Refusal};
use ui::options::Options;
use ui::texts::Say;
use ui::{repl, settings};

/// A text in the language of this home.
fn say(place: &Place, what: Say, with: &[&str]) -> String {
    settings::language(None, &place.home).say(what, with)
}

/// True if the cluster has a kubeconfig: it was started at least once.
///
/// # Errors
/// It cannot be found out: this user may not look there, for example.
fn has_kubeconfig(place: &Place) -> Result<bool, Error> {
    let path = place.kubeconfig();
    path.try_exists().map_err(|cause| Error::File { path, cause })
}

/// Makes a refusal the error of a command.
fn refuse(refusal: Refusal) -> anyhow::Error {
    Error::from(refusal).into()
}

/// Runs an interactive session: `ropewalk` alone, `learn` and `repl`.
///
/// # Errors
/// The session cannot start, or ends with an error.
pub(crate) async fn session(session: Session, more: impl FnOnce(Options) -> Options) -> anyhow::Result<i32> {
    Ok(repl::run(more(options(session))).await?)
}

/// Returns the options of a session out of those of the command line.
pub(crate) fn options(session: Session) -> Options {
    Options {
        name: session.name,
        lang: session.lang,
        api_port: session.api_port,
        plain: session.screen.plain,
        ascii: session.screen.ascii,
        ..Options::default()
    }
}
