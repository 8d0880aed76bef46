//! Nothing is left: after the end of a cluster, however it came, processes, namespaces, mounts,
//! control groups, sockets and rules are as before. Every end is tried once, by turns as this user
//! and as an ordinary one; `ROPEWALK_PODS=100` asks for so many pods, and for every end as both.

use super::footprint::{Footprint, Host, children, named};
use super::support::{
    Cluster, Home, PATIENCE, any_kubectl, capable, eventually, http_get, kill, kill_9, skip, turn_alone,
};
use serde_json::Value;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Instant;

/// How a cluster is started.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// `up --detach`.
    Detached,
    /// On a terminal, with these arguments.
    Terminal(&'static str),
}
use Start::{Detached, Terminal};

const UP: Start = Terminal("up --name t");
const REPL: Start = Terminal("repl --name t --lang en");
const INTERFACE: Start = Terminal("--name t --lang en");

/// How it ends, and whether what is left may wait for `down`: only when nobody lived on who could
/// have cleared up.
type Ending = (&'static str, Start, fn(&Running), bool);
const ENDINGS: &[Ending] = &[
    ("down", Detached, |r| drop(r.home.ropewalk(&["down", "--name", "t"]).ok()), false),
    ("SIGTERM of the supervisor", Detached, |r| kill(r.pid("supervisor"), 15), false),
    ("SIGINT of the supervisor", Detached, |r| kill(r.pid("supervisor"), 2), false),
    ("SIGHUP of the supervisor", Detached, |r| kill(r.pid("supervisor"), 1), false),
    ("kill -9 of the supervisor", Detached, |r| kill(r.pid("supervisor"), 9), false),
    ("kill -9 of main", Detached, |r| kill(r.pid("main"), 9), false),
    ("kill -9 of the zygote", Detached, |r| kill(r.pid("zygote"), 9), false),
    (
        "kill -9 of the janitor, then of the supervisor",
        Detached,
        |r| r.kill_all(&["janitor", "supervisor"]),
        true,
    ),
    ("kill -9 of all", Detached, |r| r.kill_all(&["janitor", "zygote", "main", "supervisor"]), true),
    ("kill -9 of every container, then down", Detached, |r| r.containers_first(), false),
    ("Ctrl-C on a foreground up", UP, |r| r.types("\x03"), false),
    ("SIGTERM of a foreground up", UP, |r| kill(r.front(), 15), false),
    ("kill -9 of a foreground up", UP, |r| kill(r.front(), 9), false),
    ("a closed terminal under a foreground up", UP, |r| r.close_the_terminal(), false),
    ("quit", REPL, |r| r.types("quit\r"), false),
    ("a closed terminal under a prompt", REPL, |r| r.close_the_terminal(), false),
    ("kill -9 of a prompt", REPL, |r| kill(r.front(), 9), false),
    ("quit of the interface", INTERFACE, |r| r.types("quit\r"), false),
    ("a closed terminal under the interface", INTERFACE, |r| r.close_the_terminal(), false),
];

struct Running<'a> {
    home: &'a Home,
    cluster: Cluster<'a>,
    /// `script`, which holds the master of a terminal on whose other side the front runs.
    terminal: Option<Child>,
}

impl Running<'_> {
    fn start<'a>(home: &'a Home, how: Start) -> Running<'a> {
        let Terminal(args) = how else {
            return Running { home, cluster: home.up(&[]), terminal: None };
        };
        let program = home.program().display();
        let line = format!("stty cols 100 rows 30; exec {program} {args}");
        let mut script = home.command("script");
        script.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh").env("TERM", "xterm");
        // A way in that stays open: its end would be the end of input.
        script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let terminal = Some(script.spawn().expect("script, of util-linux, runs"));
        let cluster = Cluster { home };
        eventually(PATIENCE, || cluster.status(), |s| s["state"] == "running");
        Running { home, cluster, terminal }
    }

    fn pid(&self, of: &str) -> i32 {
        match of {
            "janitor" => {
                let main = self.cluster.pid("main");
                let others = children(self.cluster.pid("supervisor"));
                others.into_iter().find(|pid| *pid != main).expect("a janitor beside main")
            }
            of => self.cluster.pid(of),
        }
    }

    fn kill_all(&self, who: &[&str]) {
        kill_9(&who.iter().map(|of| self.pid(of)).collect::<Vec<i32>>());
    }

    fn containers_first(&self) {
        let zygote = self.pid("zygote");
        let containers = children(self.pid("main")).into_iter().filter(|pid| *pid != zygote);
        let containers: Vec<i32> = containers.collect();
        assert!(!containers.is_empty(), "there are containers");
        kill_9(&containers);
        self.home.ropewalk(&["down", "--name", "t"]).ok();
    }

    fn script(&self) -> &Child {
        self.terminal.as_ref().expect("it was started on a terminal")
    }

    fn front(&self) -> i32 {
        *children(self.script().id() as i32).first().expect("somebody at the terminal")
    }

    fn types(&self, keys: &str) {
        self.script().stdin.as_ref().expect("a pipe").write_all(keys.as_bytes()).expect("it listens");
    }

    /// Only `script` has the master: with it the terminal goes.
    fn close_the_terminal(&self) {
        kill(self.script().id() as i32, 9);
    }
}

