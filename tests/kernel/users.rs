//! Pods with a user namespace of their own (`hostUsers: false`).

use super::world::{Check, World, dial, ended, ensure, eventually, get, nginx, shell};
use cri::{ContainerConfig, ExecRequest, Mount, Runtime};
use linux::{namespace, ranges::COUNT};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What the pod sees, a line each: its ids, owners of its root, of a program, of the volume and of
/// what it makes there.
const LOOK: &str = "id -u; cut -c1-21 /proc/self/uid_map | tr -s ' ' ; cat /proc/self/setgroups; \
    touch /mine; mkdir -p /made; stat -c %u:%g / /mine /bin/sh /data /data/old /etc/hosts /dev /proc /sys | tr '\\n' ' '; echo; \
    echo text > /data/new && chown 33:44 /data/new && chmod 4755 /data/new; cat /data/secret; \
    hostname; cat /proc/1/comm; echo looked; exec sleep 100";

/// What it may not, though it is root in there and holds every capability over what is its own.
const ATTEMPTS: &[&str] = &[
    "echo '|/x' > /proc/sys/kernel/core_pattern",
    "mount -o remount,rw /proc/sys && echo '|/x' > /proc/sys/kernel/core_pattern",
    "umount /proc/sys; echo '|/x' > /proc/sys/kernel/core_pattern",
    "umount /proc/kcore; head -c1 /proc/kcore | grep -q .",
    "mknod /m c 1 1",
    "mount -o remount,rw /sys && echo 1 > /sys/kernel/mm/ksm/run",
    "mkdir -p /t && mount /dev/vda /t",
    "nsenter --target 1 --user true",
];

fn volume(host: &Path, container: &str) -> Mount {
    Mount {
        host_root: None,
        host_path: host.to_path_buf(),
        sub_path: "".into(),
        container_path: container.into(),
        read_only: false,
    }
}

struct Started {
    sandbox: String,
    container: String,
}

async fn start(w: &World, name: &str, shared_pids: bool, container: ContainerConfig) -> Check<Started> {
    let runtime = &w.nodes[0].runtime;
    let mut config = w.sandbox(name);
    (config.own_users, config.share_process_namespace) = (true, shared_pids);
    let sandbox = runtime.run_pod_sandbox(config).await?.id;
    let container = runtime.create_container(&sandbox, container).await?;
    runtime.start_container(&container).await?;
    Ok(Started { sandbox, container })
}

async fn exec(w: &World, container: &str, script: &str, tty: bool) -> Check<String> {
    let command = vec!["bash".into(), "-c".into(), script.into()];
    let request = ExecRequest { container_id: container.into(), command, tty, stdin: false };
    let mut session = w.nodes[0].runtime.exec(request).await?;
    let mut out = String::new();
    session.stdout.read_to_string(&mut out).await?;
    Ok(out.replace('\r', ""))
}

/// The first process of a container, as this process (the cluster's main) numbers it: the one whose
/// command line has this word.
fn process_with(word: &str) -> Result<i32, String> {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()) {
            return Ok(pid);
        }
    }
    Err(format!("no process with {word:?}"))
}

/// The user namespace that owns a namespace of a process.
fn owner(pid: i32, kind: &str) -> Check<u64> {
    let owner = namespace::owner(&namespace::of_process(pid, kind)?)?;
    Ok(fs::File::from(owner).metadata()?.ino())
}

