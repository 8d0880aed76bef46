//! A pod's sandbox: the pause process, whose namespaces all containers of the pod share, and the files about the pod's place
//! in the network.

use super::node::Shared;
use super::pace::Pace;
use super::spec::{Pause, Request, Role, What};
use super::zygote::Unborn;
use crate::clock::{self, Timestamp};
use crate::cni::NodeNetwork;
use crate::cri::{self, Dns, Error, Result, SandboxConfig, SandboxState};
use crate::linux::{self, cgroup, mount, namespace, ranges, reap::Process};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Bytes that a pod's containers may add to the pod's files (`/etc/hosts` and the others), which they may write to, as upstream.
const FILES_ROOM: u64 = 1 << 20;

/// Processes and threads of all containers of a pod together, the pause process included, unless its configuration says otherwise (the kubelet's
/// `podPidsLimit`).
const PIDS_MAX: u64 = 1024;

pub struct Sandbox {
    pub id: String,
    pub config: SandboxConfig,
    pub process: Arc<Process>,
    pub directory: PathBuf,
    created_at: Timestamp,
    ip: Option<Ipv4Addr>,
    /// The pod's, in which those of its containers and of the pause process are.
    group: Arc<dyn cgroup::Group>,
    /// No container of it starts any more.
    stopping: AtomicBool,
    /// The ids of the pod's own user namespace. They are nobody else's until the sandbox is removed.
    users: Option<ranges::Range>,
    /// `None` once the sandbox is stopped: a namespace must not outlive its processes, nor a stopped sandbox hold descriptors.
    network: Mutex<Option<Arc<OwnedFd>>>,
    /// As `network`; also `None` if the pod has no user namespace of its own.
    user_namespace: Mutex<Option<Arc<OwnedFd>>>,
    /// How fast its containers may write to their logs, together.
    pub pace: Pace,
}

impl Sandbox {
    /// Makes the pod's group, the pause process, its network and its files.
    ///
    /// # Errors
    /// The first one. What was made by then is taken down again; that this fails, too, goes to the log.
    pub async fn make(shared: &Shared, id: String, config: SandboxConfig) -> Result<Sandbox> {
        let limits = cgroup::Limits {
            cpu_shares: config.cpu_shares,
            cpu_milli: config.cpu_limit_milli,
            memory: config.memory_limit,
            pids: Some(config.pids_limit.unwrap_or(PIDS_MAX)),
            of_groups: true,
            ..cgroup::Limits::default()
        };
        let group = shared.cgroups.create(&id, &limits).map_err(start)?;
        let made = make_pause(shared, &id, &config).await;
        let (process, users, user_namespace) = match made {
            Ok((process, Some(users))) => (process, Some(users.range), Some(Arc::new(users.namespace))),
            Ok((process, None)) => (process, None, None),
            Err(e) => {
                super::clean_up(move || {
                    let _ = group.kill(); // usually there is nothing in it
                    group.remove();
                })
                .await;
                return Err(e);
            }
        };
        let mut sandbox = Sandbox {
            directory: shared.writable.join(&id),
            id,
            config,
            process,
            created_at: clock::now(),
            ip: None,
            group,
            stopping: AtomicBool::new(false),
            users,
            network: Mutex::new(None),
            user_namespace: Mutex::new(user_namespace),
            pace: Pace::default(),
        };
        match sandbox.connect(&*shared.network).await {
            Ok(()) => Ok(sandbox),
            Err(e) => {
                if let Err(second) = sandbox.stop(&*shared.network).await {
                    let id = &sandbox.id;
                    tracing::warn!("what is left of sandbox {id} after a failure: {}", super::chain(&second));
                }
                sandbox.remove().await;
                Err(e)
            }
        }
    }

    /// The id of the control group of one of its containers.
    pub fn group_of(&self, container: &str) -> String {
        format!("{}/{container}", self.id)
    }

