//! What an attacker would try to get out of a container. Everything is refused.
//!
//! Each attempt is a line of shell that ends with 0 only where it got what it wanted; the same
//! tools are first shown to work on what is allowed.

mod paths;
mod published;

pub(crate) use paths::paths;

use super::world::{Check, World, ended, ensure, shell};
use cri::{ExecRequest, Mount, Runtime};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Attempts with the machine's own tools. `@SECRET@` is a file of the host, `@PORT@` a port of its
/// loopback, `@NEIGHBOUR@` a file in another pod's volume.
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
    // Where the container's root is not its owner, it cannot change it: an ordinary user's cluster.
    (
        "the null device of the host",
        "for f in /dev/null /dev/stdin /proc/kcore /proc/keys /proc/timer_list; do [ \"$(stat -Lc %d:%i $f)\" = @NULL@ ] && [ -O $f ] && exit 0; done; exit 1",
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
    // clone3 must look absent, or libcs do not fall back to clone and no thread can be made.
    ("clone3", "perl -e '$! = 0; syscall(435, 0, 0); exit($! == 38 ? 1 : 0)'"),
    // network
    ("the host's loopback", "echo > /dev/tcp/127.0.0.1/@PORT@"),
    ("the host's loopback by another name", "echo > /dev/tcp/127.1.2.3/@PORT@"),
    (
        "its network, switched off",
        "perl -e 'socket(S, 2, 2, 0) or exit 0; exit(ioctl(S, 0x8914, pack(\"a16s x14\", \"lo\", 0)) ? 0 : 1)'",
    ), // SIOCSIFFLAGS
];

/// System calls by their number on x86_64. Each has to fail for want of permission; another error
/// would mean that the kernel looked at the arguments.
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

/// What is tried with the tools of the machine is refused.
pub(crate) async fn refused(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let secret = w.home.join("secret");
    std::fs::write(&secret, "of the host\n")?;
    let volume = w.home.join("neighbour");
    std::fs::create_dir_all(&volume)?;
    std::fs::write(volume.join("file"), "of a neighbour\n")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();

    let script = attempts(&secret, &volume.join("file"), &port)?;
    let mut neighbour = shell("sleep 600");
    neighbour.mounts.push(own(&volume, "/own"));
    let neighbour = w.pod(0, "neighbour", neighbour).await?;

    let mut config = shell(&script);
    let files = w.home.join("own");
    std::fs::create_dir_all(&files)?;
    std::fs::write(files.join("file"), "its own\n")?;
    config.mounts.push(own(&files, "/own"));
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
    ensure(status.state == cri::ContainerState::Running, format!("the neighbour: {status:?}"))
}

/// A shell script that tries everything, and says of each attempt how it ended. `secret` and
/// `neighbour` are files, `port` one of the host's loopback.
fn attempts(secret: &Path, neighbour: &Path, port: &str) -> Check<String> {
    let mut script = String::new();
    let mut attempt = |name: &str, line: &str| {
        script.push_str(&format!("( {line}\n) </dev/null >/out 2>&1; echo \"{name}=$?\"\n"));
    };
    attempt("allowed: a file", "cat /proc/1/cmdline");
    attempt("allowed: a call", "perl -e 'exit(syscall(39) > 0 ? 0 : 1)'"); // getpid
    attempt("allowed: a volume", "cat /own/file");
    let null = std::fs::metadata("/dev/null")?;
    let null = format!("{}:{}", null.dev(), null.ino());
    for (name, line) in ATTEMPTS {
        let line = line.replace("@SECRET@", &secret.display().to_string()).replace("@PORT@", port);
        let line = line.replace("@NULL@", &null);
        attempt(name, &line.replace("@NEIGHBOUR@", &neighbour.display().to_string()));
    }
    for (name, call) in CALLS {
        let perl = format!(
            "$! = 0; exit 0 if syscall({call}) != -1; print $!; exit(grep({{ $! == $_ }} 1, 13, 38) ? 1 : 0)"
        );
        attempt(name, &format!("perl -e '{perl}'"));
    }
    Ok(script)
}

/// Who can write into a volume makes a name in it lead to the host's files, and asks for it as a
/// part of the volume.
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

/// A directory or file of the machine as a volume.
fn own(path: &Path, at: &str) -> Mount {
    Mount {
        host_root: None,
        host_path: path.to_path_buf(),
        sub_path: "".into(),
        container_path: at.into(),
        read_only: false,
    }
}

