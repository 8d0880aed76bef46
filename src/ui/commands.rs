//! The seam to kubectl: the only file that knows whether it is built in.

use crate::cluster::Place;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a command reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// This program's standard input.
    Own,
    Nothing,
    Text(String),
}

/// Why a command could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    #[error("there is no kubectl on PATH")]
    Kubectl,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The directory that is to stand first on the learner's PATH, if the tools in it work.
pub fn tools(_place: &Place) -> Option<PathBuf> {
    None
}

/// Runs kubectl with the cluster's own kubeconfig and returns its exit code. Ctrl-C on the terminal reaches it.
pub fn run(args: &[String], input: Input, place: &Place) -> Result<i32, Missing> {
    let program = real_kubectl(place).ok_or(Missing::Kubectl)?;
    let mut command = Command::new(program);
    command.args(args).env("KUBECONFIG", place.kubeconfig());
    command.stdin(match input {
        Input::Own => Stdio::inherit(),
        Input::Nothing => Stdio::null(),
        Input::Text(_) => Stdio::piped(),
    });
    let mut child = command.spawn()?;
    if let (Input::Text(text), Some(mut pipe)) = (&input, child.stdin.take()) {
        let _ = pipe.write_all(text.as_bytes()); // it may not want to read it
    }
    let status = child.wait()?;
    use std::os::unix::process::ExitStatusExt;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

/// Candidates for the last of these words, if kubectl itself knows.
pub fn complete(_words: &[String]) -> Option<Vec<String>> {
    None
}

/// The first kubectl on PATH that is not this program.
fn real_kubectl(place: &Place) -> Option<PathBuf> {
    let own = std::env::current_exe().and_then(|p| p.canonicalize()).ok();
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|dir| *dir != place.home.bin())
        .map(|dir| dir.join("kubectl"))
        .find(|file| is_program(file) && file.canonicalize().ok() != own)
}

/// Is this a file that may be run?
pub fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
