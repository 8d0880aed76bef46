//! Sandboxes: one that cannot be made, and what the containers of one have together.

use crate::world::{Check, World, ended, ensure, eventually, shell};
use async_trait::async_trait;
use cni::{self, NodeNetwork, ServiceRule};
use cri::{ContainerState, Mount, Runtime, SandboxState};
use linux::mount;
use nlink::netlink::route::Ipv4Route;
use nlink::netlink::{Connection, Route};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A node's network in which no pod gets a default route, and which cannot take back what it gave.
struct Broken(Arc<dyn NodeNetwork>);

fn kernel(what: &str, cause: impl std::fmt::Display) -> cni::Error {
    cni::Error::Kernel { what: what.into(), cause: std::io::Error::other(cause.to_string()) }
}

#[async_trait]
impl NodeNetwork for Broken {
    fn node_ip(&self) -> Ipv4Addr {
        self.0.node_ip()
    }

    /// Puts another default route in the pod's namespace first, so that the last part of the real
    /// work fails.
    async fn add_pod(&self, sandbox_id: &str, netns: Arc<OwnedFd>) -> cni::Result<Ipv4Addr> {
        let prepare = async {
            let pod = Connection::<Route>::new_in(netns.as_fd())?;
            pod.set_link_up_by_index(1).await?;
            pod.add_route(Ipv4Route::default_route().dev_index(1)).await
        };
        prepare.await.map_err(|e| kernel("the test cannot prepare a namespace", e))?;
        self.0.add_pod(sandbox_id, netns).await
    }

    async fn remove_pod(&self, sandbox_id: &str) -> cni::Result<()> {
        self.0.remove_pod(sandbox_id).await?;
        Err(kernel("the second error", "which nobody needs to know"))
    }

    async fn sync_services(&self, rules: &[ServiceRule]) -> cni::Result<usize> {
        self.0.sync_services(rules).await
    }

    async fn installed(&self) -> cni::Result<Vec<cni::Installed>> {
        self.0.installed().await
    }

    async fn forget_flows(&self) -> cni::Result<()> {
        self.0.forget_flows().await
    }

    async fn dial(&self, to: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        self.0.dial(to).await
    }

    async fn listen(&self, on: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
        self.0.listen(on).await
    }

    async fn bind_udp(&self, on: SocketAddr) -> std::io::Result<tokio::net::UdpSocket> {
        self.0.bind_udp(on).await
    }

    fn netns(&self) -> Option<Arc<OwnedFd>> {
        self.0.netns()
    }
}

/// A node's network that takes an address back once the test says so.
struct Slow {
    inner: Arc<dyn NodeNetwork>,
    asked: Arc<Notify>,
    go_on: Arc<Notify>,
}

#[async_trait]
impl NodeNetwork for Slow {
    fn node_ip(&self) -> Ipv4Addr {
        self.inner.node_ip()
    }

    async fn add_pod(&self, sandbox_id: &str, netns: Arc<OwnedFd>) -> cni::Result<Ipv4Addr> {
        self.inner.add_pod(sandbox_id, netns).await
    }

    async fn remove_pod(&self, sandbox_id: &str) -> cni::Result<()> {
        self.asked.notify_one();
        self.go_on.notified().await;
        self.inner.remove_pod(sandbox_id).await
    }

    async fn sync_services(&self, rules: &[ServiceRule]) -> cni::Result<usize> {
        self.inner.sync_services(rules).await
    }

    async fn installed(&self) -> cni::Result<Vec<cni::Installed>> {
        self.inner.installed().await
    }

    async fn forget_flows(&self) -> cni::Result<()> {
        self.inner.forget_flows().await
    }

    async fn dial(&self, to: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        self.inner.dial(to).await
    }

    async fn listen(&self, on: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
        self.inner.listen(on).await
    }

    async fn bind_udp(&self, on: SocketAddr) -> std::io::Result<tokio::net::UdpSocket> {
        self.inner.bind_udp(on).await
    }

    fn netns(&self) -> Option<Arc<OwnedFd>> {
        self.inner.netns()
    }
}

