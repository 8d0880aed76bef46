//! The session's cluster: the one that runs, or one started for this session.

use super::Error;
use super::consent;
use super::options::Options;
use super::prose::harmless;
use super::terminal;
use super::texts::{Lang, Say};
use super::tui::text::cut;
use cluster::control::{Ask, Control, has_started};
use cluster::foreign::{self, Foreign};
use cluster::launch::{self, Launched};
use cluster::{Place, Spec};
use lab::view;
use lang::charset::{eprint, eprintln, print, println};
use linux::signal::stop_requested;
use serde_json::Value;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

/// A cluster that does not end by itself in this time is left to its supervisor.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// A session that ends waits this long for an answer that tells whether the cluster still runs.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// A start that is not complete by then may never be. A slow machine needs three minutes.
const WHOLE_MAX: Duration = Duration::from_secs(300);
/// How often the running time on the progress line is renewed.
const TICK: Duration = Duration::from_millis(100);

/// The cluster that a session uses. [`Connection::leave`] ends the use.
pub struct Connection {
    pub(crate) place: Place,
    /// The number of nodes that the cluster has, or is to have.
    pub(crate) nodes: usize,
    origin: Origin,
}

/// Where the session's cluster comes from, which decides what its end does to the cluster.
enum Origin {
    /// The cluster was running already, perhaps for another session: it stays.
    Joined,
    /// A cluster that was started for this session, and ends with it.
    Launched(Box<Launched>),
    /// A cluster that is not Ropewalk's, with the lesson engine in this process.
    Foreign(Foreign),
}

/// Joins the cluster, or starts it, and waits until its start is complete, for five minutes at
/// most. `cut` ends the waiting, not the start.
///
/// # Errors
/// The cluster cannot be started or opened, does not answer, or ended before it was ready.
pub async fn take(
    options: &Options,
    place: Place,
    lang: Lang,
    cut: impl Future<Output = ()>,
) -> Result<Connection, Error> {
    let origin = join_or_start(options, &place, lang).await?;
    let what = if matches!(origin, Origin::Joined) { Say::Attaching } else { Say::Starting };
    // A line that is drawn over ten times a second is read aloud as often by a screen reader.
    let lines = options.plain || terminal::dumb();
    let waited = tokio::select! {
        biased;
        waited = wait(&place, lang, what, lines, WHOLE_MAX) => waited?,
        () = cut => Waited::Not(lang.say(Say::WaitCut, &[])),
    };
    let nodes = match waited {
        Waited::Whole(nodes) => nodes,
        Waited::Not(why) => {
            if std::io::stderr().is_terminal() && !lines {
                on_one_line("");
            }
            eprintln!("{why}");
            Spec::load(&place)?.map_or(0, |s| s.nodes().len())
        }
    };
    Ok(Connection { place, nodes, origin })
}

/// Joins the cluster, or starts it, and does not wait for its start to be complete.
///
/// # Errors
/// The cluster cannot be started or opened.
pub async fn open(options: &Options, place: Place, lang: Lang) -> Result<Connection, Error> {
    let origin = join_or_start(options, &place, lang).await?;
    let nodes = match &origin {
        Origin::Foreign(foreign) => foreign.nodes(),
        _ => Spec::load(&place)?.map_or(0, |s| s.nodes().len()),
    };
    Ok(Connection { place, nodes, origin })
}

async fn join_or_start(options: &Options, place: &Place, lang: Lang) -> Result<Origin, Error> {
    if Control::connect(place).await.is_ok() {
        return Ok(Origin::Joined);
    }
    match &options.kubeconfig {
        Some(file) => Ok(Origin::Foreign(
            Foreign::open(place, file, foreign::PREFIX, lab::guests_of_foreign_clusters).await?,
        )),
        None => start(place, options.api_port, lang).await,
    }
}

/// Starts a cluster for a lesson or lab: it does not wait for its start to be complete, and prints
/// nothing, because the interface has the terminal.
///
/// # Errors
/// The cluster cannot be started.
pub(crate) async fn launch_silently(place: &Place) -> Result<Launched, cluster::Error> {
    let spec = Spec::load(place)?.unwrap_or_else(|| Spec::new(&place.name));
    launch::launch(place, &spec, true, |_| ()).await
}

/// Ends such a cluster, and returns when its processes are gone, after ten seconds at most.
pub(crate) async fn end(mut launched: Launched) {
    drop(launched.stdin.take()); // what an attached cluster lives by
    let _ = clock::timeout(END_PATIENCE, launched.child.wait()).await; // else it is left to its supervisor
}

