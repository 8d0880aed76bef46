//! A pod's sandbox: the pause process, whose namespaces all containers of the pod share, and the
//! files about the pod's place in the network.

use super::context::NodeContext;
use super::pace::Pace;
use super::spec::{Pause, Request, Role, What};
use super::zygote::PendingStart;
use super::{control_groups, work};
use clock::{self, Timestamp};
use cni::NodeNetwork;
use cri::{self, Dns, Error, Result, SandboxConfig, SandboxState};
use lang::chain;
use linux::{self, cgroup, mount, namespace, ranges, reap::Process};
use parking_lot::{Mutex, MutexGuard};
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that a pod's containers may add to the pod's files: `/etc/hosts`, and unless their root is
/// read-only `/etc/hostname` and `/etc/resolv.conf`, as upstream.
const FILES_ROOM: u64 = 1 << 20;

/// Processes and threads of all containers of a pod together, the pause process included, unless
/// its configuration says otherwise (the kubelet's `podPidsLimit`).
const PIDS_MAX: u64 = 1024;

/// A pod's sandbox: the pause process, which holds the pod's namespaces, and what the kernel and
/// the network keep for the pod.
pub(crate) struct Sandbox {
    pub id: String,
    pub config: SandboxConfig,
    pub process: Arc<Process>,
    pub directory: PathBuf,
    created_at: Timestamp,
    ip: Option<Ipv4Addr>,
    /// The pod's, in which those of its containers and of the pause process are.
    group: Arc<dyn cgroup::Group>,
    phase: Mutex<Phase>,
    /// The id, on the machine, of user 0 of the pod's own user namespace.
    first_user: Option<u32>,
    /// The ids of that namespace. No other pod gets them until the sandbox is stopped: a pod that
    /// has ended may be remembered for long, and no process and no file is left of it that has one
    /// of them (upstream: `UsernsManager.Release` in `SyncTerminatedPod`).
    users: Mutex<Option<ranges::Range>>,
    /// `None` once the sandbox is stopped: a namespace must not outlive its processes, nor a
    /// stopped sandbox hold descriptors.
    network: Mutex<Option<Arc<OwnedFd>>>,
    /// As `network`; also `None` if the pod has no user namespace of its own.
    user_namespace: Mutex<Option<Arc<OwnedFd>>>,
    /// How fast its containers may write to their logs, together.
    pub pace: Pace,
}

/// How far a sandbox' end is.
#[derive(Clone, Copy)]
enum Phase {
    Up,
    /// No container of it starts any more. Until the last step is done it shows the state that it
    /// had before the first: a kubelet stops the sandboxes that it finds ready, so one whose stop
    /// failed or was interrupted is stopped again.
    Ending(SandboxState),
    /// Nothing is left to take down.
    Ended,
}

impl Sandbox {
    /// Makes the pod's group, the pause process, its network and its files.
    ///
    /// # Errors
    /// The first one. What was made by then is taken down again; that this fails, too, goes to the
    /// log, and a control group is tried again until it is gone.
    pub(crate) async fn make(context: &NodeContext, id: String, config: SandboxConfig) -> Result<Sandbox> {
        let limits = cgroup::Limits {
            cpu_shares: config.cpu_shares,
            cpu_milli: config.cpu_limit_milli,
            memory: config.memory_limit,
            pids: Some(config.pids_limit.unwrap_or(PIDS_MAX)),
            of_groups: true,
            ..cgroup::Limits::default()
        };
        let group = control_groups::make_group(&context.config.cgroups, id.clone(), limits).await?;
        let made = make_pause(context, &id, &config).await;
        let (process, users, user_namespace) = match made {
            Ok((process, Some(users))) => (process, Some(users.range), Some(Arc::new(users.namespace))),
            Ok((process, None)) => (process, None, None),
            Err(e) => {
                control_groups::remove_group(group, &context.crew).await;
                return Err(e);
            }
        };
        let mut sandbox = Sandbox {
            directory: context.config.directory.join(&id),
            id,
            config,
            process,
            created_at: clock::now(),
            ip: None,
            group,
            phase: Mutex::new(Phase::Up),
            first_user: users.as_ref().map(ranges::Range::first),
            users: Mutex::new(users),
            network: Mutex::new(None),
            user_namespace: Mutex::new(user_namespace),
            pace: Pace::default(),
        };
        match sandbox.connect(&context.config.node, &*context.config.network).await {
            Ok(()) => Ok(sandbox),
            Err(e) => {
                if let Err(second) = sandbox.stop(context).await {
                    let id = &sandbox.id;
                    tracing::warn!("what is left of sandbox {id} after a failure: {}", chain(&second));
                }
                Err(e)
            }
        }
    }