/// A kubelet that is killed while it removes a container or stops a pod leaves the rest to the
/// runtime, and until that is done its successor sees a pod that is to be stopped.
pub(crate) async fn interrupted_stop(w: World) -> Check {
    let before = taken(&w).await?;
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let network = Slow { inner: w.nodes[0].network.clone(), asked: asked.clone(), go_on: go_on.clone() };
    let runtime = w.runtime(Arc::new(network));
    let sandbox = runtime.run_pod_sandbox(w.sandbox("half")).await?.id;
    let id = runtime.create_container(&sandbox, shell("sleep 100")).await?;
    runtime.start_container(&id).await?;
    let mut config = shell("sleep 100");
    (config.name, config.log_path) = ("gone".into(), "gone/0.log".into());
    let gone = runtime.create_container(&sandbox, config).await?;
    runtime.start_container(&gone).await?;
    tokio::select! {
        biased;
        removed = runtime.remove_container(&gone) => return Err(format!("it takes no time: {removed:?}").into()),
        () = std::future::ready(()) => {} // the caller goes at once
    }
    eventually(Duration::from_secs(20), async || {
        Ok(runtime.container_status(&gone).await.map_or(Ok(()), |status| Err(format!("{status:?}"))))
    })
    .await?;
    let state = async || -> Check<Option<SandboxState>> {
        Ok(runtime.list_pod_sandboxes().await?.iter().find(|s| s.id == sandbox).map(|s| s.state))
    };
    tokio::select! {
        ended = runtime.stop_pod_sandbox(&sandbox) => return Err(format!("it ends without the network: {ended:?}").into()),
        () = asked.notified() => {} // the caller goes
    }
    ensure(state().await? == Some(SandboxState::Ready), "who lists it stops it again")?;
    ensure(runtime.create_container(&sandbox, shell("true")).await.is_err(), "it takes no containers")?;
    let mut events = runtime.events();
    go_on.notify_one();
    while state().await? == Some(SandboxState::Ready) {
        let told = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
        told.map_err(|_| "nothing tells of its end")??;
    }
    ensure(state().await? == Some(SandboxState::NotReady), "it is stopped")?;
    go_on.notify_one(); // a stop asks again
    runtime.remove_pod_sandbox(&sandbox).await?;
    eventually(Duration::from_secs(5), async || {
        let now = taken(&w).await?;
        Ok(if now == before { Ok(()) } else { Err(format!("before {before:?}\nafter {now:?}")) })
    })
    .await
}

/// A process that is in the pod's control group when the pod ends does not keep it.
pub(crate) async fn left_in_group(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let pod = w.pod(0, "crowded", shell("sleep 100")).await?;
    let groups = || crate::groups_of(&w.home).into_iter().map(|group| group.join(&pod.sandbox));
    let mut own = std::process::Command::new("sleep").arg("600").spawn()?;
    let mut joined = 0;
    for group in groups().filter(|group| group.exists()) {
        joined += usize::from(std::fs::write(group.join("pause/cgroup.procs"), own.id().to_string()).is_ok());
    }
    runtime.remove_pod_sandbox(&pod.sandbox).await?;
    let left = eventually(Duration::from_secs(20), async || {
        let left: Vec<_> = groups().filter(|group| group.exists()).collect();
        Ok(if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) })
    })
    .await;
    let ended = own.try_wait().map_or(true, |exit| exit.is_some()); // an error: it was collected
    let _ = own.kill();
    let _ = own.wait();
    left?;
    ensure(joined == 0 || ended, "it is killed with the pod")
}

/// What a sandbox takes of the machine: control groups, pause processes, mounts and wires.
async fn taken(w: &World) -> Check<(BTreeSet<PathBuf>, BTreeSet<String>, usize, BTreeSet<String>)> {
    fn below(group: &Path, found: &mut BTreeSet<PathBuf>) {
        let children = std::fs::read_dir(group).into_iter().flatten().flatten();
        for child in children.filter(|c| c.file_type().is_ok_and(|t| t.is_dir())) {
            below(&child.path(), found);
            found.insert(child.path());
        }
    }
    let mut groups = BTreeSet::new();
    crate::groups_of(&w.home).iter().for_each(|group| below(group, &mut groups));
    let is_pause = |process: &std::fs::DirEntry| {
        let line = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        line.starts_with("/pause")
    };
    let names = std::fs::read_dir("/proc")?.flatten().filter(is_pause);
    let processes = names.map(|process| process.file_name().to_string_lossy().into_owned()).collect();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?.lines().count();
    let netns = w.nodes[0].network.netns().ok_or("no namespace")?;
    let links = Connection::<Route>::new_in(netns.as_fd())?.get_links().await?;
    let wires = links.iter().map(|link| link.name_or("?").to_string()).collect();
    Ok((groups, processes, mounts, wires))
}