async fn start(place: &Place, api_port: Option<u16>, lang: Lang) -> Result<Origin, Error> {
    let mut spec = Spec::load(place)?.unwrap_or_else(|| Spec::new(&place.name));
    spec.api_port = api_port.or(spec.api_port);
    let tell = |why: &str| eprintln!("ropewalk: {}", lang.say(Say::StartWaits, &[why]));
    match launch::launch(place, &spec, true, tell).await {
        Ok(launched) => {
            let told = std::io::stderr().is_terminal(); // scripts find it in the kubeconfig
            if told && spec.api_port.is_none() && launched.api_port != 6443 {
                eprintln!("{}", lang.say(Say::OtherPort, &[&launched.api_port.to_string()]));
            }
            if let Some(unlimited) = launched.unlimited.as_ref().filter(|_| told) {
                eprintln!("{}", lang.say(Say::NoLimits, &[&unlimited.controllers, &unlimited.why]));
            }
            if let Some(words) = stale_context(lang, place, &launched) {
                eprintln!("ropewalk: {words}");
            }
            Ok(Origin::Launched(Box::new(launched)))
        }
        // Another process started it in the meantime, and ends it.
        Err(_) if Control::connect(place).await.is_ok() => Ok(Origin::Joined),
        Err(error) => Err(error.into()),
    }
}

/// Says that the context in the learner's own kubeconfig does not lead to the cluster any more, and
/// why. `None`: it does, or there is none.
pub fn stale_context(lang: Lang, place: &Place, launched: &Launched) -> Option<String> {
    let why = launched.stale_context.as_ref()?;
    Some(lang.say(Say::StaleContext, &[&place.name, &place.name, &why.say(lang)]))
}

/// How the waiting for a start ended.
#[derive(Debug, PartialEq)]
enum Waited {
    /// The start was complete, with so many nodes.
    Whole(usize),
    /// It was not; why the session begins all the same.
    Not(String),
}

/// Follows a start until it is complete, but no longer than `limit`. A cluster whose start was
/// complete before is not waited for, whatever is broken in it now: the session may be there to
/// mend it. Progress goes to a terminal only: on one line that is drawn over, or as a line for each
/// change (`lines`).
async fn wait(place: &Place, lang: Lang, what: Say, lines: bool, limit: Duration) -> Result<Waited, Error> {
    let mut control = Control::connect(place).await?;
    let terminal = std::io::stderr().is_terminal();
    let began = clock::Instant::now();
    let over = began + clock::scaled(limit);
    let mut value = control.ask(&Ask::Wait).await?;
    let mut told = Value::Null;
    loop {
        if has_started(&value) {
            if terminal && !lines {
                on_one_line("");
            }
            return Ok(Waited::Whole(value["nodes"].as_u64().unwrap_or_default() as usize));
        }
        if terminal && news(lines, &told, &value) {
            let words = progress(lang, &lang.say(what, &[]), &value, began.elapsed());
            if lines { eprintln!("{words}") } else { on_one_line(&words) }
        }
        told.clone_from(&value);
        tokio::select! {
            next = control.next() => value = next?.ok_or_else(|| Error::Ended(place.log()))?,
            () = clock::sleep(TICK), if !lines => {}
            () = clock::pause_until(over) => {
                let seconds = limit.as_secs().to_string();
                return Ok(Waited::Not(lang.say(Say::WaitOver, &[&seconds, &missing(lang, &value)])));
            }
        }
    }
}

/// Whether progress is worth a new picture: a line that is drawn over also shows the time; any
/// other only what has changed. Pure.
fn news(lines: bool, told: &Value, now: &Value) -> bool {
    !lines || told != now
}

/// Names the parts of a start that are not there yet, and what is known to hold it up:
/// `kube-apiserver, nodes 1/3`. Empty if it is complete. `value`: the cluster's answer to
/// [`Ask::Wait`]. The reason in it may be the message of a learner's webhook. Pure.
pub fn missing(lang: Lang, value: &Value) -> String {
    let mut parts = Vec::new();
    for (key, name) in [("store", "etcd"), ("api", "kube-apiserver")] {
        if value[key] != true {
            parts.push(name.to_string());
        }
    }
    for (have, of, say) in
        [("nodesReady", "nodes", Say::NodesMissing), ("podsRunning", "pods", Say::PodsMissing)]
    {
        if value[have] != value[of] {
            parts.push(lang.say(say, &[&value[have].to_string(), &value[of].to_string()]));
        }
    }
    let why = held_up_by(value);
    if !why.is_empty() {
        parts.push(harmless(why).into_owned());
    }
    parts.join(", ")
}

