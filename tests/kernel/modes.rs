//! Modes of the files that a container finds: those of an image, whatever umask the session has.

use super::world::{Check, World, ended, ensure};
use cri::{ContainerConfig, Runtime};
use linux::user::Ids;

/// The tests that set a umask for their session, and that umask.
pub(crate) const UMASKS: &[(&str, u32)] =
    &[("a_strict_umask_closes_no_container", 0o077), ("a_lax_umask_opens_no_container", 0)];

const LOOK: &str = "for file in / /bin /bin/sh /etc /etc/passwd /etc/group /var/log /tmp /root \
        /etc/hosts /etc/hostname /etc/resolv.conf; do stat -c '%a %n' $file; done
    umask; cat /etc/passwd /etc/resolv.conf > /dev/null && echo read
    touch /x 2> /dev/null || echo no file in /
    touch /etc/passwd 2> /dev/null || echo no write to passwd
    test -r /sys/fs/cgroup/cgroup.procs && echo own limits || echo no limits";

const MODES: [&str; 14] = [
    "755 /",
    "755 /bin",
    "555 /bin/sh",
    "755 /etc",
    "644 /etc/passwd",
    "644 /etc/group",
    "755 /var/log",
    "1777 /tmp",
    "700 /root",
    "644 /etc/hosts",
    "644 /etc/hostname",
    "644 /etc/resolv.conf",
    "0022",
    "read",
];
const REFUSED: [&str; 2] = ["no file in /", "no write to passwd"];

/// The umask of this process, main.
fn umask() -> Check<u32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:")).ok_or("no umask")?;
    Ok(u32::from_str_radix(mask.trim(), 8)?)
}

pub(crate) async fn of_an_image(w: World) -> Check {
    let umask = umask()?;
    ensure(
        UMASKS.iter().any(|(_, mask)| *mask == umask),
        format!("main lost the session's umask: {umask:o}"),
    )?;
    let runtime = &w.nodes[0].runtime;
    // With one id there is no other user, and an ordinary user's pods have no users of their own.
    let users = if w.ids == Ids::Single { None } else { Some(1000) };
    for own_users in [false, true].into_iter().take(if w.ids.rootless() { 1 } else { 2 }) {
        let name = if own_users { "own-users" } else { "users" };
        let mut sandbox = w.sandbox(name);
        sandbox.own_users = own_users;
        let sandbox = runtime.run_pod_sandbox(sandbox).await?;
        let mut config = ContainerConfig {
            name: "look".into(),
            image: "busybox".into(),
            command: vec!["sh".into(), "-c".into(), LOOK.into()],
            log_path: "look/0.log".into(),
            ..ContainerConfig::default()
        };
        config.security.run_as_user = users;
        let id = runtime.create_container(&sandbox.id, config).await?;
        runtime.start_container(&id).await?;
        ended(runtime, &id).await?;
        let log = w.log_of(0, &id).await?;
        let mut said: Vec<&str> =
            log.lines().filter_map(|line| line.split_once(" stdout F ").map(|(_, t)| t)).collect();
        let limits = if w.cgroups == "v2" { "own limits" } else { "no limits" };
        let reads_limits = said.pop() == Some(limits);
        ensure(reads_limits || own_users, format!("{name}, umask {umask:03o}:\n{log}"))?;
        let refused: &[&str] = if users.is_some() { &REFUSED[..] } else { &[] };
        ensure(said == [&MODES[..], refused].concat(), format!("{name}, umask {umask:03o}:\n{log}"))?;
    }
    Ok(())
}
