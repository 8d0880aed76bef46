//! What a cluster has on its machine, and what is still there later: processes, namespaces,
//! sockets, control groups, and what it could have changed on the host.

use super::support::Home;
use nlink::netlink::{Connection, Nftables};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A process, told from a later one with the same number by its start, in clock ticks since the
/// machine's.
type Process = (i32, u64);

/// All that belongs to the clusters of one home.
#[derive(Debug, Default)]
pub(crate) struct Footprint {
    /// `ROPEWALK_HOME=…`, as the environment of its processes has it.
    mark: Vec<u8>,
    processes: BTreeSet<Process>,
    /// `net:[4026532008]`, as links in /proc name them.
    namespaces: BTreeSet<String>,
    /// Inodes of sockets, TCP and Unix alike.
    sockets: BTreeSet<u64>,
    /// Names of control groups: `ropewalk-1f2e3d4c`.
    groups: BTreeSet<String>,
}

impl Footprint {
    /// Everybody with this home in the environment, and all their descendants.
    pub(crate) fn of(home: &Home) -> Footprint {
        let (mark, all) = (mark(home), processes());
        let own =
            with_descendants(all.keys().copied().filter(|pid| home_of(*pid).as_ref() == Some(&mark)), &all);
        let (me, mut found) =
            (namespaces(std::process::id() as i32), Footprint { mark, ..Footprint::default() });
        for pid in own {
            found.processes.insert((pid, all[&pid].started));
            found.namespaces.extend(namespaces(pid).difference(&me).cloned());
            found.sockets.extend(links(pid, "fd").iter().filter_map(|l| inode(l)));
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let names = groups.split(['/', '\n']).filter(|part| part.starts_with("ropewalk-"));
            found.groups.extend(names.map(String::from));
        }
        found
    }

    /// Its parts that are still there, by name.
    pub(crate) fn left(&self) -> Vec<String> {
        let all = processes();
        let lives = |(pid, started): &&Process| all.get(pid).is_some_and(|s| s.started == *started);
        let mut left: Vec<String> =
            self.processes.iter().filter(lives).map(|(pid, _)| describe(*pid)).collect();
        // The number of a namespace that is gone is given to a later one, which may be of another
        // home's cluster.
        let others = all.keys().copied().filter(|pid| home_of(*pid).is_some_and(|mark| mark != self.mark));
        let others = with_descendants(others, &all);
        for pid in all.keys().filter(|pid| !others.contains(pid)) {
            // held by a process that lives in it, or by an open file
            left.extend(namespaces(*pid).intersection(&self.namespaces).map(|n| format!("{n} of {pid}")));
        }
        for table in ["tcp", "tcp6", "udp", "udp6", "unix"] {
            let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
            let column = if table == "unix" { 6 } else { 9 };
            for line in text.lines().skip(1) {
                let inode = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
                if inode.is_some_and(|inode| self.sockets.contains(&inode)) {
                    left.push(format!("{table} {line}"));
                }
            }
        }
        let ours =
            |path: &PathBuf| path.file_name().is_some_and(|n| self.groups.contains(&*n.to_string_lossy()));
        left.extend(groups().into_iter().filter(ours).map(|path| path.display().to_string()));
        left
    }

    pub(crate) fn count(&self) -> String {
        let n = [self.processes.len(), self.namespaces.len(), self.sockets.len(), self.groups.len()];
        format!("{} processes, {} namespaces, {} sockets, {} groups", n[0], n[1], n[2], n[3])
    }

    pub(crate) fn has_group(&self) -> bool {
        !self.groups.is_empty()
    }
}

/// What the host itself looks like: mounts, interfaces, tables of nftables.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Host {
    mounts: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    /// `None` for a user who may not ask.
    tables: Option<BTreeSet<String>>,
}

impl Host {
    pub(crate) fn now() -> Host {
        let text = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
        let mounts = text.lines().filter_map(|l| l.split_whitespace().nth(4).map(String::from)).collect();
        let interfaces = names("/sys/class/net").collect();
        Host { mounts, interfaces, tables: tables() }
    }
}

/// Tables of nftables in the host's own network namespace.
fn tables() -> Option<BTreeSet<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let asked = Connection::<Nftables>::new().expect("a netlink socket").list_tables().await.ok()?;
        Some(asked.iter().map(|t| format!("{:?} {}", t.family, t.name)).collect())
    })
}

/// All processes of a home's clusters.
pub(crate) fn pids(home: &Home) -> Vec<i32> {
    Footprint::of(home).processes.into_iter().map(|(pid, _)| pid).collect()
}

/// Who calls itself `comm`.
pub(crate) fn named(comm: &str, home: &Home) -> Vec<i32> {
    let own = Footprint::of(home).processes;
    let called = |pid: i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == comm);
    own.into_iter().map(|(pid, _)| pid).filter(|pid| called(*pid)).collect()
}

/// Living children of a process.
pub(crate) fn children(parent: i32) -> Vec<i32> {
    processes().into_iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| pid).collect()
}

struct Stat {
    parent: i32,
    started: u64,
}

/// All processes but those that have ended and wait to be collected.
fn processes() -> BTreeMap<i32, Stat> {
    let pids = names("/proc").filter_map(|name| name.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        let stat = Stat { parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? };
        (fields[0] != "Z" && fields[0] != "X").then_some((pid, stat))
    })
    .collect()
}

fn names(dir: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned())
}

fn mark(home: &Home) -> Vec<u8> {
    format!("ROPEWALK_HOME={}", home.path().display()).into_bytes()
}

/// The [`mark`] of a process that has one.
fn home_of(pid: i32) -> Option<Vec<u8>> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environ.split(|byte| *byte == 0);
    variables.find(|variable| variable.starts_with(b"ROPEWALK_HOME=")).map(<[u8]>::to_vec)
}

/// These processes, their children, the children of those, and so on.
fn with_descendants(roots: impl Iterator<Item = i32>, all: &BTreeMap<i32, Stat>) -> BTreeSet<i32> {
    let mut own: BTreeSet<i32> = roots.collect();
    loop {
        let born = |(pid, stat): (&i32, &Stat)| own.contains(&stat.parent).then_some(*pid);
        let with_children: BTreeSet<i32> = own.iter().copied().chain(all.iter().filter_map(born)).collect();
        if with_children.len() == own.len() {
            return own;
        }
        own = with_children;
    }
}

fn describe(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("process {pid}: {}", String::from_utf8_lossy(&words).replace('\0', " "))
}

/// Where the links in a directory of a process lead.
fn links(pid: i32, dir: &str) -> Vec<String> {
    let base = format!("/proc/{pid}/{dir}");
    let read = |name: String| fs::read_link(Path::new(&base).join(name)).ok();
    names(&base).filter_map(read).map(|to| to.to_string_lossy().into_owned()).collect()
}

/// Namespaces that a process is in, or holds open.
fn namespaces(pid: i32) -> BTreeSet<String> {
    let kinds = ["net:[", "mnt:[", "pid:[", "ipc:[", "uts:[", "user:[", "cgroup:["];
    let own = links(pid, "ns").into_iter().chain(links(pid, "fd"));
    own.filter(|to| kinds.iter().any(|kind| to.starts_with(kind))).collect()
}

fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Control groups of clusters, anybody's.
fn groups() -> BTreeSet<PathBuf> {
    fn walk(dir: &Path, depth: u32, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("ropewalk-") {
                found.insert(entry.path());
            } else if depth < 4 && entry.file_type().is_ok_and(|t| t.is_dir()) {
                walk(&entry.path(), depth + 1, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(Path::new("/sys/fs/cgroup"), 0, &mut found);
    found
}
