//! Room for a cluster's group in a group of the machine (cgroup v2). The controllers that the
//! cluster needs are switched on for the groups in it; a group that holds processes cannot give
//! controllers ("no internal processes"), so processes are moved aside if nothing else helps. Both
//! are taken back when the cluster has ended. Where several clusters live in a base from which
//! processes were moved, the last one takes it back; where none were, only the one that switched
//! the controllers on, at its next start or end at the latest. Source: cgroup-v2.rst, and systemd's
//! "Control Group APIs and Delegation".
//!
//! ```text
//! base             the group of a container or a unit, with +memory +pids +cpu
//!   ropewalk-aside the processes that were in the base
//!   ropewalk-1f2e… the cluster
//! ```

use super::files::{make, read, write};
use crate::process::parent_of;
use crate::{Context, Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const CONTROL: &str = "cgroup.subtree_control";
const PROCS: &str = "cgroup.procs";
/// The group for processes that are moved aside.
const ASIDE: &str = "ropewalk-aside";
/// How often processes are moved: one may make another meanwhile.
const TRIES: usize = 10;

/// The files in which a group has a limit, a weight or a rule from a controller, and what they hold
/// in a group without any. systemd writes most of them for a unit (`MemoryZSwapMax=`,
/// `OOMPolicy=kill`, `CPUQuota=`), and does not write them again by itself. Source: cgroup-v2.rst.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("memory", "memory.min", "0"),
    ("memory", "memory.low", "0"),
    ("memory", "memory.high", "max"),
    ("memory", "memory.max", "max"),
    ("memory", "memory.swap.high", "max"),
    ("memory", "memory.swap.max", "max"),
    ("memory", "memory.zswap.max", "max"),
    ("memory", "memory.zswap.writeback", "1"), // older kernels copy that of the group above
    ("memory", "memory.oom.group", "0"),
    ("pids", "pids.max", "max"),
    ("cpu", "cpu.weight", "100"), // 0 with cpu.idle
    ("cpu", "cpu.max", "max 100000"),
    ("cpu", "cpu.max.burst", "0"),
    ("cpu", "cpu.uclamp.min", "0.00"),
    ("cpu", "cpu.uclamp.max", "max"),
];

/// The cause of the error where a base does not have controllers that it is to give on.
#[derive(Debug, thiserror::Error)]
#[error("not delegated from above, or not in this kernel")]
struct NotGiven(Vec<String>);

/// Returns the controllers that the base lacks, if that is the error of [`Room::switch_on`].
pub(super) fn not_given(e: &Error) -> Option<&[String]> {
    Some(&e.cause.get_ref()?.downcast_ref::<NotGiven>()?.0)
}

/// Which processes of a base may be moved aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Movable {
    /// These.
    Only(BTreeSet<i32>),
    /// All: the base is the whole tree as this process sees it, a container's.
    All,
}

/// A base and the controllers in it that are to be switched off again: they were off and are
/// switched on for the cluster, or were switched on for another cluster that may end first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Room {
    base: PathBuf,
    controllers: Vec<String>,
}

impl Room {
    /// Finds out which of the wanted controllers are off in a base, or were before another cluster
    /// moved processes aside: all of them, as far as is known. Changes nothing.
    ///
    /// # Errors
    /// The base is no group of cgroup v2.
    pub(super) fn of(base: &Path, wanted: &[&str]) -> Result<Room> {
        let on = read(&base.join(CONTROL))?;
        let shared = base.join(ASIDE).is_dir();
        let is_off = |want: &&&str| shared || !on.split_whitespace().any(|controller| controller == **want);
        let controllers = wanted.iter().filter(is_off).map(|controller| (*controller).to_string()).collect();
        Ok(Room { base: base.into(), controllers })
    }

    /// Returns whether all controllers were on before, and for no other cluster: nothing is
    /// switched on, and nothing taken back.
    pub(super) fn is_empty(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Returns the base.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Switches the controllers on.
    ///
    /// # Errors
    /// `ResourceBusy`: the base holds processes. `NotFound` and [`not_given`]: the machine, or
    /// the group above, does not give a controller. `PermissionDenied`: the base belongs to another
    /// user.
    pub(super) fn switch_on(&self) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let control = self.base.join(CONTROL);
        let opened = fs::File::options().write(true).open(&control);
        opened.during(|| format!("cannot write {}", control.display()))?;
        let missing = self.not_given();
        if !missing.is_empty() {
            let (base, names) = (self.base.display(), missing.join(", "));
            let what = format!("the cgroup {base} is not given the controller {names}");
            return Err(Error::new(what, io::Error::new(io::ErrorKind::NotFound, NotGiven(missing))));
        }
        write(&control, &format!("+{}", self.controllers.join(" +")))
    }