/// The first error is told, and all that was made before it is taken back.
pub(crate) async fn no_network(w: World) -> Check {
    let before = taken(&w).await?;
    let runtime = w.runtime(Arc::new(Broken(w.nodes[0].network.clone())));
    for _ in 0..3 {
        let failed = runtime.run_pod_sandbox(w.sandbox("alone")).await;
        let why = failed.err().map(|e| e.to_string()).unwrap_or_default();
        ensure(
            why.contains("failed to setup network for sandbox") && why.contains("default route"),
            format!("the first error: {why:?}"),
        )?;
        ensure(!why.contains("second"), &why)?;
    }
    ensure(runtime.list_pod_sandboxes().await?.is_empty(), "no sandbox is known")?;
    // A wire of a namespace that a descriptor holds does not go by itself.
    let held = Arc::new(linux::namespace::new_network()?);
    ensure(Broken(w.nodes[0].network.clone()).add_pod("held", held.clone()).await.is_err(), "no network")?;
    eventually(Duration::from_secs(5), async || {
        let now = taken(&w).await?;
        Ok(if now == before { Ok(()) } else { Err(format!("before {before:?}\nafter {now:?}")) })
    })
    .await?;
    drop(held);
    // The node works on.
    let pod = w.pod(0, "next", shell("echo ran")).await?;
    ended(&w.nodes[0].runtime, &pod.container).await.map(drop)
}

/// All containers of a pod together have as many processes as the pod may have; another pod has its
/// own.
pub(crate) async fn bounds(w: World) -> Check {
    let counts = w.cgroups == "v2" || (w.cgroups.starts_with("v1") && w.cgroups.contains("pids"));
    if !counts {
        return Ok(()); // nothing counts processes on this machine for this user
    }
    let runtime = &w.nodes[0].runtime;
    let fork = "perl -e '$n = 0; for (1..200) { $p = fork; last unless defined $p; if (!$p) { sleep 60; exit } $n++ } print \"forked $n\\n\"; $| = 1; print \"\"; sleep 60'";
    let mut config = w.sandbox("two");
    config.pids_limit = Some(60);
    config.cpu_shares = 512;
    let sandbox = runtime.run_pod_sandbox(config).await?;
    let forks = async |sandbox: &str, name: &str| -> Check<u64> {
        let mut config = shell(fork);
        config.log_path = format!("{name}/0.log").into();
        let id = runtime.create_container(sandbox, config).await?;
        runtime.start_container(&id).await?;
        eventually(Duration::from_secs(20), async || {
            let log = w.log_of(0, &id).await?;
            let forked = log.lines().find_map(|l| l.split_once("forked ")?.1.trim().parse().ok());
            Ok(forked.ok_or_else(|| format!("it forks still: {log}")))
        })
        .await
    };
    let one = forks(&sandbox.id, "one").await?;
    ensure((40..60).contains(&one), format!("{one} of 60"))?;
    // The second container of the pod finds nothing left: it cannot even be started, or ends at
    // once.
    let mut config = shell(fork);
    config.log_path = "other/0.log".into();
    let id = runtime.create_container(&sandbox.id, config).await?;
    if runtime.start_container(&id).await.is_ok() {
        let log = w.log_of(0, &id).await?;
        let state = runtime.container_status(&id).await?.state;
        let forked = log.lines().find_map(|l| l.split_once("forked ")?.1.trim().parse::<u64>().ok());
        ensure(forked.unwrap_or(0) < 20, format!("{state:?} {log}"))?;
    }
    let neighbour = runtime.run_pod_sandbox(w.sandbox("neighbour")).await?;
    let free = forks(&neighbour.id, "free").await?;
    ensure(free == 200, format!("{free} of 200"))?;
    // The group of the pod has what its containers request together.
    let file = |name: &str| -> Vec<String> {
        let places = crate::groups_of(&w.home).into_iter().map(|group| group.join(&sandbox.id).join(name));
        places.filter_map(|path| Some(std::fs::read_to_string(path).ok()?.trim().to_string())).collect()
    };
    ensure(file("pids.max").contains(&"60".to_string()), format!("{:?}", file("pids.max")))?;
    let weighs = file("cpu.shares").contains(&"512".to_string()) || file("cpu.weight") == ["20"];
    let counted = w.cgroups == "v2" || w.cgroups.contains("cpu,") || w.cgroups.contains("cpu)");
    ensure(weighs || !counted, format!("{:?} {:?}", file("cpu.shares"), file("cpu.weight")))?;
    for pod in [&sandbox.id, &neighbour.id] {
        runtime.remove_pod_sandbox(pod).await?;
    }
    let left: Vec<_> =
        crate::groups_of(&w.home).into_iter().filter(|group| group.join(&sandbox.id).exists()).collect();
    ensure(left.is_empty(), format!("{left:?}"))?;
    ensure(
        runtime.list_containers().await?.iter().all(|c| c.state != ContainerState::Running),
        "nothing runs",
    )
}

