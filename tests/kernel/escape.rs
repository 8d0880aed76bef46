//! What somebody would try who wants out of a container. Everything is refused.
//!
//! Each attempt is a line of shell that ends with 0 only where it got what it wanted; the same tools are first shown to work on what is allowed.

use super::world::{Check, World, ended, ensure, shell};
use ropewalk::cri::{Mount, Runtime};
use std::collections::BTreeMap;
use std::net::TcpListener;

/// Attempts with the machine's own tools. `@SECRET@` is a file of the host, `@PORT@` a port of its loopback, `@NEIGHBOUR@` a file in another pod's volume.
const ATTEMPTS: &[(&str, &str)] = &[
    // other people's processes
    ("processes of the host", "[ $(ls -d /proc/[0-9]* | wc -l) -gt 12 ]"),
    ("the host's first process", "[ \"$(cat /proc/1/comm)\" != bash ]"),
    ("its namespaces", "nsenter --target 1 --mount --net --pid true"),
    // files
    ("a file of the host", "cat @SECRET@"),
    ("a file of the host through a process", "cat /proc/1/root@SECRET@"),
    ("a file of the host upwards", "cd /; cat ../../../../../../..@SECRET@"),
    (
        "a file of the host out of a second root",
        "mkdir -p /jail && perl -e 'chroot \"/jail\" or exit 1; chdir \"..\" for 1..64; chroot \".\" or exit 1; open(F, \"<\", \"@SECRET@\") or exit 1; exit 0'",
    ),
    ("a neighbour's volume", "cat @NEIGHBOUR@"),
    ("the machine's tools", "echo x > /usr/bin/true"),
    ("the program that everything runs from", "exec 3<>/proc/1/exe"),
    // devices
    (
        "the disk",
        "for d in '8 0' '254 0' '259 0' '7 0'; do rm -f /d; mknod /d b $d && head -c1 /d && exit 0; done; exit 1",
    ),
    ("the memory", "mknod /m c 1 1 && head -c1 /m"),
    ("the kernel's log, as a device", "mknod /k c 1 11 && exec 3</k"),
    (
        "devices of the host",
        "for d in /dev/mem /dev/kmsg /dev/sda /dev/vda /dev/fuse /dev/net/tun /dev/loop0; do [ -e $d ] && exit 0; done; exit 1",
    ),
    // mounts and namespaces
    ("a tmpfs", "mkdir -p /t && mount -t tmpfs t /t"),
    ("another proc", "mkdir -p /t && mount -t proc p /t"),
    ("a writable sys", "mount -o remount,rw /sys"),
    ("a bind over what is masked", "mount --bind /tmp /proc/sys"),
    ("control groups of its own", "mkdir -p /t && mount -t cgroup -o pids c /t"),
    ("a user namespace", "unshare --user --map-root-user true"),
    ("a mount namespace", "unshare --mount true"),
    ("a network namespace", "unshare --net true"),
    // what the kernel is told
    ("the program for core dumps", "echo '|/x' > /proc/sys/kernel/core_pattern"),
    (
        "the agent of control groups",
        "f=$(ls -d /sys/fs/cgroup/release_agent /sys/fs/cgroup/*/release_agent 2>/dev/null | head -1); [ -n \"$f\" ] && echo /x > $f",
    ),
    (
        "its own limits",
        "for f in /sys/fs/cgroup/pids.max /sys/fs/cgroup/*/pids.max /sys/fs/cgroup/memory.max; do [ -e $f ] && echo max > $f && exit 0; done; exit 1",
    ),
    ("the magic key", "echo h > /proc/sysrq-trigger"),
    ("the host's name", "hostname other"),
    ("the kernel's memory", "head -c1 /proc/kcore | grep -q ."),
    ("the kernel's log", "dmesg | grep ."),
    ("settings of the kernel", "echo 1 > /proc/sys/vm/drop_caches"),
    ("files of the kernel", "touch /sys/kernel/x || echo 0 > /sys/kernel/mm/ksm/run"),
    // network
    ("the host's loopback", "echo > /dev/tcp/127.0.0.1/@PORT@"),
    ("the host's loopback by another name", "echo > /dev/tcp/127.1.2.3/@PORT@"),
    (
        "its network, switched off",
        "perl -e 'socket(S, 2, 2, 0) or exit 0; exit(ioctl(S, 0x8914, pack(\"a16s x14\", \"lo\", 0)) ? 0 : 1)'",
    ), // SIOCSIFFLAGS
];

/// System calls by their number on x86_64. Each has to fail for want of permission; another error would mean that somebody looked at the arguments.
#[cfg(target_arch = "x86_64")]
const CALLS: &[(&str, &str)] = &[
    ("bpf", "321, 0, 0, 0"),
    ("init_module", "175, 0, 0, 0"),
    ("finit_module", "313, 0, 0, 0"),
    ("delete_module", "176, 0, 0"),
    ("kexec_load", "246, 0, 0, 0, 0"),
    ("perf_event_open", "298, 0, 0, 0, 0, 0"),
    ("userfaultfd", "323, 0"),
    ("keyctl", "250, 0, 0, 0, 0, 0"),
    ("add_key", "248, 0, 0, 0, 0, 0"),
    ("open_by_handle_at", "304, 0, 0, 0"),
    ("reboot", "169, 0, 0, 0, 0"), // without the magic numbers it does nothing, even where it is allowed
    ("swapon", "167, 0, 0"),
    ("acct", "163, 0"),
    ("iopl", "172, 3"),
    ("pivot_root", "155, 0, 0"),
    ("setns", "308, 0, 0"),
    ("open_tree", "428, 0, 0, 1"),
    ("fsopen", "430, 0, 0"),
    ("clock_settime", "227, 0, 0"),
    ("io_uring_setup", "425, 0, 0"),
    ("fanotify_init", "300, 0, 0"),
    ("a call by its x32 number", "0x40000027"), // getpid
];
#[cfg(not(target_arch = "x86_64"))]
const CALLS: &[(&str, &str)] = &[];