    /// Returns the id of the control group of one of its containers.
    pub(crate) fn group_of(&self, container: &str) -> String {
        format!("{}/{container}", self.id)
    }

    async fn connect(&mut self, node: &str, network: &dyn NodeNetwork) -> Result<()> {
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
                Error::Start(format!("failed to setup network for sandbox {:?}: {}", self.id, chain(&e)))
            })?,
        };
        self.ip = Some(ip);
        *self.lock_network() = Some(namespace);
        self.write_files(node, ip).map_err(start)
    }

    /// Writes the pod's files to a small file system of the pod's own: its containers may write to
    /// them, and on a file system that pods share one pod could fill it for all others
    /// (CVE-2020-8557).
    fn write_files(&self, node: &str, ip: Ipv4Addr) -> linux::Result<()> {
        let files = [
            ("hostname", format!("{}\n", self.config.kernel_hostname())),
            ("hosts", self.hosts(node, ip)),
            ("resolv.conf", resolv_conf(&self.config.dns)),
        ];
        let failed = |cause| linux::Error::new("cannot write the sandbox' files", cause);
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        let content: u64 = files.iter().map(|(_, text)| text.len() as u64).sum();
        let flags = mount::Flags::MS_NOSUID | mount::Flags::MS_NODEV | mount::Flags::MS_NOEXEC;
        mount::tmpfs(&self.directory, flags, 0o755, content.saturating_add(FILES_ROOM), 16)?;
        files
            .iter()
            .try_for_each(|(name, text)| write_for_all(&self.directory.join(name), text))
            .map_err(failed)
    }

    /// Returns the text of `/etc/hosts` of its containers.
    fn hosts(&self, node: &str, ip: Ipv4Addr) -> String {
        let aliases = &self.config.host_aliases;
        match self.config.host_network {
            true => hosts(NODE_HOSTS, ip, &[node], aliases),
            false => hosts(POD_HOSTS, ip, &self.config.names(), aliases),
        }
    }

    /// Writes `/etc/hosts` anew, as the kubelet does at every start of a container
    /// (`ensureHostsFile`): what its containers wrote to it would stay, and grow, over their
    /// restarts. It stays the same file, which is mounted into those that run.
    ///
    /// # Errors
    /// The pod's containers have filled its small file system.
    pub(crate) fn renew_hosts(&self, node: &str) -> Result<()> {
        let Some(ip) = self.ip else { return Ok(()) };
        std::fs::write(self.directory.join("hosts"), self.hosts(node, ip))
            .map_err(|cause| Error::Io { what: "cannot write the sandbox' /etc/hosts".into(), cause })
    }

    fn lock_network(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.network.lock()
    }

    /// Returns its network namespace, while it is ready.
    pub(crate) fn network(&self) -> Option<Arc<OwnedFd>> {
        self.lock_network().clone()
    }

    /// Returns its own user namespace, while it is ready.
    pub(crate) fn users(&self) -> Option<Arc<OwnedFd>> {
        self.user_namespace.lock().clone()
    }

    /// Returns the id, on the machine, of user 0 of its own user namespace.
    pub(crate) fn first_user(&self) -> Option<u32> {
        self.first_user
    }

    /// Returns what all its containers have used. `None` where the kernel does not count it for us.
    pub(crate) fn usage(&self) -> Option<linux::usage::Usage> {
        self.group.usage()
    }

    fn lock_phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock()
    }

    /// Returns `Ready` until its pause process has ended by itself, or until a stop has done all of
    /// its steps.
    pub(crate) fn state(&self) -> SandboxState {
        self.state_in(&self.lock_phase())
    }

    fn state_in(&self, phase: &Phase) -> SandboxState {
        match phase {
            Phase::Up if self.network().is_some() && self.process.ended().is_none() => SandboxState::Ready,
            Phase::Up | Phase::Ended => SandboxState::NotReady,
            Phase::Ending(before) => *before,
        }
    }

    /// Refuses the starts of its containers from now on, before those that run are stopped.
    pub(crate) fn begin_to_stop(&self) {
        let mut phase = self.lock_phase();
        if let Phase::Up = *phase {
            *phase = Phase::Ending(self.state_in(&phase));
        }
    }

    /// Returns true once a stop has begun, and for ever after: no container of it starts any more.
    pub(crate) fn is_stopping(&self) -> bool {
        !matches!(*self.lock_phase(), Phase::Up)
    }

    /// Returns whether a stop has done all of its steps: nothing of it runs.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(*self.lock_phase(), Phase::Ended)
    }

    /// Ends the pause process, takes down what the pod has of the kernel (namespaces, control
    /// group, mount) and gives the address back. Containers are ended before. What is left is data:
    /// thousands of ended pods may be remembered. Every step is idempotent: what is stopped again,
    /// also by two callers at once, is as if it were stopped once.
    ///
    /// Returns whether it was ready before.
    ///
    /// # Errors
    /// The network does not take the address back. The sandbox is ready still, so it can be stopped
    /// again.
    pub(crate) async fn stop(&self, context: &NodeContext) -> Result<bool> {
        let _ = self.process.signal(nix::libc::SIGKILL); // it may have ended already
        self.process.exit().await;
        drop(self.lock_network().take());
        drop(self.user_namespace.lock().take());
        control_groups::remove_group(self.group.clone(), &context.crew).await;
        self.remove_files().await;
        if !self.config.host_network {
            context.config.network.remove_pod(&self.id).await.map_err(|e| Error::State(chain(&e)))?;
        }
        drop(self.users.lock().take());
        let before = std::mem::replace(&mut *self.lock_phase(), Phase::Ended);
        Ok(matches!(before, Phase::Ending(SandboxState::Ready)))
    }

    /// Unmounts the file system of its files and removes its directory. Idempotent.
    async fn remove_files(&self) {
        let directory = self.directory.clone();
        work::clean_up(move || {
            let _ = mount::detach(&directory); // nothing is mounted if its network could not be made
            let _ = std::fs::remove_dir_all(directory);
        })
        .await;
    }

    /// Describes the sandbox as CRI shows it.
    pub(crate) fn describe(&self) -> cri::Sandbox {
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

fn start(e: linux::Error) -> Error {
    Error::Start(e.line())
}

async fn make_pause(
    context: &NodeContext,
    id: &str,
    config: &SandboxConfig,
) -> Result<(Arc<Process>, Option<Users>)> {
    // An ordinary user's pods already have other users than the machine, and the kernel lets only
    // root show the machine's files as another user's.
    let range = match config.own_users && !context.config.ids.rootless() {
        true if config.host_network => return Err(Error::Unsupported("hostUsers: false with hostNetwork")),
        true => {
            let ranges = context.config.zygote.ranges().clone();
            let taken = work::blocking(move || ranges.take()).await; // reads and locks files
            let io = |cause| Error::Io { what: "cannot take ids for the pod's users".into(), cause };
            Some(taken.map_err(io)?.map_err(start)?)
        }
        false => None,
    };
    let limits = cgroup::Limits::default();
    let own = control_groups::make_group(&context.config.cgroups, format!("{id}/pause"), limits).await?;
    let entry = own.entry().map_err(start)?;
    let node = context.config.network.netns();
    let mut fds = Vec::new();
    if config.host_network {
        let node = node.as_ref().ok_or(Error::Unsupported("hostNetwork"))?;
        fds.push((Role::Network, node.as_fd()));
    }
    fds.extend(entry.directory.as_ref().map(|fd| (Role::Cgroup, fd.as_fd())));
    let pause = Pause {
        hostname: config.kernel_hostname().to_string(),
        root: context.config.images.pause(),
        own_network: !config.host_network,
        sysctls: config.sysctls.clone(),
        own_pids: config.share_process_namespace,
    };
    let request = Request {
        roles: vec![],
        ids: context.config.ids,
        users: range.as_ref().map(ranges::Range::first),
        tasks: entry.tasks.clone(),
        what: What::Pause(pause),
    };
    let process = context.config.zygote.run(id, request, &fds, &PendingStart::default()).await?.process;
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

/// Returns the user namespace of a process that was not waited for: its number may be another's
/// otherwise.
fn user_namespace_of(process: &Process) -> std::io::Result<OwnedFd> {
    let namespace = namespace::of_process(process.pid, "user")?;
    process.signal(0)?; // it has its number still, so it had it then
    Ok(namespace)
}

/// The first line of `/etc/hosts` of a pod with a network of its own.
const POD_HOSTS: &str = "# Kubernetes-managed hosts file.";
/// The first line of `/etc/hosts` of a pod in its node's network. Upstream the lines of the node's
/// own file follow. Here the file is always that of a machine with one name: what pods write to the
/// node's file is not copied.
const NODE_HOSTS: &str = "# Kubernetes-managed hosts file (host network).";

/// Writes a file that all users of a pod may read, whatever umask the session has: main keeps that.
fn write_for_all(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

/// Returns the text of `/etc/hosts` as the kubelet writes it. `names` are the pod's, or the node's
/// if the pod is in its network.
fn hosts(head: &str, ip: Ipv4Addr, names: &[&str], aliases: &[(String, Vec<String>)]) -> String {
    let mut text = format!("{head}\n");
    text.push_str(
        "127.0.0.1\tlocalhost\n\
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

/// Returns the text of `/etc/resolv.conf` as containerd writes it.
fn resolv_conf(dns: &Dns) -> String {
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

/// Returns the files of the sandbox that every container of it sees, and where it sees them.
pub(crate) fn shared_files(directory: &Path) -> [(PathBuf, &'static str); 3] {
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
        let aliases = [("1.2.3.4".to_string(), vec!["a".to_string(), "b".to_string()])];
        let text = hosts(POD_HOSTS, Ipv4Addr::new(10, 244, 1, 7), &["web-0"], &aliases);
        let end = "10.244.1.7\tweb-0\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n";
        assert!(text.ends_with(end), "{text}");
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"), "{text}");
        let text = hosts(NODE_HOSTS, Ipv4Addr::new(192, 168, 0, 1), &["node1"], &aliases);
        let begin = "# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n";
        assert!(text.starts_with(begin) && text.contains("\n192.168.0.1\tnode1\n"), "{text}");
        let dns = Dns {
            servers: vec!["10.96.0.10".into()],
            searches: vec!["default.svc.cluster.local".into(), "svc.cluster.local".into()],
            options: vec!["ndots:5".into()],
        };
        let want =
            "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(resolv_conf(&dns), want);
    }

    #[test]
    fn all_users_of_a_pod_read_its_files_whatever_umask_the_session_has() {
        let mode_with = |umask: u32| {
            // The thread's own umask from now on: other tests keep theirs.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            linux::process::set_umask(umask);
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("resolv.conf");
            write_for_all(&path, "nameserver 10.96.0.10\n").unwrap();
            std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
        };
        for umask in [0o077, 0o002, 0] {
            let mode = std::thread::scope(|scope| scope.spawn(|| mode_with(umask)).join().unwrap());
            assert_eq!(mode, 0o644, "umask {umask:03o}");
        }
    }
}