/// All containers of a pod together have as much memory as the pod may have, and what one left in a
/// volume in memory counts when it has ended.
pub(crate) async fn memory(w: World) -> Check {
    let counts = w.cgroups == "v2" || (w.cgroups.starts_with("v1") && w.cgroups.contains("memory"));
    if !counts {
        return Ok(()); // nothing counts memory on this machine for this user
    }
    const MIB: u64 = 1 << 20;
    let runtime = &w.nodes[0].runtime;
    let mut config = w.sandbox("pod");
    config.memory_limit = Some(64 * MIB);
    config.cpu_limit_milli = Some(1500);
    let sandbox = runtime.run_pod_sandbox(config).await?;
    let volume = w.home.join("volume");
    std::fs::create_dir(&volume)?;
    mount::tmpfs(&volume, mount::Flags::MS_NODEV, 0o777, 1 << 30, 100)?;
    let start = async |name: &str, script: &str| -> Check<String> {
        let mut config = shell(script);
        config.log_path = format!("{name}/0.log").into();
        config.mounts.push(Mount {
            host_path: volume.clone(),
            container_path: "/v".into(),
            ..Mount::default()
        });
        let id = runtime.create_container(&sandbox.id, config).await?;
        runtime.start_container(&id).await?;
        Ok(id)
    };
    let id = start("writes", "head -c 40M /dev/zero > /v/file").await?;
    ensure(ended(runtime, &id).await?.exit_code == 0, "there is room for 40 MiB")?;
    let used = runtime
        .list_pod_sandbox_stats()
        .await?
        .remove(&sandbox.id)
        .ok_or("it is not counted")?
        .memory_working_set;
    ensure(
        (40 * MIB..64 * MIB).contains(&used),
        format!("{used} bytes of the pod when the container has ended"),
    )?;
    runtime.remove_container(&id).await?;
    let all = w.memory().ok_or("the pods' memory is counted")?;
    ensure(all.working_set >= used && all.limit > all.working_set, format!("{all:?}, of the pod {used}"))?;
    // What is left is too little for another 40 MiB, in whichever container.
    let id = start("eats", "head -c 40M /dev/zero | tail | wc -c").await?;
    let status = ended(runtime, &id).await?;
    let log = w.log_of(0, &id).await?;
    ensure(!log.contains(" 41943040"), format!("{status:?} {log}"))?;
    ensure(runtime.list_pod_sandboxes().await?[0].state == SandboxState::Ready, "the pod lives on")?;
    // Another pod has memory of its own.
    let other = w.pod(0, "other", shell("head -c 40M /dev/zero | tail | wc -c")).await?;
    ended(runtime, &other.container).await?;
    let log = w.log_of(0, &other.container).await?;
    ensure(log.contains(" 41943040"), log)?;
    let file = |name: &str| -> Vec<String> {
        let places = crate::groups_of(&w.home).into_iter().map(|group| group.join(&sandbox.id).join(name));
        places.filter_map(|path| Some(std::fs::read_to_string(path).ok()?.trim().to_string())).collect()
    };
    let quota = [file("cpu.cfs_quota_us"), file("cpu.max")].concat();
    let counted = w.cgroups == "v2" || w.cgroups.contains("cpu,") || w.cgroups.contains("cpu)");
    ensure(!counted || quota == ["150000"] || quota == ["150000 100000"], format!("{quota:?}"))?;
    for pod in [&sandbox.id, &other.sandbox] {
        runtime.remove_pod_sandbox(pod).await?;
    }
    mount::detach(&volume).map_err(|e| e.line().into())
}

/// A parameter of the pod's own network, and a value that the kernel refuses.
pub(crate) async fn sysctls(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let with = |name: &str, value: &str| {
        let sysctls = vec![("net/ipv4/tcp_fin_timeout".to_string(), value.to_string())];
        cri::SandboxConfig { sysctls, ..w.sandbox(name) }
    };
    let of_machine = || std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fin_timeout");
    let before = of_machine()?;
    let sandbox = runtime.run_pod_sandbox(with("set", "17")).await?;
    let id = runtime.create_container(&sandbox.id, shell("cat /proc/sys/net/ipv4/tcp_fin_timeout")).await?;
    runtime.start_container(&id).await?;
    ended(runtime, &id).await?;
    let log = w.log_of(0, &id).await?;
    ensure(log.contains(" stdout F 17"), log)?;
    ensure(of_machine()? == before, "the machine's own changed")?;
    let refused = runtime.run_pod_sandbox(with("refused", "1-2")).await.err().ok_or("it was set")?;
    ensure(refused.line().contains("tcp_fin_timeout"), refused.line())
}
