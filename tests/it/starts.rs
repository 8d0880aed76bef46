//! A start that is killed: its supervisor, main, janitor or zygote, some of them or all, at random
//! moments of the first second. The caller of `up` is told, nothing is left after the next `up` or
//! `down`, and the next start works. `ROPEWALK_ROUNDS` asks for more rounds, `SEED` for the same
//! ones again.

use super::crash::{draw, seed};
use super::footprint::{Footprint, Host, children, pids};
use super::support::{
    Home, PATIENCE, capable, eventually, freeze, kill, kill_9, number, skip, turn, turn_alone,
};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

const UP: [&str; 7] = ["up", "--name", "t", "--workers", "0", "--detach", "--wait"];

fn zygote(home: &Home) -> Option<i32> {
    let words = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids(home).into_iter().find(|pid| words(pid).contains("ropewalk-zygote"))
}

/// One, two or all of them.
fn some_of(mut victims: Vec<i32>, chance: u64) -> Vec<i32> {
    let how = (chance >> 32) % 4;
    if how > 0 && !victims.is_empty() {
        let first = (chance >> 16) as usize % victims.len();
        victims.rotate_left(first);
        victims.truncate(1 + usize::from(how == 1));
    }
    victims
}

fn rounds(home: &Home, who: &str) {
    let count = number("ROPEWALK_ROUNDS").unwrap_or(4);
    let (seed, host) = (seed(), Host::now());
    println!("SEED={seed}");
    for round in 0..count {
        let chance = draw(seed, round);
        let mut up = home.command(home.program());
        let mut up = up.args(UP).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        let mine =
            |pids: Vec<i32>| pids.into_iter().filter(|pid| *pid != up.id() as i32).collect::<Vec<i32>>();
        let victims = if round % 4 == 0 {
            // The zygote, as soon as it is there: before there is a store.
            eventually(PATIENCE, || zygote(home), Option::is_some).into_iter().collect()
        } else {
            std::thread::sleep(Duration::from_millis(chance % 1000)); // the moment
            some_of(mine(pids(home)), chance)
        };
        let when = format!("{who}, SEED={seed} round {round}: {victims:?} after {} ms", chance % 1000);
        println!("{when}");
        kill_9(&victims);
        eventually(PATIENCE, || up.try_wait().expect("ours"), Option::is_some);
        if round % 2 == 0 {
            home.ropewalk(&["down", "--name", "t"]).ok();
            eventually(PATIENCE, || pids(home), |left| left.is_empty());
        }
        // The start may have survived, or be ending just now.
        let again = || home.ropewalk(&UP);
        eventually(PATIENCE, again, |said| said.code == 0 || said.err.contains("already running"));
        let footprint = Footprint::of(home);
        home.ropewalk(&["down", "--name", "t"]).ok();
        eventually(PATIENCE, || footprint.left(), |left| left.is_empty());
        // What was born since then may still be ending.
        eventually(PATIENCE, || pids(home), |left| left.is_empty());
        assert_eq!(Host::now(), host, "{when}");
    }
}

/// A script that is interrupted goes on with a machine on which nothing of the cluster runs.
#[test]
fn interrupted_while_it_starts_in_the_foreground() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let status = || home.ropewalk(&["status", "--name", "t"]).out;
    // As soon as it has a process, and when it answers.
    for answers in [false, true] {
        let mut up = home.command(home.program());
        up.args(["up", "--name", "t", "--workers", "0"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut up = up.spawn().expect("it runs");
        let pid = up.id() as i32;
        if answers {
            eventually(PATIENCE, status, |told| told.contains("starting"));
        } else {
            let others = || pids(&home).into_iter().filter(|other| *other != pid).count();
            eventually(PATIENCE, others, |count| *count > 0);
        }
        kill(pid, nix::libc::SIGINT);
        assert_eq!(up.wait().expect("ours").code(), Some(0), "answers: {answers}");
        // Before a start has written what it makes, there is no cluster yet.
        let told = status();
        let state = told.lines().find_map(|line| line.strip_prefix("state")).map(str::trim);
        assert!(matches!(state, Some("stopped" | "absent")), "it has not ended with the program: {told}");
        eventually(PATIENCE, || pids(&home), |left| left.is_empty());
    }
}

#[test]
fn killed_while_it_starts() {
    if capable() {
        let _turn = turn_alone();
        rounds(&Home::new(), "this user");
    }
}

#[test]
fn killed_while_it_starts_for_an_ordinary_user() {
    if !capable() {
        return;
    }
    let Some(home) = Home::of_user(65_500) else {
        return skip(
            "whoever is not root cannot become somebody else; the other test was an ordinary user's",
        );
    };
    let _turn = turn_alone();
    rounds(&home, "an ordinary user");
}

/// A member that was killed may hold its directory a moment longer than its container lives: then
/// the kubelet starts the next one again, and the cluster goes on.
#[test]
fn a_store_whose_directory_is_locked_starts_when_it_is_let_go() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    drop(home.up(&["--workers", "0"]));
    let cluster = home.path().join("clusters/t");
    let files = |name: &str| {
        let find = std::process::Command::new("find").arg(&cluster).args(["-name", name]).output();
        let found = String::from_utf8_lossy(&find.expect("find").stdout).into_owned();
        found.lines().map(PathBuf::from).collect::<Vec<_>>()
    };
    let of_store = |path: &PathBuf| path.ends_with("etcd/member/lock");
    let path = files("lock").into_iter().find(of_store).expect("the store's lock");
    let file = std::fs::File::options().write(true).open(path).expect("it is there");
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).expect("free");
    let mut up = home.command(home.program());
    let mut up = up.args(UP).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let refused = || {
        let told =
            files("*.log").iter().filter_map(|log| std::fs::read_to_string(log).ok()).collect::<String>();
        told.matches("is in use by another process").count()
    };
    eventually(PATIENCE, refused, |times| *times > 1);
    assert!(up.try_wait().expect("ours").is_none(), "the start is not given up: {}", home.log());
    drop(lock);
    let code = eventually(PATIENCE, || up.try_wait().expect("ours"), Option::is_some);
    assert!(code.is_some_and(|code| code.success()), "{}", home.log());
    home.ropewalk(&["down", "--name", "t"]).ok();
}