/// Returns what is known to hold a start up; empty if nothing is. While no API server answers, the
/// addons fail for that alone, so their reason is none. `value`: as that of [`missing`]. Pure.
pub fn held_up_by(value: &Value) -> &str {
    let why = value["waits"].as_str().unwrap_or_default();
    if value["api"] == true { why } else { "" }
}

/// Draws over what stands on the cursor's line, with no more than a carriage return, and never over
/// its end: a line that wraps cannot be drawn over.
fn on_one_line(words: &str) {
    let room = usize::from(terminal::size().0).saturating_sub(1);
    eprint!("\r{}\r{}", " ".repeat(room), cut(words, room, ""));
    let _ = std::io::stderr().flush(); // a closed terminal needs no progress
}

fn progress(lang: Lang, what: &str, value: &Value, since: Duration) -> String {
    let mark = |key: &str| if value[key] == true { "ok" } else { ".." };
    let part = |have: &str, of: &str| format!("{}/{}", value[have], value[of]);
    let seconds = format!("{:.1}", since.as_secs_f32());
    lang.say(
        Say::Progress,
        &[
            what,
            mark("store"),
            mark("api"),
            &part("nodesReady", "nodes"),
            &part("podsRunning", "pods"),
            &seconds,
        ],
    )
}

impl Connection {
    /// The address of the API server, if the cluster is not Ropewalk's own.
    pub(crate) fn foreign(&self) -> Option<String> {
        match &self.origin {
            Origin::Foreign(foreign) => Some(foreign.server()),
            _ => None,
        }
    }

    /// Ends the cluster if it was started for this session, and returns when its processes are
    /// gone, after ten seconds at most. `talk`: says so, and on a foreign cluster asks whether the
    /// namespaces of lessons are to be deleted.
    pub async fn leave(self, lang: Lang, talk: bool) {
        // A cluster that does not answer in time still runs.
        let asked = clock::timeout(ANSWER_MAX, Control::connect(&self.place)).await;
        let runs = !matches!(asked, Some(Err(_)));
        let tell = |say, with: &[&str]| {
            if talk {
                println!("{}", lang.say(say, with));
            }
        };
        let name = self.place.name.as_str();
        let launched = match self.origin {
            Origin::Foreign(foreign) => return leave_foreign(&self.place, &foreign, lang, talk).await,
            Origin::Joined if runs => return tell(Say::StaysUp, &[name, name]),
            Origin::Joined => return tell(Say::ClusterEnded, &[name]),
            Origin::Launched(launched) => *launched,
        };
        tell(if runs { Say::Stopping } else { Say::ClusterEnded }, &[name]);
        end(launched).await;
    }
}

/// Ends the use of a foreign cluster. At a terminal it asks whether the namespaces that lessons
/// made are to be deleted; otherwise it prints their names and keeps them.
async fn leave_foreign(place: &Place, foreign: &Foreign, lang: Lang, talk: bool) {
    let namespaces = foreign.lesson_namespaces().await;
    if namespaces.is_empty() {
        return;
    }
    let (agreed, namespaces, server) = (Some(namespaces.clone()), namespaces.join(", "), foreign.server());
    if !talk {
        eprintln!("{}", lang.say(Say::NamespacesStay, &[&server, &namespaces]));
        return;
    }
    print!("{}", lang.say(Say::DeleteNamespacesAsk, &[&server, &namespaces]));
    let _ = std::io::stdout().flush();
    if !agrees().await {
        println!("{}", lang.say(Say::NamespacesStay, &[&server, &namespaces]));
        return;
    }
    match super::lesson::ask(place, lang, view::Ask::Leave { agreed }).await {
        Ok(_) => println!("{}", lang.say(Say::NamespacesDeleted, &[&namespaces])),
        Err(error) => eprintln!("{}", error.say(lang)),
    }
}