/// Programs that are exec'd while a process of the container looks for their descriptors.
const EXECS: usize = 60;

/// A process of the container looks at all descriptors of all processes while others are exec'd
/// into it, with and without the right to trace them.
pub(crate) async fn descriptors(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    for (name, add) in
        [("plain", vec![]), ("tracer", vec!["SYS_PTRACE".to_string(), "SYS_ADMIN".to_string()])]
    {
        let look = r#"perl -e '
            $| = 1; print "looking\n"; $seen = 0;
            until (-e "/stop") { for $p (glob("/proc/[0-9]*")) { for $f (glob("$p/fd/*")) {
                $l = readlink($f) // next; $seen++; print "FOUND $f $l\n" unless $l =~ m{^(pipe:|socket:|/dev/|/proc|/lib|/usr|/etc|/stop$|/$)};
                print "OUTSIDE $f\n" if -e "$f/../../../../../../../..@SECRET@"; } } }
            print "seen $seen\n"'"#;
        let secret = w.home.join("secret");
        std::fs::write(&secret, "of the host\n")?;
        let mut config = shell(&look.replace("@SECRET@", &secret.display().to_string()));
        config.security.add_capabilities = add;
        let pod = w.pod(0, name, config).await?;
        w.logged(0, &pod.container, "looking").await?;
        let exec = async |command: &[&str]| -> Check<()> {
            let request = cri::ExecRequest {
                container_id: pod.container.clone(),
                command: command.iter().map(ToString::to_string).collect(),
                ..cri::ExecRequest::default()
            };
            runtime.exec(request).await?.exit.await?;
            Ok(())
        };
        for _ in 0..EXECS {
            exec(&["/usr/bin/true"]).await?;
        }
        exec(&["/usr/bin/touch", "/stop"]).await?;
        ended(runtime, &pod.container).await?;
        let log = w.log_of(0, &pod.container).await?;
        ensure(log.contains("seen "), format!("it did not look: {log}"))?;
        ensure(!log.contains("FOUND") && !log.contains("OUTSIDE"), format!("{name}: {log}"))?;
    }
    // A program begins with its standard streams and nothing else.
    let pod = w.pod(0, "streams", shell("exec ls /proc/self/fd")).await?;
    ended(runtime, &pod.container).await?;
    let log = w.log_of(0, &pod.container).await?;
    let open: Vec<&str> = log.lines().filter_map(|l| Some(l.split_once(" stdout F ")?.1)).collect();
    // The fourth is the directory that is listed.
    ensure(open == ["0", "1", "2", "3"], format!("open: {open:?}, of {log}"))
}

