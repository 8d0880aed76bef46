//! Which devices a container may use that may make nodes.

use super::world::{Check, World, ended, ensure, shell};
use cri::Runtime;
use std::os::unix::fs::FileTypeExt;

/// In /dev, because no other file system lets a container that is not privileged open a node: the
/// control group alone says no there. The last part is the memory, the kernel's log, a disk and the
/// tunnel.
const TRY: &str = "cd /dev; mknod n c 1 3 && echo x > n && echo null works; mknod z c 1 5 && head -c1 z | wc -c; \
    for d in 'c 1 1' 'c 1 11' 'b 7 0' 'b 254 0' 'b 8 0' 'c 10 200' 'c 4 0'; do rm -f d; \
    if mknod d $d; then head -c1 d 2>&1 | grep -q 'Operation not permitted' && echo refused || echo opened $d; else echo no node; fi; done; \
    tty < /dev/ptmx >/dev/null; exec 3<>/dev/ptmx && echo terminal works";

/// `CAP_MKNOD` is granted where the control group judges over devices, by a list (v1) or a program
/// (v2), and nowhere else.
pub(crate) async fn refused(w: World) -> Check {
    let mut config = shell(TRY);
    config.security.add_capabilities = vec!["MKNOD".into()];
    let pod = w.pod(0, "maker", config).await?;
    let status = ended(&w.nodes[0].runtime, &pod.container).await?;
    let log = w.log_of(0, &pod.container).await?;
    let said: Vec<&str> = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let warned = status.warnings.iter().any(|warning| warning.contains("MKNOD"));
    let count = |what: &str| said.iter().filter(|line| line.trim() == what).count();
    ensure(!log.contains("opened") && count("terminal works") == 1, format!("{}: {log}", w.cgroups))?;
    if w.ids.rootless() {
        return ensure(count("null works") == 0, log);
    }
    let controls = w.cgroups == "v2" || (w.cgroups.starts_with("v1") && w.cgroups.contains("devices"));
    ensure(warned != controls, format!("{}: {:?}", w.cgroups, status.warnings))?;
    match controls {
        true => ensure((count("null works"), count("1"), count("refused")) == (1, 1, 7), log),
        false => ensure((count("null works"), count("no node")) == (0, 7), log),
    }
}

/// A privileged container sees the devices of the machine, and what it writes beside them goes with
/// it.
pub(crate) async fn privileged(w: World) -> Check {
    let left = format!("left-by-{}", std::process::id());
    let script = format!(
        "ls /dev/shm; echo mine > /dev/shm/{left}; mkdir /dev/{left}; ls -d /dev/{left} /dev/shm/{left}; stat -f -c %T /dev/mqueue /dev/pts
        for f in /dev/*; do [ -c $f -o -b $f ] && echo node $f; done; exec 3<>/dev/ptmx && echo terminal works
        mknod /tmp/n c 1 3 && echo x > /tmp/n && echo own node works"
    );
    for name in ["first", "second"] {
        let mut config = shell(&script);
        config.security.privileged = true;
        let pod = w.pod(0, name, config).await?;
        ended(&w.nodes[0].runtime, &pod.container).await?;
        let log = w.log_of(0, &pod.container).await?;
        let count = log.lines().filter(|line| line.ends_with(&left)).count();
        ensure(count == 2, format!("of its own, and empty at first: {log}"))?;
        ensure(log.contains("F devpts") && log.contains("terminal works"), &log)?;
        ensure(log.contains("own node works") != w.ids.rootless(), &log)?;
        for entry in std::fs::read_dir("/dev")?.flatten() {
            let (kind, name) = (entry.file_type()?, entry.file_name().to_string_lossy().into_owned());
            let is_device =
                (kind.is_char_device() || kind.is_block_device()) && name != "console" && name != "ptmx";
            let line = format!("F node /dev/{name}\n");
            ensure(!is_device || log.contains(&line), format!("{name} is missing: {log}"))?;
        }
        w.nodes[0].runtime.remove_pod_sandbox(&pod.sandbox).await?;
    }
    for place in ["/dev", "/dev/shm"] {
        ensure(!std::path::Path::new(place).join(&left).exists(), format!("{place} of the machine"))?;
    }
    Ok(())
}

/// The containers of a pod have one file system at /sys, that of their network: what a plain one
/// may only read, a privileged one that starts beside it may write.
pub(crate) async fn kernel_objects(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let look = "while read -r _ _ _ _ at rest; do [ \"$at\" = /sys ] && echo \"sys $rest\"; done < /proc/self/mountinfo; sleep 600";
    let plain = w.pod(0, "objects", shell(look)).await?;
    w.logged(0, &plain.container, "sys ro,").await?;
    let mut config = shell(look);
    (config.name, config.log_path) = ("privileged".into(), "privileged/0.log".into());
    config.security.privileged = true;
    let beside = runtime.create_container(&plain.sandbox, config).await?;
    runtime.start_container(&beside).await?;
    w.logged(0, &beside, "sys rw,").await?;
    let log = w.log_of(0, &beside).await?;
    ensure(log.contains("- sysfs sysfs rw"), log)?;
    Ok(runtime.remove_pod_sandbox(&plain.sandbox).await?)
}
