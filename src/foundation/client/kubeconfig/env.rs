//! The environment in which a kubeconfig is found and read: variables, files, the working
//! directory.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a client program finds around it.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// The kubeconfig that is used unless `--kubeconfig` names one, whatever `KUBECONFIG` says.
    pub kubeconfig: Option<PathBuf>,
    /// `KUBECONFIG`, `HOME`, `EDITOR`, `KUBE_EDITOR`, …
    pub vars: BTreeMap<String, String>,
    /// What relative paths start from.
    pub cwd: PathBuf,
    /// Where standard output goes if its user does not see it: `file` or `null`.
    pub unseen: Option<&'static str>,
}

impl Env {
    /// This process' own.
    pub fn of_process() -> Env {
        Env {
            kubeconfig: None,
            vars: std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
            cwd: std::env::current_dir().unwrap_or_else(|_| "/".into()),
            unseen: None,
        }
    }
}