    /// Returns the controllers that the base does not have itself, so that it cannot give them on.
    fn not_given(&self) -> Vec<String> {
        let Ok(given) = read(&self.base.join("cgroup.controllers")) else { return vec![] };
        let is_given = |name: &str| given.split_whitespace().any(|one| one == name);
        self.controllers.iter().filter(|name| !is_given(name.as_str())).cloned().collect()
    }

    /// Moves processes of the base aside and switches the controllers on.
    ///
    /// # Errors
    /// As [`Room::switch_on`]; `ResourceBusy`: the base holds processes that may not be moved.
    pub(super) fn switch_on_behind(&self, movable: &Movable) -> Result<()> {
        let aside = self.base.join(ASIDE);
        make(&aside)?;
        for _ in 1..TRIES {
            move_processes(&self.base, &aside, |pid| movable.contains(pid))?;
            match self.switch_on() {
                Err(e) if e.cause.kind() == io::ErrorKind::ResourceBusy => {}
                done => return done,
            }
        }
        self.switch_on()
    }

    /// Switches the controllers off again and moves processes back. A controller by which another
    /// group in the base has a limit stays on, and the kernel refuses those that another group
    /// gives to its own groups. Returns whether all are off.
    pub(super) fn take_back(&self) -> bool {
        let control = self.base.join(CONTROL);
        let are_on = || {
            let on = read(&control).unwrap_or_default();
            self.controllers.iter().filter(|name| on.split_whitespace().any(|other| other == *name)).collect()
        };
        let on: Vec<&String> = are_on();
        for controller in on.into_iter().filter(|controller| !is_used(&self.base, controller)) {
            let _ = write(&control, &format!("-{controller}")); // another group may give it on
        }
        if !are_on().is_empty() {
            return false;
        }
        let aside = self.base.join(ASIDE);
        for _ in 0..TRIES {
            if !aside.is_dir() || fs::remove_dir(&aside).is_ok() {
                break;
            }
            let _ = move_processes(&aside, &self.base, |_| true); // other controllers may be on there
        }
        true
    }

    /// As it is written beside the cluster's lock: `+memory +cpu /sys/fs/cgroup/user.slice`.
    pub(super) fn line(&self) -> String {
        format!("+{} {}\n", self.controllers.join(" +"), self.base.display())
    }

    /// Reads what [`Room::line`] wrote.
    pub(super) fn parse(line: &str) -> Option<Room> {
        let (controllers, base) = line.trim_end().split_once(" /")?;
        let name = |word: &str| {
            let name = word.strip_prefix('+')?;
            (!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase())).then(|| name.to_string())
        };
        let controllers: Vec<String> = controllers.split(' ').map(name).collect::<Option<_>>()?;
        Some(Room { base: Path::new("/").join(base), controllers })
    }
}

impl Movable {
    /// Returns a process and those above it: the supervisor and the programs that started it.
    pub(super) fn line_of(last: i32) -> Movable {
        Movable::Only(line_of(last, parent_of))
    }

    fn contains(&self, pid: i32) -> bool {
        match self {
            Movable::All => true,
            Movable::Only(pids) => pids.contains(&pid),
        }
    }
}

fn line_of(last: i32, parent_of: impl Fn(i32) -> Option<i32>) -> BTreeSet<i32> {
    let mut line = BTreeSet::new();
    let mut next = Some(last);
    while let Some(pid) = next.filter(|pid| *pid > 0 && line.insert(*pid)) {
        next = parent_of(pid);
    }
    line
}

/// Moves processes from one group to another one. One that has ended meanwhile is no error.
fn move_processes(from: &Path, to: &Path, is_movable: impl Fn(i32) -> bool) -> Result<()> {
    let listed = read(&from.join(PROCS))?;
    // 0 is a process that this process' PID namespace does not show.
    for pid in listed.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0) {
        if !is_movable(pid) {
            continue;
        }
        match fs::write(to.join(PROCS), pid.to_string()) {
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
            moved => moved.during(|| format!("cannot move process {pid} to {}", to.display()))?,
        }
    }
    Ok(())
}

