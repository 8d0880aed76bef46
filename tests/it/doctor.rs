//! What a machine may lack: taken away for real, seen by `doctor`, and either done without or
//! refused with the way to mend it.

use super::footprint::Footprint;
use super::support::{Home, PATIENCE, Said, any_kubectl, capable, eventually, skip, turn};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const LEARNER: u32 = 65_500;
const AS_LEARNER: &str = "setpriv --reuid 65500 --regid 65500 --clear-groups --";

/// Where something is taken away, and by which line of a root's shell.
enum Where {
    /// A user namespace with all of the machine's users, whose limits are its own.
    Users(&'static str),
    /// A mount namespace.
    Mounts(&'static str),
    /// A filter of system calls, which answers this one with that error: an old kernel, or a
    /// container that was locked down.
    Call(i64, i32),
}
use Where::{Call, Mounts, Users};

/// What is taken away, for whom, and what doctor has to say: the capability, whether a cluster can
/// do without, and a part of the remedy.
const LACKS: &[(Where, bool, &str, bool, &str)] = &[
    (
        Users("echo 0 >/proc/sys/user/max_user_namespaces"),
        true,
        "user namespaces",
        true,
        "sudo sysctl -w user.max_user_namespaces=",
    ),
    (
        Users("echo 0 >/proc/sys/user/max_pid_namespaces"),
        false,
        "pid and mount namespaces",
        true,
        "sudo sysctl -w user.max_pid_namespaces=",
    ),
    (
        Users("echo 0 >/proc/sys/user/max_mnt_namespaces"),
        false,
        "pid and mount namespaces",
        true,
        "sudo sysctl -w user.max_mnt_namespaces=",
    ),
    (
        Users("echo 0 >/proc/sys/user/max_net_namespaces"),
        false,
        "network namespaces",
        true,
        "sudo sysctl -w user.max_net_namespaces=",
    ),
    (
        Users("echo 0 >/proc/sys/user/max_uts_namespaces"),
        false,
        "uts, ipc, cgroup namespaces",
        true,
        "sudo sysctl -w user.max_uts_namespaces=",
    ),
    (
        Users("echo 0 >/proc/sys/user/max_ipc_namespaces"),
        false,
        "uts, ipc, cgroup namespaces",
        true,
        "sudo sysctl -w user.max_ipc_namespaces=",
    ),
    (
        Users("echo 0 >/proc/sys/user/max_cgroup_namespaces"),
        false,
        "uts, ipc, cgroup namespaces",
        true,
        "sudo sysctl -w user.max_cgroup_namespaces=",
    ),
    (
        Mounts("mount -t tmpfs hidden /proc/tty"),
        true,
        "/proc of a namespace",
        false,
        "systempaths=unconfined",
    ),
    (Mounts("umount -R /sys/fs/cgroup"), false, "cgroups", false, "systemd-run"),
    (Call(libc::SYS_clone3, libc::ENOSYS), false, "system calls", true, "seccomp=unconfined"),
    (Call(libc::SYS_pidfd_open, libc::ENOSYS), false, "system calls", true, "a newer kernel"),
    (Call(libc::SYS_pidfd_send_signal, libc::ENOSYS), false, "system calls", true, "a newer kernel"),
    (Call(libc::SYS_memfd_create, libc::ENOSYS), false, "system calls", true, "a newer kernel"),
    (Call(libc::SYS_openat2, libc::ENOSYS), false, "system calls", true, "a newer kernel"),
    (Call(libc::SYS_close_range, libc::ENOSYS), false, "system calls", true, "a newer kernel"),
    (Call(libc::SYS_move_mount, libc::EPERM), false, "volume mounts", true, "docker run --privileged"),
    (Call(libc::SYS_setns, libc::EPERM), false, "system calls", true, "seccomp=unconfined"),
    (Call(libc::SYS_seccomp, libc::ENOSYS), false, "seccomp filters", true, "CONFIG_SECCOMP_FILTER"),
    (Call(libc::SYS_mount, libc::EPERM), false, "pid and mount namespaces", true, "docker run --privileged"),
    (Call(libc::SYS_pivot_root, libc::EPERM), false, "pivot_root", true, "docker run --privileged"),
];

/// This thread, and what it starts, gets this answer to that call from now on.
fn forbid(call: i64, error: i32) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture that has filters");
    let rules = [(call, vec![])].into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(error as u32), arch);
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    seccompiler::apply_filter(&program).expect("it can be loaded");
}

impl Where {
    /// Runs the program where this is missing.
    fn run(&self, home: &Home, as_learner: bool, args: &[&str]) -> Said {
        let (take, place) = match self {
            Call(call, error) => {
                let mut command = home.command_of_ours(home.program(), args);
                let on_a_thread = || {
                    forbid(*call, *error);
                    command.output().expect("the program runs").into()
                };
                return std::thread::scope(|scope| scope.spawn(on_a_thread).join().expect("no panic"));
            }
            Users(take) => (take, Some(UserNamespace::new())),
            Mounts(take) => (take, None),
        };
        let become_ = if as_learner { AS_LEARNER } else { "" };
        let line = format!("{take} && exec {become_} \"$0\" \"$@\"");
        let mut command = match &place {
            Some(users) => home.command_of_ours("nsenter", &["-U", "-t", &users.0.id().to_string()]),
            None => home.command_of_ours("unshare", &["-m"]),
        };
        command.args(["sh", "-c", &line]).arg(home.program()).args(args);
        command.output().expect("nsenter and unshare, of util-linux, run").into()
    }
}

/// A user namespace with all of this machine's users, kept by a process that waits for its input's
/// end.
struct UserNamespace(Child);

