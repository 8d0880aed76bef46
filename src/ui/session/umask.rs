//! The umask of the learner's shell, for lines that run in this program: `umask 077`, and then
//! `k cp web:/etc/token .`, makes a file that no other user may read.

use super::Session;
use crate::shell::Shell;
use nix::sys::stat::{Mode, umask};

/// Puts back the umask of before when it is dropped.
pub(super) struct Umask(Mode);

impl Session {
    /// Gives files that are made from now on the modes that the shell would give them, until the
    /// guard is dropped. `None`: there is no shell, or the kernel does not tell its umask.
    pub(super) fn umask_of_shell(&self) -> Option<Umask> {
        self.shell.as_ref().and_then(Shell::umask).map(|mask| Umask(umask(mask)))
    }
}

impl Drop for Umask {
    fn drop(&mut self) {
        umask(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Script, play};
    use crate::session::Manner;
    use crate::texts::Lang;
    use std::os::unix::fs::PermissionsExt;

    /// Set in the process whose umask changes: all of its threads have the same.
    const INSIDE: &str = "ROPEWALK_TEST_UMASK";

    /// Not a test of its own: what the one below runs in a process.
    #[test]
    fn makes_a_file_under_the_umask_of_a_shell() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        std::fs::write(dir.path().join("a.yaml"), object).unwrap();
        std::fs::write(dir.path().join("kustomization.yaml"), "resources: [a.yaml]\n").unwrap();
        let (folder, file) = (dir.path().display(), dir.path().join("made"));
        let before = umask(Mode::from_bits_truncate(0o022));
        let lines = ["umask 077".to_string(), format!("kustomize {folder} -o {}", file.display())];
        assert_eq!(play(&mut session, Script::of(lines)), 0);
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(umask(before).bits(), 0o022, "this program has its own again");
    }

    #[test]
    fn a_file_of_a_line_of_kubectl_has_the_mode_that_the_shell_would_give_it() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "session::umask::tests::makes_a_file_under_the_umask_of_a_shell"]);
        let ran = command.env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }
}