    async fn connect(&mut self, network: &dyn NodeNetwork) -> Result<()> {
        let namespace = match (self.config.host_network, network.netns()) {
            (true, Some(node)) => node,
            (true, None) => return Err(Error::Unsupported("hostNetwork")),
            (false, _) => {
                let opened = self.process.pidfd().and_then(|pause| namespace::network_of(pause.as_fd()));
                let fd = opened.map_err(|cause| Error::Io {
                    what: "cannot open the sandbox' network namespace".into(),
                    cause,
                })?;
                Arc::new(fd)
            }
        };
        let ip = match self.config.host_network {
            true => network.node_ip(),
            false => network.add_pod(&self.id, namespace.clone()).await.map_err(|e| {
                Error::Start(format!(
                    "failed to setup network for sandbox {:?}: {}",
                    self.id,
                    super::chain(&e)
                ))
            })?,
        };
        self.ip = Some(ip);
        *self.lock_network() = Some(namespace);
        self.write_files(ip).map_err(start)
    }

    /// Writes the pod's files to a small file system of the pod's own: its containers may write to them, and on a file system that pods share one pod
    /// could fill it for all others (CVE-2020-8557).
    fn write_files(&self, ip: Ipv4Addr) -> linux::Result<()> {
        let files = [
            ("hostname", format!("{}\n", self.config.hostname)),
            ("hosts", hosts(ip, &self.config.names(), &self.config.host_aliases)),
            ("resolv.conf", resolv_conf(&self.config.dns)),
        ];
        let failed = |cause| linux::Error::new("cannot write the sandbox' files", cause);
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        let content: u64 = files.iter().map(|(_, text)| text.len() as u64).sum();
        let flags = mount::Flags::MS_NOSUID | mount::Flags::MS_NODEV | mount::Flags::MS_NOEXEC;
        mount::tmpfs(&self.directory, flags, 0o755, content.saturating_add(FILES_ROOM), 16)?;
        files
            .iter()
            .try_for_each(|(name, text)| std::fs::write(self.directory.join(name), text))
            .map_err(failed)
    }

    fn lock_network(&self) -> std::sync::MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.network.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Its network namespace, while it is ready.
    pub fn network(&self) -> Option<Arc<OwnedFd>> {
        self.lock_network().clone()
    }