pub(crate) async fn own(w: World) -> Check {
    let data = w.home.join("data");
    fs::create_dir(&data)?;
    fs::write(data.join("old"), "old")?;
    fs::write(data.join("secret"), "known\n")?;
    fs::set_permissions(data.join("secret"), fs::Permissions::from_mode(0o600))?;
    fs::set_permissions(&w.home, fs::Permissions::from_mode(0o700))?;
    let mut config = shell(LOOK);
    config.mounts.push(volume(&data, "/data"));
    let pod = start(&w, "own", false, config.clone()).await?;
    w.logged(0, &pod.container, "looked").await?;
    if w.ids.rootless() {
        // Its pods share the namespace that they would be in anyway, and are told.
        let warnings = w.nodes[0].runtime.container_status(&pod.container).await?.warnings;
        return ensure(
            warnings.iter().any(|text| text.starts_with("hostUsers: false")),
            format!("{warnings:?}"),
        );
    }
    let log = w.log_of(0, &pod.container).await?;
    let said: Vec<&str> = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(str::trim).collect();
    let owners = "0:0 0:0 0:0 0:0 0:0 0:0 0:0 65534:65534 65534:65534";
    let mut map = said.get(1).ok_or("no map")?.split_whitespace();
    let (inside, first) = (map.next(), map.next().ok_or("no map")?.parse::<u32>()?);
    ensure(inside == Some("0") && first >= COUNT && first.is_multiple_of(COUNT), format!("{said:?}"))?;
    ensure(
        said.first() == Some(&"0")
            && said.get(2) == Some(&"allow")
            && said[3].split(' ').take(7).eq(owners.split(' ').take(7))
            && said[4..] == ["known", "own", "bash", "looked"],
        format!("{said:#?}"),
    )?;
    on_the_machine(first, &data).await?;
    // Another process of it is as it is, also with a terminal.
    for tty in [false, true] {
        let said = exec(
            &w,
            &pod.container,
            "id -u; id -G; cut -c1-21 /proc/self/uid_map; stat -c %u:%a /data/secret; tty",
            tty,
        )
        .await?;
        let mut words = said.split_whitespace();
        let told: Vec<&str> = words.by_ref().take(5).collect();
        let want = format!("0 0 0 {first} 0:600");
        ensure(told.join(" ") == want, format!("{said:?} is not {want:?}"))?;
        ensure((words.next() != Some("not")) == tty, said.clone())?;
    }
    streams(&w, &pod.sandbox).await?;
    exec(&w, &pod.container, "echo more > /data/by-exec", false).await?;
    ensure(fs::metadata(data.join("by-exec"))?.uid() == 0, "exec writes as the volume's user 0")?;
    ids_are_apart(&w, &pod, first, config).await
}

/// On the machine it is nobody, in namespaces that are all its own, and what it writes is the
/// volume's.
async fn on_the_machine(first: u32, data: &Path) -> Check {
    let pid = eventually(Duration::from_secs(10), async || Ok(process_with("100"))).await?;
    let ids = |pid: i32, what: &str| -> Check<Vec<u32>> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("no line")?;
        Ok(line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    };
    ensure(ids(pid, "Uid:")? == [first; 4] && ids(pid, "Gid:")? == [first; 4], "ids on the machine")?;
    ensure(ids(pid, "Groups:")? == [first], "its primary group, and no group of the machine's")?;
    let users = fs::metadata(format!("/proc/{pid}/ns/user"))?.ino();
    for kind in ["net", "mnt", "pid", "ipc", "uts", "cgroup"] {
        ensure(owner(pid, kind)? == users, format!("its {kind} namespace belongs to it"))?;
    }
    let new = fs::metadata(data.join("new"))?;
    ensure((new.uid(), new.gid(), new.mode() & 0o7777) == (33, 44, 0o4755), format!("{new:?}"))
}

/// Two pods have no id in common; a pod that is stopped gives its range back, once.
async fn ids_are_apart(w: &World, pod: &Started, first: u32, config: ContainerConfig) -> Check {
    let runtime = &w.nodes[0].runtime;
    let other = start(w, "other", true, config).await?;
    let second = first_of(w, &other.container).await?;
    ensure(second != first && second.is_multiple_of(COUNT), format!("{first} and {second}"))?;
    let taken = w.ranges.taken();
    runtime.stop_pod_sandbox(&pod.sandbox).await?;
    ensure(w.ranges.taken() == taken - 1, "a stopped pod gives its ids back")?;
    let third = start(w, "third", false, shell("exec sleep 100")).await?;
    ensure(second != first_of(w, &third.container).await?, "ids of its own")?;
    runtime.remove_pod_sandbox(&pod.sandbox).await?;
    ensure(w.ranges.taken() == taken, "they were given back before")?;
    let fourth = start(w, "fourth", false, shell("exec sleep 100")).await?;
    ensure(
        ![second, first_of(w, &third.container).await?].contains(&first_of(w, &fourth.container).await?),
        "ids of its own",
    )
}

