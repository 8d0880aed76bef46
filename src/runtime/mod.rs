//! # The container runtime: real processes in real namespaces
//!
//! ## In Kubernetes
//! The kubelet asks containerd over CRI for sandboxes and containers; containerd has runc make the processes. A pod's sandbox is
//! a `pause` process that holds the pod's namespaces, so containers may come and go without the pod losing its address.
//! ## How this one works
//! ```text
//! boot::supervise(&config, images::lay_out, |main: boot::Main| -> i32 { … })      // S makes M; M gets:
//!   main.{pids, ids, cgroups, layers, writable, zygote}
//!   // on the async runtime, started on this very thread:
//!   let zygote = Zygote::start(main.zygote)?;            // one for all nodes
//!   let images = Arc::new(Images::new(&main.layers));    // one for all nodes
//!   // tasks beside everything else: zygote.reap_strangers() for ever; zygote.died() -> end the program
//!   let runtime: Arc<NodeRuntime> = NodeRuntime::new(Config { node, zygote, images, cgroups, ids, network, directory, rng });
//!   // `NodeRuntime` is a `cri::Runtime`. It belongs to the node and outlives its kubelet: a new one lists what it finds.
//! ```
//! `main()` of the program must, before anything else, become an applet if `argv[0]` names one, and call [`zygote::main`] if
//! `argv[1]` is [`zygote::ZYGOTE_ARGUMENT`]. [`zygote`] makes processes for us, [`spec`] is what travels there, [`init`] and
//! [`root`] run between clone and exec. [`turns`] decides whose request is next. [`node`] answers CRI calls with [`sandbox`], [`container`], [`stream`] (exec, attach) and
//! [`log`], at the pace that [`pace`] allows; [`images`] is the table of what can run.
//!
//! A container's first process and every exec'd one take these steps in this order: join cgroups and namespaces, close every descriptor but
//! the standard streams, build the root (volumes are attached to descriptors, never to names), look up user and working directory inside
//! it, give up rights, run the program. They cannot be traced before that. What a pod asked for and the machine does not grant is a
//! warning in the container's status. Bounds without asking: 1024 processes for all containers of a pod
//! together, 512 MiB of writable layer, 64 MiB each of /dev and /dev/shm, 1048576 descriptors for a process (as containerd's unit sets it, or Ropewalk's own
//! limit if that is lower), and no core dumps, which the host's `core_pattern` would handle on the host (containerd leaves them unlimited). Packet sockets
//! have no rings (see [`crate::linux::seccomp`]): `tcpdump` fails here. A pod has a control group of its own, in which those of its containers are: it holds the
//! bound on processes, the pod's share of the processors, and its limits on memory and cpu where it has some. Once the pod has ended nothing of the kernel is
//! left of it: no descriptor, no mount, no control group.
//! ## Left out
//! User namespaces of pods for an ordinary user's clusters (root's have them, [`users`]); downloaded images; AppArmor and SELinux; a common
//! /dev/shm for the containers of a pod; devices. Writable layers are in memory and go with the cluster's processes.
//! ## Read next
//! [`zygote`], then `linux::boot`; above it `kubelet`.

pub mod container;
pub mod images;
pub mod init;
pub mod log;
pub mod node;
pub mod pace;
pub mod passwd;
pub mod root;
pub mod sandbox;
pub mod spec;
mod stats;
pub mod stream;
mod terminal;
pub mod turns;
mod users;
pub mod zygote;

pub use images::Images;
pub use node::{Config, NodeRuntime};
pub use zygote::Zygote;

/// Runs blocking work on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)
}

/// Blocking work whose failure nobody can mend.
async fn clean_up(work: impl FnOnce() + Send + 'static) {
    if let Err(e) = blocking(work).await {
        tracing::warn!("clean-up failed: {e}");
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
