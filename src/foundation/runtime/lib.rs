//! # The container runtime: real processes in real namespaces
//!
//! ## In Kubernetes
//! The kubelet asks containerd over CRI for sandboxes and containers; containerd has runc make the
//! processes. A pod's sandbox is a `pause` process that holds the pod's namespaces, so containers
//! may come and go without the pod losing its address.
//! ## How this one works
//! ```text
//! boot::supervise(&config, images::lay_out, |main: boot::Main| -> i32 { … })   // S makes M; M gets:
//!   main.{pids, ids, cgroups, layers, writable, zygote}
//!   // on the async runtime, started on this very thread:
//!   let zygote = Zygote::start(main.zygote)?;            // one for all nodes
//!   let images = Arc::new(Images::new(&main.layers));    // one for all nodes
//!   // tasks beside everything else: zygote.reap_strangers() for ever, and
//!   // zygote.died() -> end the program
//!   let runtime: Arc<NodeRuntime> = NodeRuntime::new(Config { node, zygote, … });
//!   // `NodeRuntime` is a `cri::Runtime`. It belongs to the node and outlives its kubelet: a new
//!   // one lists what it finds.
//! ```
//! `main()` of the program must, before anything else, become an applet if `argv[0]` names one, and
//! call [`zygote::main`] if `argv[1]` is [`zygote::ZYGOTE_ARGUMENT`]. [`zygote`] makes processes
//! for us, [`spec`] is what travels there; [`init`], [`pause`], [`root`], [`layers`], [`dev`] and
//! [`program`] run between clone and exec.
//! [`turns`] decides whose request is next. [`node`] answers CRI calls with [`sandbox`],
//! [`container`], [`stream`] (exec, attach) and [`log`], at the pace that [`pace`] allows;
//! [`images`] is the table of what can run.
//!
//! A container's first process and every exec'd one take these steps in this order: join cgroups
//! and namespaces, close every descriptor but the standard streams and the status socket, build the
//! root (volumes are attached to descriptors, never to names), look up user and working directory
//! inside it, give up rights, run the program. For a pod with `hostUsers: false` the order differs:
//! a helper opens the volumes and mounts the layers first, outside of the pod's namespaces, because
//! its root may not ([`users`]); the descriptors of the volumes stay open until they are mounted.
//! Before they run their program, only a process with `SYS_PTRACE` can trace them; another
//! container of the pod that has it can, where it sees them (exec, a shared PID namespace; see the
//! threat model). What a pod asked for and the machine does not grant is a warning in the
//! container's status.
//!
//! Every container has these bounds, also if its pod asks for none:
//! - 1024 processes for all containers of a pod together, where there are control groups
//! - 512 MiB and 262144 files of writable layer, 64 MiB and 4096 files each of /dev and /dev/shm
//! - 256 terminals
//! - 4 MiB of log entries a second, after 8 MiB at once, and 64 commands that `exec` has not begun
//!   yet, for all containers of a pod together
//! - 1048576 descriptors for a process (as containerd's unit sets it), or Ropewalk's own limit if
//!   that is lower
//! - no core dumps, which the host's `core_pattern` would handle on the host (containerd leaves
//!   them unlimited)
//! - no rings for packet sockets (see [`linux::seccomp`]), so `tcpdump` fails
//!
//! Files of an image have the modes of a real image, and programs the umask 0022, whatever umask
//! the session has that started Ropewalk; files outside of containers get the session's.
//!
//! A pod has a control group of its own, in which those of its containers are: it holds the bound
//! on processes, the pod's share of the processors, and its limits on memory and cpu where it has
//! some. Once the pod has ended nothing of the kernel is left of it: no descriptor, no mount, no
//! control group. A control group whose last process ends slowly is removed once it is free. A
//! sandbox shows its state from before its stop until the stop has done all of its steps, and steps
//! that a killed kubelet began are finished without it.
//!
//! /sys/fs/cgroup shows a container its own group where the machine has cgroup v2, read-only unless
//! it is privileged. A privileged container has the nodes of the machine's devices in a /dev of its
//! own: what it writes to /dev and /dev/shm goes with it.
//! ## Left out
//! - User namespaces of pods in an ordinary user's clusters (root's have them, [`users`]).
//! - Downloaded images; AppArmor and SELinux; a common /dev/shm for the containers of a pod;
//!   devices for containers that are not privileged; control groups beside its own for a privileged
//!   one; `/dev/console` for those with a terminal.
//! - The user of the pause process: it is user 0 without a right, where upstream it is 65535 or the
//!   pod's `runAsUser`. Without SYS_PTRACE, which a machine may keep from Ropewalk's root, only
//!   namespaces of a process of one's own user can be entered.
//! - /sys/fs/cgroup on machines with cgroup v1, which the kubelet of 1.35 refuses by default.
//! - Without control groups, processes that the first one of a container leaves behind in a shared
//!   PID namespace run until the pod ends; a warning of the container says so.
//! - Writable layers are in memory and go with the cluster's processes.
//! - Without `stdin: true` standard input is a pipe at its end, where containerd has `/dev/null`.
//! - In an ordinary user's cluster on Linux before 6.6 an image's /bin cannot be removed as a
//!   whole, nor a directory made in the place of one of its programs (`EIO`).
//! ## Read next
//! [`zygote`], then `linux::boot`; above it `kubelet`.

#![warn(missing_docs)]

mod container;
mod context;
mod control_groups;
mod dev;
mod idmap;
pub mod images;
mod init;
mod layers;
pub mod log;
mod names;
mod node;
mod output;
mod pace;
mod passwd;
mod pause;
mod program;
mod pumps;
mod reference;
mod root;
mod sandbox;
mod spawn;
mod spec;
mod stats;
mod stream;
mod terminal;
mod turns;
mod users;
mod words;
mod work;
pub mod zygote;

pub use context::Config;
pub use images::Images;
pub use node::NodeRuntime;
pub use zygote::Zygote;