impl UserNamespace {
    fn new() -> UserNamespace {
        let mut command = Command::new("unshare");
        command.args(["-U", "sh", "-c", "echo made; read end"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("unshare, of util-linux, runs");
        let out = process.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut String::new()).expect("it is made");
        for map in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{}/{map}", process.id()), "0 0 100000\n").expect("we are root");
        }
        UserNamespace(process)
    }
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait(); // it can only end
    }
}

#[test]
fn what_is_taken_away_is_missed_and_how_to_mend_it_is_told() {
    if !capable() {
        return;
    }
    let Some(home) = Home::of_user(LEARNER) else {
        return skip("only root can take something away");
    };
    for (place, as_learner, name, fatal, remedy) in LACKS {
        let said = place.run(&home, *as_learner, &["doctor", "-o", "json"]);
        let found: Value =
            serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{name}: {e}: {said:?}"));
        let found = found.as_array().expect("a list");
        let lacking: Vec<&Value> = found.iter().filter(|c| c["ok"] == false).collect();
        let it = lacking.iter().find(|c| c["name"] == *name).unwrap_or_else(|| panic!("{name}: {found:?}"));
        assert!(it["howToMend"].as_str().is_some_and(|how| how.contains(remedy)), "{name}: {it}");
        assert!(it["whatIsLost"].as_str().is_some_and(|lost| !lost.is_empty()), "{name}: {it}");
        assert_eq!(said.code, i32::from(*fatal), "{name}: {said:?}");
        let text = place.run(&home, *as_learner, &["doctor"]);
        let verdict = if *fatal { "cannot run a cluster yet" } else { "This machine can run a cluster" };
        assert!(
            text.out.contains(&format!("LACK  {name}")) && text.out.contains(verdict),
            "{name}: {}",
            text.out
        );
    }
}

#[test]
fn a_cluster_does_without_or_is_refused_with_the_remedy() {
    if !capable() {
        return;
    }
    let Some(refused) = Home::of_user(LEARNER) else {
        return skip("only root can take something away");
    };
    let up = ["up", "--name", "t", "--workers", "1", "--detach", "--wait"];
    let (place, as_learner, _, _, remedy) = &LACKS[0];
    let said = place.run(&refused, *as_learner, &up).fails(remedy);
    assert!(said.err.contains("ropewalk doctor"), "{}", said.err);
    assert!(Footprint::of(&refused).left().is_empty(), "a refusal leaves nobody behind");

    let said = Call(libc::SYS_clone3, libc::ENOSYS).run(&refused, false, &up).fails("ropewalk doctor");
    assert!(said.err.contains("not implemented"), "{}", said.err);
    assert!(Footprint::of(&refused).left().is_empty(), "a refusal leaves nobody behind");

    // Without control groups everything runs, and `up` says what that means.
    let (_turn, home) = (turn(), Home::new());
    let said = Mounts("umount -R /sys/fs/cgroup").run(&home, false, &up);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("Limits on memory, pids, cpu are not enforced here"), "{}", said.err);
    let cluster = super::support::Cluster { home: &home };
    let any = any_kubectl();
    let limited = r#"{"spec":{"containers":[{"name":"web","image":"nginx","resources":{"limits":{"memory":"64Mi","cpu":"100m"}}}]}}"#;
    cluster.kubectl(&any, &["run", "web", "--image=nginx", "--overrides", limited]).ok();
    let phase = || cluster.kubectl(&any, &["get", "pod", "web", "-o", "jsonpath={.status.phase}"]).ok();
    eventually(PATIENCE, phase, |phase| phase == "Running");
    let reasons = || cluster.kubectl(&any, &["get", "events", "-o", "jsonpath={.items[*].reason}"]).ok();
    eventually(PATIENCE, reasons, |reasons| reasons.contains("LimitNotEnforced"));
}

#[test]
fn a_language_that_is_chosen_on_the_command_line_stays() {
    let home = Home::new();
    let said = |args: &[&str]| -> Said {
        home.command(home.program()).args(args).env("LC_ALL", "C.UTF-8").output().expect("it runs").into()
    };
    assert!(said(&["lang"]).ok().contains("The language is English. Change it with `ropewalk lang en`"));
    assert!(said(&["lang", "ko"]).ok().contains("이제부터 한국어로"));
    assert!(said(&["lang"]).ok().contains("현재 언어는 한국어입니다"));
    assert!(said(&["lang", "en"]).ok().contains("English from now on"));
    assert!(said(&["lang"]).ok().contains("The language is English."));
}

#[test]
fn what_the_machine_allows_is_told_in_korean_too() {
    if !capable() {
        return;
    }
    let home = Home::new();
    let korean = |args: &[&str]| -> Said {
        home.command(home.program()).args(args).env("LC_ALL", "ko_KR.UTF-8").output().expect("it runs").into()
    };
    let said = korean(&["doctor"]).ok();
    for part in ["이 컴퓨터에서 클러스터를 실행할 수 있습니다", "있음  커널", "파드의 사용자 네임스페이스"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    for line in said.lines() {
        assert!(
            !["ok  ", "LACK", "      without", "      to mend"].iter().any(|word| line.starts_with(word)),
            "{line}"
        );
    }
    // A document is the same everywhere. Volumes of pods with their own users lie in the home, so
    // that is where it is tried.
    let found: Value = serde_json::from_str(&korean(&["doctor", "-o", "json"]).ok()).expect("JSON");
    let users = found.as_array().expect("a list").iter().find(|c| c["name"] == "user namespaces of pods");
    let users = users.expect("it is tried").clone();
    let found = users["found"].as_str().unwrap_or_default();
    let place = home.path().display().to_string();
    assert!(
        found.contains(&place) || found.contains("ordinary user") || found.contains("tmpfs (/tmp)"),
        "{users}"
    );
}