    /// Its own user namespace, while it is ready.
    pub fn users(&self) -> Option<Arc<OwnedFd>> {
        self.user_namespace.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// The id, on the machine, of user 0 of its own user namespace.
    pub fn first_user(&self) -> Option<u32> {
        self.users.as_ref().map(ranges::Range::first)
    }

    /// What all its containers have used. `None` where the kernel does not count it for us.
    pub fn usage(&self) -> Option<cgroup::Usage> {
        self.group.usage()
    }

    pub fn state(&self) -> SandboxState {
        match self.network().is_some() && self.process.ended().is_none() {
            true => SandboxState::Ready,
            false => SandboxState::NotReady,
        }
    }

    /// Refuses the starts of its containers from now on, before those that run are stopped.
    pub fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Ends the pause process, takes down what the pod has of the kernel (namespaces, control group, mount) and gives the address back. Containers are
    /// ended before. What is left is data: thousands of ended pods may be remembered.
    pub async fn stop(&self, network: &dyn NodeNetwork) -> Result<()> {
        let _ = self.process.signal(nix::libc::SIGKILL); // it may have ended already
        self.process.exit().await;
        drop(self.lock_network().take());
        drop(self.user_namespace.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
        self.take_down().await;
        if self.config.host_network {
            return Ok(());
        }
        network.remove_pod(&self.id).await.map_err(|e| Error::State(super::chain(&e)))
    }

    /// Removes the control group and the pod's files. Idempotent.
    async fn take_down(&self) {
        let (group, directory) = (self.group.clone(), self.directory.clone());
        super::clean_up(move || {
            group.remove();
            let _ = mount::detach(&directory); // nothing is mounted if its network could not be made
            let _ = std::fs::remove_dir_all(directory);
        })
        .await;
    }

    /// Removes what [`Sandbox::stop`] could not.
    pub async fn remove(&self) {
        self.take_down().await;
    }

    pub fn describe(&self) -> cri::Sandbox {
        cri::Sandbox {
            id: self.id.clone(),
            pod: self.config.pod.clone(),
            attempt: self.config.attempt,
            state: self.state(),
            created_at: self.created_at,
            ip: self.ip,
        }
    }
}

fn start(e: crate::linux::Error) -> Error {
    Error::Start(e.line())
}

async fn make_pause(
    shared: &Shared,
    id: &str,
    config: &SandboxConfig,
) -> Result<(Arc<Process>, Option<Users>)> {
    // An ordinary user's pods already have other users than the machine, and the kernel lets nobody but root show the machine's files as another user's.
    let range = match config.own_users && !shared.ids.rootless() {
        true if config.host_network => return Err(Error::Unsupported("hostUsers: false with hostNetwork")),
        true => Some(shared.zygote.ranges().take().map_err(start)?),
        false => None,
    };
    let own = shared.cgroups.create(&format!("{id}/pause"), &cgroup::Limits::default()).map_err(start)?;
    let entry = own.entry().map_err(start)?;
    let node = shared.network.netns();
    let mut fds = Vec::new();
    if config.host_network {
        let node = node.as_ref().ok_or(Error::Unsupported("hostNetwork"))?;
        fds.push((Role::Network, node.as_fd()));
    }
    fds.extend(entry.directory.as_ref().map(|fd| (Role::Cgroup, fd.as_fd())));
    let pause = Pause {
        hostname: config.hostname.clone(),
        root: shared.images.pause(),
        own_network: !config.host_network,
        own_pids: config.share_process_namespace,
    };
    let request = Request {
        roles: vec![],
        ids: shared.ids,
        users: range.as_ref().map(ranges::Range::first),
        tasks: entry.tasks.clone(),
        what: What::Pause(pause),
    };
    let process = shared.zygote.run(id, request, &fds, &Unborn::default()).await?.process;
    let Some(range) = range else { return Ok((process, None)) };
    match user_namespace_of(&process) {
        Ok(namespace) => Ok((process, Some(Users { range, namespace }))),
        Err(cause) => {
            let _ = process.signal(nix::libc::SIGKILL);
            process.exit().await;
            Err(Error::Io { what: "cannot open the sandbox' user namespace".into(), cause })
        }
    }
}

/// The user namespace of a pod that is being made.
struct Users {
    range: ranges::Range,
    namespace: OwnedFd,
}

/// The user namespace of a process that was not waited for: its number may be another's otherwise.
fn user_namespace_of(process: &Process) -> std::io::Result<OwnedFd> {
    let namespace = namespace::of_process(process.pid, "user")?;
    process.signal(0)?; // it has its number still, so it had it then
    Ok(namespace)
}

/// `/etc/hosts` as the kubelet writes it.
pub fn hosts(ip: Ipv4Addr, names: &[&str], aliases: &[(String, Vec<String>)]) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let _ = writeln!(text, "{ip}\t{}", names.join("\t"));
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for (address, names) in aliases {
        let _ = writeln!(text, "{address}\t{}", names.join("\t"));
    }
    text
}

/// `/etc/resolv.conf` as the kubelet writes it.
pub fn resolv_conf(dns: &Dns) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        let _ = writeln!(text, "search {}", dns.searches.join(" "));
    }
    for server in &dns.servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !dns.options.is_empty() {
        let _ = writeln!(text, "options {}", dns.options.join(" "));
    }
    text
}

/// Files of the sandbox that every container of it sees.
pub fn shared_files(directory: &Path) -> [(PathBuf, &'static str); 3] {
    ["hosts", "hostname", "resolv.conf"].map(|name| {
        let place = match name {
            "hosts" => "/etc/hosts",
            "hostname" => "/etc/hostname",
            _ => "/etc/resolv.conf",
        };
        (directory.join(name), place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_knows_its_names_and_its_dns() {
        let text = hosts(
            Ipv4Addr::new(10, 244, 1, 7),
            &["web-0"],
            &[("1.2.3.4".into(), vec!["a".into(), "b".into()])],
        );
        assert!(
            text.ends_with("10.244.1.7\tweb-0\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"),
            "{text}"
        );
        let dns = Dns {
            servers: vec!["10.96.0.10".into()],
            searches: vec!["default.svc.cluster.local".into(), "svc.cluster.local".into()],
            options: vec!["ndots:5".into()],
        };
        let want =
            "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(resolv_conf(&dns), want);
    }
}