/// Bounds and identities that hold although the pod says nothing, or something odd, about them.
pub(crate) async fn bounds(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let sandbox = runtime.run_pod_sandbox(w.sandbox("bounds")).await?;
    let run = async |name: &str, mut config: cri::ContainerConfig| -> Check<(String, Vec<String>)> {
        config.log_path = format!("{name}/0.log").into();
        let id = runtime.create_container(&sandbox.id, config).await?;
        runtime.start_container(&id).await?;
        ended(runtime, &id).await?;
        let warnings = runtime.container_status(&id).await?.warnings;
        Ok((w.log_of(0, &id).await?, warnings))
    };
    // An id that means "no change".
    for (user, group) in [(Some(u32::MAX), None), (None, Some(u32::MAX))] {
        let mut config = shell("id");
        config.security.run_as_user = user;
        config.security.run_as_group = group;
        let said = run("nobody", config).await.err().map(|e| e.to_string()).unwrap_or_default();
        ensure(
            said.contains("4294967295") || said.contains("no subordinate ids"),
            format!("it ran: {said}"),
        )?;
    }
    // The writable layer and /dev/shm.
    let (log, _) =
        run("sizes", shell("df -m / /dev/shm /dev | tail -n +2 | tr -s ' ' | cut -d' ' -f2")).await?;
    let sizes: Vec<u64> = log.lines().filter_map(|l| l.rsplit(' ').next()?.parse().ok()).collect();
    ensure(sizes == [512, 64, 64], format!("{sizes:?}\n{log}"))?;
    // Processes.
    if !w.cgroups.starts_with("none") {
        let fork = "perl -e '$n = 0; for (1..1500) { $p = fork; last unless defined $p; if (!$p) { sleep 60; exit } $n++ } print \"forked $n\\n\"; kill 9, -1'; true";
        let (log, _) = run("forks", shell(fork)).await?;
        let forked = log.lines().find_map(|l| l.split_once("forked ")?.1.trim().parse::<u64>().ok());
        ensure(forked.is_some_and(|n| (900..1024).contains(&n)), log)?;
    }
    // Device nodes: in a volume, and made by a container that may.
    let volume = w.home.join("devices");
    std::fs::create_dir_all(&volume)?;
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let number = nix::sys::stat::makedev(1, 3);
    let planted = nix::sys::stat::mknod(&volume.join("null"), nix::sys::stat::SFlag::S_IFCHR, mode, number);
    let mut config = shell(
        "echo x > /own/null && echo OPENED; mknod /dev/disk b 254 0 && head -c1 /dev/disk && echo READ; mknod /dev/mem c 1 1 && head -c1 /dev/mem && echo READ; echo tried",
    );
    config.mounts.push(own(&volume, "/own"));
    config.security.add_capabilities = vec!["MKNOD".into()];
    if planted.is_err() {
        std::fs::create_dir(volume.join("null"))?; // no right to make one here; then the write fails for another reason
    }
    let (log, warnings) = run("devices", config).await?;
    ensure(log.contains("tried") && !log.contains("OPENED") && !log.contains("READ"), &log)?;
    let controlled = !w.cgroups.starts_with("none") && w.cgroups.contains("devices");
    ensure(controlled == warnings.is_empty(), format!("{}: {warnings:?}", w.cgroups))?;
    // A privileged container gets what there is, and is told what there is not.
    let mut config = shell("grep CapEff /proc/self/status; echo ran");
    config.security.privileged = true;
    let (log, warnings) = run("privileged", config).await?;
    ensure(log.contains("ran"), &log)?;
    let missing = linux::confine::missing_capabilities();
    let named = |name: &String| warnings.iter().any(|w| w.contains(&format!("CAP_{name}")));
    ensure(missing.iter().all(named), format!("{missing:?} is missing, {warnings:?} is told"))
}

/// A program that cannot be opened now, because another process holds a lease on it, blocks a
/// container's start: it can be stopped all the same.
pub(crate) async fn blocked_start(w: World) -> Check {
    use std::io::BufRead;
    let volume = w.home.join("slow");
    std::fs::create_dir_all(&volume)?;
    std::fs::copy("/usr/bin/true", volume.join("program"))?;
    // The kernel breaks a lease after /proc/sys/fs/lease-break-time, 45 s.
    let hold = "$| = 1; $SIG{IO} = sub { print \"asked\\n\" }; open(F, '+<', $ARGV[0]) or die; fcntl(F, 1024, 1) or die; print \"held\\n\"; while (1) { sleep 60 }";
    let mut holder = std::process::Command::new("perl")
        .args(["-e", hold])
        .arg(volume.join("program"))
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut lines = std::io::BufReader::new(holder.stdout.take().ok_or("no output")?).lines();
    let mut line = move || lines.next().and_then(Result::ok).unwrap_or_default();
    ensure(line() == "held", "a lease on a file of one's own")?;
    let runtime = w.nodes[0].runtime.clone();
    let sandbox = runtime.run_pod_sandbox(w.sandbox("blocked")).await?;
    let mut config = shell("");
    config.command = vec!["/own/program".into()];
    config.mounts.push(own(&volume, "/own"));
    let id = runtime.create_container(&sandbox.id, config).await?;
    let (starter, name) = (runtime.clone(), id.clone());
    let start = tokio::spawn(async move { starter.start_container(&name).await });
    ensure(tokio::task::spawn_blocking(line).await? == "asked", "the start waits for the lease")?;
    let stopping = runtime.stop_container(&id, Duration::from_secs(1));
    let stopped = tokio::time::timeout(Duration::from_secs(10), stopping).await;
    let _ = holder.kill();
    let _ = holder.wait(); // main collects strangers too, and may have been first
    stopped.map_err(|_| "a container that is being started cannot be stopped")??;
    let _ =
        tokio::time::timeout(Duration::from_secs(10), start).await.map_err(|_| "the start never ends")??;
    let status = runtime.container_status(&id).await?;
    ensure(status.state == cri::ContainerState::Exited, format!("{status:?}"))?;
    runtime.remove_pod_sandbox(&sandbox.id).await?;
    ensure(runtime.list_containers().await?.is_empty(), "removed with the pod")
}