/// Reads the answer to a question. Anything but yes is no, and so is a signal that asks for the
/// end: the session's own handlers of these signals are not read at this point.
async fn agrees() -> bool {
    let cut = async {
        match stop_requested() {
            Ok(asked) => drop(asked.await),
            Err(_) => std::future::pending().await,
        }
    };
    let answered = tokio::select! {
        biased;
        () = cut => false,
        _ = terminal::input_ready() => true, // what cannot be waited for is read at once
    };
    if !answered {
        println!();
        return false;
    }
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).is_ok_and(|_| consent::is_yes(&answer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::Home;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    /// Answers on the control socket as a cluster does that has come so far.
    async fn at(progress: &'static str, listener: UnixListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer = if line.contains("hello") { "null" } else { progress };
                    if write.write_all(format!("{{\"ok\":{answer}}}\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    async fn waited(progress: &'static str, limit: Duration) -> Waited {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let cluster = tokio::spawn(at(progress, UnixListener::bind(place.socket()).unwrap()));
        let waited = wait(&place, Lang::En, Say::Attaching, true, limit);
        let waited = tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it waits for ever");
        cluster.abort();
        waited.unwrap()
    }

    #[tokio::test]
    async fn a_context_that_still_leads_to_another_port_is_told_with_the_way_out() {
        let place = Home::at("/h").cluster("t").unwrap();
        let mut child = tokio::process::Command::new("true").spawn().unwrap();
        child.wait().await.unwrap();
        let mut launched =
            Launched { child, stdin: None, api_port: 7443, unlimited: None, stale_context: None };
        assert_eq!(stale_context(Lang::En, &place, &launched), None);
        launched.stale_context = Some(Box::new(cluster::Error::NotRunning("why".into())));
        for lang in [Lang::En, Lang::Ko] {
            let said = stale_context(lang, &place, &launched).unwrap();
            assert!(
                said.contains("why") && said.contains("`ropewalk kubeconfig --merge --name t`"),
                "{said}"
            );
        }
    }

    #[tokio::test]
    async fn a_node_that_is_off_keeps_no_session_from_beginning() {
        let broken = r#"{"ready":false,"started":true,"nodes":3,"nodesReady":2}"#;
        assert_eq!(waited(broken, WHOLE_MAX).await, Waited::Whole(3));
    }

    #[tokio::test]
    async fn a_start_that_is_never_complete_is_waited_for_no_longer_than_the_limit() {
        let stuck = r#"{"ready":false,"started":false,"store":true,"api":true,"nodes":3,"nodesReady":2,"pods":5,"podsRunning":5}"#;
        let Waited::Not(why) = waited(stuck, Duration::ZERO).await else { panic!("it is not whole") };
        assert!(why.contains("nodes 2/3") && !why.contains("etcd") && !why.contains("kube-system"), "{why}");
    }

    /// Set in the process that is asked, to the name of the signal that it gets: a signal reaches
    /// all of a process.
    const INSIDE: &str = "ROPEWALK_TEST_FAREWELL";

    /// Not a test of its own: what the one below runs in a process.
    #[tokio::test]
    async fn asks_at_the_end() {
        let Ok(name) = std::env::var(INSIDE) else { return };
        linux::signal::reset().unwrap(); // the tests may run under nohup
        // As a session does: from here on the signal ends nothing by itself.
        let _handler = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
        let (agreed, ()) = futures::join!(agrees(), async {
            if let Ok(signal) = name.parse::<nix::sys::signal::Signal>() {
                nix::sys::signal::raise(signal).unwrap(); // the question is asked by now
            }
        });
        std::println!("<{agreed}>");
    }

    #[test]
    fn a_signal_or_an_answer_ends_the_question_at_the_end() {
        use std::process::{Command, Stdio};
        for (signal, typed, end) in [
            ("none", "y\n", "<true>"),
            ("none", "\n", "<false>"),
            ("SIGINT", "", "<false>"),
            ("SIGTERM", "", "<false>"),
            ("SIGHUP", "", "<false>"),
        ] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "connection::tests::asks_at_the_end", "--nocapture"]);
            command.env(INSIDE, signal).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut asks = command.spawn().unwrap();
            let mut input = asks.stdin.take().unwrap(); // open to the end: no key comes, and no end
            input.write_all(typed.as_bytes()).unwrap();
            let said = asks.wait_with_output().unwrap().stdout;
            let said = String::from_utf8_lossy(&said);
            assert!(said.contains(end), "{signal} {typed:?}: {said}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let value =
            serde_json::json!({"store": false, "nodes": 1, "nodesReady": 1, "pods": 2, "podsRunning": 0});
        assert_eq!(missing(Lang::En, &value), "etcd, kube-apiserver, kube-system pods 0/2");
        let why = "addons are not made yet: x\u{1b}[2J\nropewalk: ready";
        let refused = serde_json::json!({"store": true, "api": true, "waits": why});
        let told = "addons are not made yet: x[2Jropewalk: ready";
        assert_eq!(missing(Lang::En, &refused), told, "nothing in it moves the cursor");
        let early = serde_json::json!({"store": true, "api": false, "waits": "connection refused"});
        assert_eq!(missing(Lang::En, &early), "kube-apiserver");
    }

    #[test]
    fn progress_in_lines_is_told_when_it_changes_and_not_with_every_tick() {
        let (before, now) = (serde_json::json!({"nodes": 1}), serde_json::json!({"nodes": 2}));
        assert!(news(true, &Value::Null, &before) && news(true, &before, &now));
        assert!(!news(true, &now, &now), "a screen reader would read it again");
        assert!(news(false, &now, &now), "the time runs on");
    }
}
