//! The function `ropewalk` of the learner's shell. Pure.

use crate::line::{OF_LESSON, commands_of_a_cluster};

/// Returns the definition of the function: it runs this program, on the session's cluster unless
/// its words name one. A line that begins with `ropewalk` has the name already; in a loop, in a
/// subshell and after `fc -s` the function alone adds it. Both arguments are quoted for the shell.
///
/// `(ropewalk fault heal)` in a session on `two` runs `ropewalk fault --name two heal`.
pub(super) fn function(program: &str, cluster: &str) -> String {
    let about = commands_of_a_cluster().collect::<Vec<_>>().join("|");
    let as_it_is = format!("{program} \"$@\"; return;;");
    let unless = |named: &str| {
        format!("for __ropewalk_word in \"$@\"; do case $__ropewalk_word in {named}) {as_it_is} esac; done;;")
    };
    let (named, of_lesson) = (unless("--name|--name=*"), OF_LESSON.join("|"));
    let named_lesson = unless("--name|--name=*|--kubeconfig|--kubeconfig=*");
    // Behind their first word kubectl and etcdctl have flags of their own.
    format!(
        "ropewalk() {{ case \"${{1-}}\" in \
         kubectl|etcdctl) case \"${{2-}}\" in --name|--name=*) {as_it_is} esac;; \
         lesson) case \"${{2-}}\" in {of_lesson}) ;; *) {as_it_is} esac; {named_lesson} \
         {about}) {named} \
         *) {as_it_is} esac; \
         __ropewalk_word=$1; shift; {program} \"$__ropewalk_word\" --name {cluster} \"$@\"; }}; "
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// As `line::classify` has it for a line that begins so.
    #[test]
    fn the_program_is_about_the_cluster_of_the_session_wherever_it_stands() {
        let own = function("echo", "'two'");
        for (line, ran) in [
            ("(ropewalk undo 2)", "undo --name two 2"),
            ("for i in 1; do ropewalk fault heal 'a b'; done", "fault --name two heal a b"),
            ("if ropewalk down; then :; fi", "down --name two"),
            ("(ropewalk undo --name main 2)", "undo --name main 2"),
            ("(ropewalk undo --name=main)", "undo --name=main"),
            ("(ropewalk kubectl expose po a --name=b)", "kubectl --name two expose po a --name=b"),
            ("(ropewalk kubectl --name main get po)", "kubectl --name main get po"),
            ("(ropewalk what pod)", "what pod"),
            ("(ropewalk up)", "up --name two"),
            ("(ropewalk lesson check 04)", "lesson --name two check 04"),
            ("(ropewalk lesson check --kubeconfig f)", "lesson check --kubeconfig f"),
            ("(ropewalk lesson new a/01)", "lesson new a/01"),
            ("(ropewalk lesson)", "lesson"),
            ("(ropewalk)", ""),
        ] {
            for shell in ["/bin/bash", "/bin/sh"] {
                let text = format!("{own}set -eu\n{line}\n");
                let said = Command::new(shell).args(["-c", &text]).output().unwrap();
                assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), ran, "{shell} {line}");
            }
        }
    }

    #[test]
    fn the_exit_code_is_that_of_the_program() {
        let own = function("sh -c 'exit 3'", "'two'");
        for line in ["(ropewalk undo)", "(ropewalk undo --name a)", "(ropewalk what)"] {
            let ended = Command::new("/bin/sh").args(["-c", &format!("{own}\n{line}")]).status().unwrap();
            assert_eq!(ended.code(), Some(3), "{line}");
        }
    }
}