/// Looks at every process that appears: its memory for a word, and its root for a file of the host.
/// A process is stopped meanwhile, or it would be over too soon. Perl's warnings about 64-bit
/// addresses are off: they filled the log until it was rotated, and what was found was lost.
const TRACER: &str = r#"
use strict; use warnings; no warnings "portable"; $| = 1;
my ($word, $file) = ("@WORD@", "@SECRET@");
my ($looks, $memories, %told) = (0, 0);
print "watching
";
until (-e "/over") {
    for my $dir (glob "/proc/[0-9]*") {
        my ($pid) = $dir =~ /(\d+)$/;
        next if $pid == $$ || $pid == 1;
        kill "STOP", $pid or next;
        $looks++;
        print "the host's file through $dir/root
" if -e "$dir/root$file" && !$told{file}++;
        print "the host's file through $dir/cwd
" if -e "$dir/cwd/../../../../../../../..$file" && !$told{cwd}++;
        if (open(my $maps, "<", "$dir/maps") and open(my $mem, "<:raw", "$dir/mem")) {
            $memories++;
            while (my $line = <$maps>) {
                my ($from, $to, $rest) = $line =~ /^([0-9a-f]+)-([0-9a-f]+) rw-p (.*)/ or next;
                my $length = hex($to) - hex($from);
                next if $length > (64 << 20);
                sysseek($mem, hex($from), 0) or next;
                my ($text, $had) = ("", 0);
                while ($had < $length) {
                    my $got = sysread($mem, $text, $length - $had, $had) or last;
                    $had += $got;
                }
                print "another pod's environment in the memory of $pid
" if index($text, $word) >= 0 && !$told{word}++;
            }
        }
        kill "CONT", $pid;
    }
}
print "looked $looks memories $memories over
";
"#;

/// `SYS_PTRACE` opens /proc/PID/mem and /proc/PID/root of every process that the container sees,
/// and it sees those of `exec` before they run their program.
pub(crate) async fn tracer(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let secret = w.home.join("secret");
    std::fs::write(&secret, "of the host\n")?;
    // The word is put together here, so that it is in no other process' memory but where it came
    // from.
    let word: String = ["of", "another", "pod", "7341"].concat();
    let mut other = shell("sleep 100");
    other.env.push(("SECRET".into(), word.clone()));
    let other = w.pod(0, "other", other).await?;
    // The tracer does not hold the word itself: it is written as its parts.
    let script = TRACER.replace("@SECRET@", &secret.display().to_string());
    let script = script.replace("\"@WORD@\"", "join(q(), qw(of another pod 7341))");
    let mut spy = shell("exec perl /spy/look");
    let volume = w.home.join("spy");
    std::fs::create_dir_all(&volume)?;
    std::fs::write(volume.join("look"), script)?;
    spy.mounts.push(Mount {
        host_root: None,
        host_path: volume,
        sub_path: "".into(),
        container_path: "/spy".into(),
        read_only: true,
    });
    spy.security.add_capabilities = vec!["SYS_PTRACE".into()];
    let spy = w.pod(0, "spy", spy).await?;
    w.logged(0, &spy.container, "watching").await?;
    let exec = async |container: &str, command: &str| -> Check {
        let request = ExecRequest {
            container_id: container.into(),
            command: ["bash", "-c", command].map(String::from).into(),
            tty: false,
            stdin: false,
        };
        let session = runtime.exec(request).await?;
        ensure(session.exit.await? == 0, command.to_string())
    };
    for _ in 0..20 {
        exec(&other.container, "true").await?; // what is read of it may be left in memory
        exec(&spy.container, "true").await?;
    }
    // The spy ends when it sees the file, and with it its container: the command may be killed
    // before it tells how it ended.
    let _ = exec(&spy.container, "touch /over").await;
    let status = ended(runtime, &spy.container).await?;
    let log = w.log_of(0, &spy.container).await?;
    ensure(status.exit_code == 0, format!("{status:?}: {log}"))?;
    let looked =
        log.lines().find_map(|line| line.split("memories ").nth(1)?.split(' ').next()?.parse::<u32>().ok());
    ensure(looked.is_some_and(|n| n > 0), format!("it has looked at nothing: {log}"))?;
    ensure(!log.contains("the host's file") && !log.contains("another pod's"), log)
}