/// Returns whether a group in the base has a limit or a weight from a controller.
fn is_used(base: &Path, controller: &str) -> bool {
    let has =
        |group: &Path, file: &str, default: &str| read(&group.join(file)).is_ok_and(|have| have != default);
    let groups = fs::read_dir(base).into_iter().flatten().flatten();
    groups.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).any(|entry| {
        let of_it = DEFAULTS.iter().filter(|(of, _, _)| *of == controller);
        of_it.into_iter().any(|(_, file, default)| has(&entry.path(), file, default))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use nix::fcntl::{Flock, FlockArg};
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    #[test]
    fn a_line_ends_where_no_process_is_seen() {
        let parents =
            |pid| [(7, 5), (5, 3), (3, 0)].iter().find(|(of, _)| *of == pid).map(|(_, parent)| *parent);
        assert_eq!(line_of(7, parents), BTreeSet::from([7, 5, 3]));
        assert_eq!(line_of(7, |_| None), BTreeSet::from([7]));
        assert_eq!(line_of(7, |pid| Some(12 - pid)), BTreeSet::from([7, 5]), "numbers that were given again");
        assert_eq!(parent_of(std::process::id() as i32), Some(std::os::unix::process::parent_id() as i32));
    }

    #[test]
    fn what_was_changed_is_read_as_it_was_written() {
        let room =
            Room { base: "/sys/fs/cgroup/a b".into(), controllers: vec!["memory".into(), "cpu".into()] };
        assert_eq!(room.line(), "+memory +cpu /sys/fs/cgroup/a b\n");
        assert_eq!(Room::parse(&room.line()), Some(room));
        for line in
            ["", "/sys/fs/cgroup/ropewalk-1", "+ /sys", "+cpu", "-cpu /sys", "+cpu memory /sys", "+Cpu /a"]
        {
            assert_eq!(Room::parse(line), None, "{line:?}");
        }
    }

    /// `Delegate=pids memory` of `user@.service`, as systemd had it before 252.
    #[test]
    fn a_controller_that_a_base_does_not_have_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONTROL), "memory\n").unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "memory pids\n").unwrap();
        let refused = Room::of(dir.path(), &["memory", "pids", "cpu"]).unwrap().switch_on().unwrap_err();
        assert_eq!(not_given(&refused), Some(&["cpu".to_string()][..]));
        assert_eq!(refused.cause.kind(), io::ErrorKind::NotFound);
        let (line, end) =
            (refused.line(), "the controller cpu: not delegated from above, or not in this kernel");
        assert!(line.ends_with(end), "{line}");
        Room::of(dir.path(), &["memory", "pids"]).unwrap().switch_on().unwrap();
        assert_eq!(read(&dir.path().join(CONTROL)).unwrap(), "+pids");
    }

    /// The other one may end first, and finds that its room is used.
    #[test]
    fn a_room_that_was_made_for_another_cluster_is_to_be_taken_back_too() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONTROL), "memory pids cpu\n").unwrap();
        let line = || Room::of(dir.path(), &["memory", "pids"]).map(|room| (room.is_empty(), room.line()));
        assert!(line().unwrap().0, "the machine gives them anyway");
        fs::create_dir(dir.path().join(ASIDE)).unwrap();
        assert_eq!(line().unwrap(), (false, format!("+memory +pids {}\n", dir.path().display())));
    }

    #[test]
    fn a_controller_is_used_where_a_group_has_a_limit_from_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cpu.weight"), "200\n").unwrap(); // the base's own is not given to groups
        let group = dir.path().join("user-1000.slice");
        fs::create_dir(&group).unwrap();
        for (file, text) in [("cpu.weight", "100\n"), ("cpu.max", "max 100000\n"), ("memory.max", "4096\n")] {
            fs::write(group.join(file), text).unwrap();
        }
        let used = || ["cpu", "memory", "pids"].map(|controller| is_used(dir.path(), controller));
        assert_eq!(used(), [false, true, false]);
        fs::write(group.join("cpu.weight"), "50\n").unwrap();
        assert_eq!(used(), [true, true, false]);
    }

    /// As `MemoryZSwapMax=` of a unit, which would be lost with the controller.
    #[test]
    fn each_limit_of_another_group_counts() {
        for (controller, file, default) in DEFAULTS {
            let base = tempfile::tempdir().unwrap();
            let group = base.path().join("app.service");
            fs::create_dir(&group).unwrap();
            fs::write(group.join(file), format!("{default}\n")).unwrap();
            assert!(!is_used(base.path(), controller), "{file} as the kernel has it");
            fs::write(group.join(file), "7\n").unwrap();
            assert!(is_used(base.path(), controller), "{file}");
        }
        for file in ["memory.zswap.max", "memory.swap.high", "memory.oom.group", "cpu.uclamp.max"] {
            assert!(DEFAULTS.iter().any(|(_, known, _)| *known == file), "{file}");
        }
    }

    /// A group with processes in the machine's tree of v2, and a controller that this tree gives.
    pub(crate) struct Trial {
        pub base: PathBuf,
        pub wanted: &'static str,
        /// The process that was made last.
        last: i32,
        top: Room,
        shells: Vec<Child>,
        /// Of the tree: one trial at a time, because each switches the controller off at its end.
        _turn: Flock<File>,
    }

    impl Trial {
        /// Begins with two processes, one below the other. `None` where this is not root, or the
        /// tree gives none of the controllers that a group with processes refuses to give.
        pub(crate) fn begin(name: &str) -> Option<Trial> {
            let tree = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
            let tree = tree.into_iter().find(|tree| tree.join(PROCS).exists())?;
            let turn = Flock::lock(File::open(tree).unwrap(), FlockArg::LockExclusive).ok()?;
            let offered = read(&tree.join("cgroup.controllers")).unwrap();
            let domain = ["memory", "hugetlb", "io"];
            let wanted = domain.into_iter().find(|name| offered.split(' ').any(|word| word == *name))?;
            let top = Room::of(tree, &[wanted]).unwrap();
            let base = tree.join(format!("ropewalk-test-{name}-{}", std::process::id()));
            (top.switch_on().is_ok() && fs::create_dir(&base).is_ok()).then_some(())?;
            let mut trial = Trial { base, wanted, last: 0, top, shells: Vec::new(), _turn: turn };
            trial.add_shell("{ sleep 600 & echo $!; wait; }");
            Some(trial)
        }

        /// Starts a shell in the group, which tells the number of a process and then waits.
        fn add_shell(&mut self, script: &str) {
            let script = format!("echo $$ > \"$1/cgroup.procs\" && {script}");
            let mut shell = Command::new("/bin/sh")
                .args(["-c", &script, "sh"])
                .arg(&self.base)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
            self.shells.push(shell);
            self.last = line.trim().parse().unwrap();
        }

        /// Returns the processes in the base itself, without those in groups below it.
        pub(crate) fn processes(&self) -> BTreeSet<i32> {
            holds(&self.base)
        }
    }

    impl Drop for Trial {
        fn drop(&mut self) {
            super::super::files::clear_all(
                std::slice::from_ref(&self.base),
                Instant::now() + super::super::backend::PATIENCE,
            );
            for shell in &mut self.shells {
                let _ = shell.wait();
            }
            self.top.take_back();
        }
    }

    fn holds(group: &Path) -> BTreeSet<i32> {
        let listed = read(&group.join(PROCS)).unwrap_or_default();
        listed.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn is_busy(done: Result<()>) -> bool {
        done.unwrap_err().cause.kind() == io::ErrorKind::ResourceBusy
    }

    #[test]
    fn processes_are_moved_aside_and_back() {
        let Some(mut trial) = Trial::begin("room") else { return };
        let (line, below) = (trial.processes(), trial.last);
        trial.add_shell("echo $$ && exec sleep 600");
        let stranger = trial.last;
        let all: BTreeSet<i32> = line.iter().copied().chain([stranger]).collect();
        let (base, wanted) = (&trial.base, trial.wanted);
        let (room, aside) = (Room::of(base, &[wanted]).unwrap(), base.join(ASIDE));
        assert!(is_busy(room.switch_on()));
        assert!(is_busy(room.switch_on_behind(&Movable::line_of(below))), "a stranger is in the group");
        assert_eq!(holds(&aside), line);
        assert!(room.take_back());
        assert!(holds(base) == all && !aside.exists());

        room.switch_on_behind(&Movable::All).unwrap();
        assert!(holds(base).is_empty() && holds(&aside) == all);
        assert_eq!(read(&base.join(CONTROL)).unwrap(), wanted);
        assert_eq!(Room::of(base, &[wanted]).unwrap(), room, "of the next cluster");
        let other = base.join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(CONTROL), format!("+{wanted}")).unwrap();
        assert!(!room.take_back(), "another cluster lives there");
        assert_eq!(holds(&aside), all);
        fs::remove_dir(&other).unwrap();
        assert!(room.take_back());
        assert!(holds(base) == all && !aside.exists());
        assert_eq!(read(&base.join(CONTROL)).unwrap(), "");

        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(stranger), nix::sys::signal::Signal::SIGKILL);
        while holds(base).contains(&stranger) {
            std::thread::yield_now();
        }
        room.switch_on_behind(&Movable::line_of(below)).unwrap();
        assert!(holds(base).is_empty() && room.take_back());
    }
}