impl Drop for Running<'_> {
    /// A test that failed leaves nobody at a terminal.
    fn drop(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            let _ = terminal.kill().and_then(|()| terminal.wait()); // it may have ended
        }
    }
}

/// In the long form: how many pods.
fn asked() -> Option<usize> {
    let given = std::env::var("ROPEWALK_PODS").ok()?;
    Some(given.parse().expect("ROPEWALK_PODS is a number"))
}

/// Ends the cluster of one home in every other way, from the first or the second on, and counts
/// each time. The next start finds what the end before left.
fn ends(home: &Home, who: &str, from: usize) {
    let (any, pods) = (any_kubectl(), asked().unwrap_or(5));
    let (from, step) = if asked().is_some() { (0, 1) } else { (from, 2) };
    let host = Host::now();
    let found: Value = serde_json::from_str(&home.ropewalk(&["doctor", "-o", "json"]).ok()).expect("JSON");
    let limited = found.as_array().expect("a list").iter().any(|c| c["name"] == "cgroups" && c["ok"] == true);
    let mut first = true;
    for (what, how, end, waits_for_down) in ENDINGS.iter().skip(from).step_by(step) {
        let begun = Instant::now();
        let mut running = Running::start(home, *how);
        let k = |args: &[&str]| running.cluster.kubectl(&any, args).ok();
        if std::mem::take(&mut first) {
            k(&["create", "deployment", "web", "--image=nginx", &format!("--replicas={pods}")]);
            k(&["expose", "deployment", "web", "--port=80", "--type=NodePort"]);
        }
        let port: u16 =
            k(&["get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"]).parse().expect("a port");
        // Processes, not what the store says of them: it remembers those of the run before.
        eventually(PATIENCE, || named("nginx", home).len(), |n| *n >= pods);
        eventually(PATIENCE, || http_get("127.0.0.1", port), |r| r.is_ok()).expect("the page");
        let footprint = Footprint::of(home);
        assert_eq!(
            footprint.has_group(),
            limited,
            "{who}, {what}: processes are in groups where there can be any"
        );
        let (up, ended) = (begun.elapsed(), Instant::now());

        end(&running);
        if *waits_for_down {
            home.ropewalk(&["down", "--name", "t"]).ok();
        }
        if let Some(mut terminal) = running.terminal.take() {
            eventually(PATIENCE, || terminal.try_wait().expect("script is ours"), Option::is_some);
        }
        eventually(PATIENCE, || footprint.left(), |left| left.is_empty());
        let took = ended.elapsed();
        println!("{who}, {what}: {} after {up:.1?}, nothing of it {took:.1?} later", footprint.count());
        // What was born meanwhile may still be ending.
        eventually(PATIENCE, || Footprint::of(home).left(), |left| left.is_empty());
        assert_eq!(Host::now(), host, "{who}, {what}: the host itself");
        let status = home.ropewalk(&["status", "--name", "t", "-o", "json"]).out;
        assert!(status.contains("\"stopped\""), "{who}, {what}: {status}");
        std::mem::forget(running); // it has ended already
    }
}

#[test]
fn nothing_is_left_however_it_ends_for_this_user() {
    if capable() {
        let _turn = turn_alone();
        ends(&Home::new(), "this user", 0);
    }
}

#[test]
fn nothing_is_left_however_it_ends_for_an_ordinary_user() {
    if !capable() {
        return;
    }
    let Some(home) = Home::of_user(65_500) else {
        return skip(
            "whoever is not root cannot become somebody else; the other test was an ordinary user's",
        );
    };
    let _turn = turn_alone();
    ends(&home, "an ordinary user", 1);
}

#[test]
fn two_clusters_side_by_side_do_not_disturb_each_other() {
    if !capable() {
        return;
    }
    let (_turn, one, two) = (turn_alone(), Home::new(), Home::new());
    let (a, b) = (one.up(&["--workers", "1"]), two.up(&["--workers", "1"]));
    let any = any_kubectl();
    a.kubectl(&any, &["create", "configmap", "here"]).ok();
    assert_eq!(b.kubectl(&any, &["get", "configmap", "here"]).code, 1);
    for cluster in [&a, &b] {
        cluster.kubectl(&any, &["create", "deployment", "web", "--image=nginx"]).ok();
        cluster.kubectl(&any, &["expose", "deployment", "web", "--port=80", "--type=NodePort"]).ok();
    }
    let port = b.kubectl(&any, &["get", "svc", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"]).ok();
    let port: u16 = port.parse().expect("a port");
    eventually(PATIENCE, || http_get("127.0.0.1", port), |r| r.is_ok()).expect("the page");
    eventually(PATIENCE, || named("nginx", &one).len(), |n| *n > 0);
    let (gone, stays) = (Footprint::of(&one), named("nginx", &two));
    // What ends the one violently, and clears up after it, does not touch the other.
    kill(a.pid("supervisor"), 9);
    eventually(PATIENCE, || gone.left(), |left| left.is_empty());
    drop(a);
    assert_eq!(named("nginx", &two), stays);
    eventually(PATIENCE, || http_get("127.0.0.1", port), |r| r.is_ok()).expect("the page");
    assert_eq!(b.kubectl(&any, &["get", "nodes"]).code, 0);
}
