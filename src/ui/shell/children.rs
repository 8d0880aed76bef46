//! The children of a process, as /proc tells of them: proc_pid_stat(5).

/// Names of more children are left out.
const MAX: usize = 64;

/// The names of the children of a process, without those that have ended. A kernel without
/// `CONFIG_PROC_CHILDREN` names none.
pub(super) fn names(pid: i32) -> Vec<String> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let stat = |child: &str| std::fs::read(format!("/proc/{child}/stat")).ok();
    children.split_whitespace().take(MAX).filter_map(|child| alive(&stat(child)?)).collect()
}

/// The name in a line of `stat`: `712 (sleep) S 700 …`. `None`: the process is a zombie or dead.
/// The name may have brackets and spaces in it, and bytes that are no UTF-8. Pure.
fn alive(stat: &[u8]) -> Option<String> {
    let stat = String::from_utf8_lossy(stat);
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    (!after.trim_start().starts_with(['Z', 'X'])).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_has_its_name_until_it_has_ended() {
        assert_eq!(alive(b"712 (sleep) S 700 712 700").as_deref(), Some("sleep"));
        assert_eq!(alive(b"712 (a) b (c) T 700").as_deref(), Some("a) b (c"));
        assert_eq!((alive(b"712 (sleep) Z 700"), alive(b"")), (None, None));
        assert_eq!(alive(b"712 (caf\xe9) S 700").as_deref(), Some("caf\u{fffd}"), "Latin-1");
        // The shell's own children, not those of this test's other threads.
        let script = "sleep 900 & p=$!; sleep 900 & q=$!; echo; read end; kill $p $q";
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdin(std::process::Stdio::piped());
        let mut shell = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut told = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut told).unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        // Each is a copy of the shell until it has become the program.
        let until = clock::Instant::now() + std::time::Duration::from_secs(10);
        while names(pid) != ["sleep", "sleep"] && clock::Instant::now() < until {
            std::thread::yield_now();
        }
        let running = names(pid);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(running, ["sleep", "sleep"]);
    }
}