/// Control groups that are nobody's base but of who is put into them: one in each tree that lets
/// us.
struct Elsewhere(Vec<PathBuf>);

impl Elsewhere {
    fn new() -> Elsewhere {
        let trees = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"].map(Path::new);
        let name = format!("elsewhere-{}", std::process::id());
        let made =
            trees.iter().filter(|tree| tree.join("cgroup.procs").exists()).map(|tree| tree.join(&name));
        Elsewhere(made.filter(|group| std::fs::create_dir(group).is_ok()).collect())
    }

    fn clusters(&self) -> Vec<PathBuf> {
        let inside = self.0.iter().flat_map(|group| std::fs::read_dir(group).into_iter().flatten().flatten());
        let found = inside.map(|entry| entry.path());
        found
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("ropewalk-")))
            .collect()
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        for group in self.clusters().iter().chain(&self.0) {
            let _ = std::fs::remove_dir(group); // a failure has been told
        }
    }
}

#[test]
fn what_is_left_elsewhere_in_the_trees_is_found() {
    if !capable() {
        return;
    }
    let (_turn, home, elsewhere) = (turn(), Home::new(), Elsewhere::new());
    if elsewhere.0.is_empty() {
        return eprintln!("skipped: no tree of cgroup v1 here in which a group can be made");
    }
    let enter: String =
        elsewhere.0.iter().map(|g| format!("echo 0 >{}/cgroup.procs; ", g.display())).collect();
    let mut up = home.command("sh");
    up.args(["-c", &format!("{enter} exec \"$0\" \"$@\"")]).arg(home.program()).args(UP);
    let said: super::support::Said = up.output().expect("a shell").into();
    said.ok();
    assert!(!elsewhere.clusters().is_empty(), "the cluster has a group where it was started");
    // Everybody, the janitor first, who would clear up.
    let status: serde_json::Value =
        serde_json::from_str(&home.ropewalk(&["status", "--name", "t", "-o", "json"]).ok()).expect("JSON");
    let pid = |who: &str| status["pids"][who].as_i64().expect("a pid") as i32;
    let janitor = children(pid("supervisor")).into_iter().filter(|child| *child != pid("main"));
    let all: Vec<i32> = janitor.chain([pid("supervisor"), pid("main")]).collect();
    assert_eq!(all.len(), 3, "{all:?}");
    kill_9(&all);
    eventually(PATIENCE, || pids(&home), |left| left.is_empty());
    assert!(!elsewhere.clusters().is_empty(), "nobody was left to clear up");

    home.ropewalk(&["down", "--name", "t"]).ok();
    assert_eq!(elsewhere.clusters(), Vec::<PathBuf>::new());
}

/// Of two starts at the same moment one wins; the other one, which has waited for the lock in vain,
/// leaves it its control socket.
#[test]
fn a_start_that_comes_second_leaves_the_first_one_alone() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let start = || {
        let mut up = home.command(home.program());
        up.args(UP).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
    };
    let mut both = [start(), start()];
    for up in &mut both {
        eventually(PATIENCE, || up.try_wait().expect("ours"), Option::is_some);
    }
    let said = home.ropewalk(&["status", "--name", "t"]).ok();
    assert!(said.contains("running") || said.contains("starting"), "{said}");
    home.ropewalk(&["down", "--name", "t"]).ok();
    eventually(PATIENCE, || pids(&home), |left| left.is_empty());
}

/// A main process that was stopped holds its socket and says nothing: no command waits for it for
/// ever, and `down` ends it.
#[test]
fn a_cluster_that_hangs_is_told_and_ended() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let cluster = home.up(&["--workers", "0"]);
    let main = cluster.pid("main");
    freeze(main);
    let said = home.ropewalk(&["status", "--name", "t"]);
    assert!(said.code == 4 && said.err.contains("does not answer"), "{said:?}");
    let said = home.ropewalk(&["down", "--name", "t"]);
    assert!(said.code == 0 && said.err.contains("are killed"), "{said:?}");
    eventually(PATIENCE, || pids(&home), |left| left.is_empty());
}