pub async fn refused(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let secret = w.home.join("secret");
    std::fs::write(&secret, "of the host\n")?;
    let volume = w.home.join("neighbour");
    std::fs::create_dir_all(&volume)?;
    std::fs::write(volume.join("file"), "of a neighbour\n")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();

    let mut script = String::new();
    let mut attempt = |name: &str, line: &str| {
        script.push_str(&format!("( {line}\n) </dev/null >/out 2>&1; echo \"{name}=$?\"\n"));
    };
    attempt("allowed: a file", "cat /proc/1/cmdline");
    attempt("allowed: a call", "perl -e 'exit(syscall(39) > 0 ? 0 : 1)'"); // getpid
    attempt("allowed: a volume", "cat /own/file");
    for (name, line) in ATTEMPTS {
        let line = line.replace("@SECRET@", &secret.display().to_string()).replace("@PORT@", &port);
        attempt(name, &line.replace("@NEIGHBOUR@", &volume.join("file").display().to_string()));
    }
    for (name, call) in CALLS {
        let perl = format!(
            "$! = 0; exit 0 if syscall({call}) != -1; print $!; exit(grep({{ $! == $_ }} 1, 13, 38) ? 1 : 0)"
        );
        attempt(name, &format!("perl -e '{perl}'"));
    }
    let mut neighbour = shell("sleep 600");
    let mount = Mount {
        host_root: None,
        host_path: volume.clone(),
        sub_path: "".into(),
        container_path: "/own".into(),
        read_only: false,
    };
    neighbour.mounts.push(mount);
    let neighbour = w.pod(0, "neighbour", neighbour).await?;

    let mut config = shell(&script);
    let own = w.home.join("own");
    std::fs::create_dir_all(&own)?;
    std::fs::write(own.join("file"), "its own\n")?;
    config.mounts.push(Mount {
        host_root: None,
        host_path: own,
        sub_path: "".into(),
        container_path: "/own".into(),
        read_only: false,
    });
    let pod = w.pod(0, "prisoner", config).await?;
    ended(runtime, &pod.container).await?;
    let log = w.log_of(0, &pod.container).await?;
    let said = log.lines().filter_map(|l| l.split_once(" stdout F ")?.1.split_once('='));
    let codes: BTreeMap<&str, i32> =
        said.filter_map(|(name, code)| Some((name, code.parse().ok()?))).collect();

    let mut wrong = Vec::new();
    for name in ["allowed: a file", "allowed: a call", "allowed: a volume"] {
        if codes.get(name) != Some(&0) {
            wrong.push(format!("{name}: {:?}, so the others prove nothing", codes.get(name)));
        }
    }
    for (name, _) in ATTEMPTS.iter().chain(CALLS) {
        match codes.get(name) {
            None => wrong.push(format!("{name}: was not tried")),
            Some(0) => wrong.push(format!("{name}: it got it")),
            Some(126 | 127) => wrong.push(format!("{name}: the tool is missing")),
            Some(_) => {}
        }
    }
    ensure(wrong.is_empty(), format!("{}\n{log}", wrong.join("\n")))?;
    ensure(
        listener.set_nonblocking(true).is_ok() && listener.accept().is_err(),
        "somebody came to the host's loopback",
    )?;

    planted(&w).await?;
    bomb(&w).await?;
    let status = runtime.container_status(&neighbour.container).await?;
    ensure(status.state == ropewalk::cri::ContainerState::Running, format!("the neighbour: {status:?}"))
}

/// Who can write into a volume makes a name in it lead to the host's files, and asks for it as a part of the volume.
async fn planted(w: &World) -> Check {
    let trap = w.home.join("trap");
    std::fs::create_dir_all(trap.join("real"))?;
    std::os::unix::fs::symlink(&w.home, trap.join("absolute"))?;
    std::os::unix::fs::symlink("..", trap.join("upwards"))?;
    for (part, allowed) in [("real", true), ("new/part", true), ("absolute", false), ("upwards", false)] {
        let mut config = shell("sleep 600");
        config.mounts.push(Mount {
            host_root: None,
            host_path: trap.clone(),
            sub_path: part.into(),
            container_path: "/own".into(),
            read_only: false,
        });
        let name = part.replace('/', "-");
        let started = w.pod(0, &name, config).await;
        ensure(started.is_ok() == allowed, format!("{part} of a volume: {:?}", started.err()))?;
    }
    ensure(trap.join("new/part").is_dir(), "a part that was missing is made")
}

/// Processes that make processes stop at the limit, and nobody else notices.
async fn bomb(w: &World) -> Check {
    if w.cgroups.starts_with("none") {
        return Ok(()); // no limits on this machine for this user
    }
    const LIMIT: u64 = 40;
    let mut config = shell(
        "perl -e '$n = 0; for (1..300) { $p = fork; last unless defined $p; if (!$p) { sleep 30; exit } $n++ } print \"forked $n\\n\"; kill 9, -1'; true",
    );
    config.resources.pids_limit = Some(LIMIT);
    let pod = w.pod(0, "bomb", config).await?;
    ended(&w.nodes[0].runtime, &pod.container).await?;
    let log = w.log_of(0, &pod.container).await?;
    let forked = log.lines().find_map(|l| l.split_once("forked ")?.1.trim().parse::<u64>().ok());
    ensure(forked.is_some_and(|n| (LIMIT / 2..LIMIT).contains(&n)), log)
}