/// /dev/stdout and /dev/stderr can be opened: by the pod's root, and by another user of its.
async fn streams(w: &World, sandbox: &str) -> Check {
    let runtime = &w.nodes[0].runtime;
    for user in [0, 1000] {
        let mut config = shell("echo out > /dev/stdout; echo err > /dev/stderr; exec sleep 100");
        config.security.run_as_user = Some(user);
        config.log_path = format!("streams-{user}/0.log").into();
        let id = runtime.create_container(sandbox, config).await?;
        runtime.start_container(&id).await?;
        w.logged(0, &id, "stdout F out\n").await?;
        w.logged(0, &id, "stderr F err\n").await?;
        let said = exec(w, &id, "echo by exec > /dev/stdout", false).await?;
        ensure(said == "by exec\n", format!("user {user}: {said:?}"))?;
    }
    Ok(())
}

async fn first_of(w: &World, container: &str) -> Check<u32> {
    let map = exec(w, container, "cat /proc/self/uid_map", false).await?;
    Ok(map.split_whitespace().nth(1).ok_or("no map")?.parse()?)
}

pub(crate) async fn limits(w: World) -> Check {
    if w.ids.rootless() {
        return Ok(());
    }
    let runtime = &w.nodes[0].runtime;
    // A server is reached, and its own network obeys who may administrate it.
    let web = start(&w, "web", false, nginx()).await?;
    let ip = runtime.list_pod_sandboxes().await?.into_iter().find(|s| s.id == web.sandbox).and_then(|s| s.ip);
    let page = get(dial(&*w.nodes[0].network, (ip.ok_or("no address")?, 80)).await?, "/").await?;
    ensure(page.contains("Welcome to nginx!"), page)?;
    // With every capability, over what is its own.
    let mut config = shell("exec sleep 100");
    config.security.add_capabilities = vec!["ALL".into()];
    let strong = start(&w, "strong", false, config).await?;
    let works = exec(
        &w,
        &strong.container,
        "ip link set lo mtu 1400 && mkdir -p /t && mount -t tmpfs t /t && hostname x && echo works",
        false,
    )
    .await?;
    ensure(works == "works\n", format!("its own things are its own: {works:?}"))?;
    for attempt in ATTEMPTS {
        let script = format!("( {attempt} ) >/dev/null 2>&1 && echo got it");
        let said = exec(&w, &strong.container, &script, false).await?;
        ensure(said.is_empty(), format!("{attempt}: {said:?}"))?;
    }
    // A user that no pod has.
    let mut config = shell("true");
    config.security.run_as_user = Some(COUNT);
    let refused = start(&w, "beyond", false, config).await.err().map(|e| e.to_string()).unwrap_or_default();
    ensure(refused.contains("cannot become user 65536"), format!("{refused:?}"))?;
    // A file system without idmapped mounts: the pod does not start and says why.
    let mut config = shell("true");
    config.mounts.push(volume(Path::new("/sys/kernel"), "/data"));
    let refused = start(&w, "sysfs", false, config).await.err().map(|e| e.to_string()).unwrap_or_default();
    ensure(
        refused.contains(
            "failed to set MOUNT_ATTR_IDMAP on /sys/kernel: invalid argument (maybe the filesystem",
        ),
        format!("{refused:?}"),
    )?;
    // The node's network belongs to the node's users.
    let mut config = w.sandbox("host");
    (config.own_users, config.host_network) = (true, true);
    ensure(runtime.run_pod_sandbox(config).await.is_err(), "hostNetwork with users of its own")?;
    // A read-only root, one PID namespace for all, and an end.
    let mut config = shell("touch /x 2>/dev/null && echo written; id -u; cat /proc/1/comm");
    config.security.read_only_root = true;
    let pod = start(&w, "shared", true, config).await?;
    let status = ended(runtime, &pod.container).await?;
    let log = w.log_of(0, &pod.container).await?;
    ensure(
        status.exit_code == 0 && log.contains("F 0\n") && log.contains("pause") && !log.contains("written"),
        log,
    )?;
    runtime.stop_container(&strong.container, Duration::ZERO).await?;
    Ok(())
}
