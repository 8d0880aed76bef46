//! `up`: what a start is made of, and following it until the cluster is complete.

use super::stop::{stop, wait_for_end};
use super::{refuse, say};
use crate::args::Up;
use crate::paths::quote;
use crate::words::Word;
use anyhow::{Context, bail};
use cluster::control::{Ask, Control};
use cluster::home::Home;
use cluster::launch::{self, Launched, WHOLE_MAX};
use cluster::store::external::ExternalEtcd;
use cluster::{Error, Place, Refusal, Spec};
use lang::charset::eprintln;
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use ui::texts::{Lang, Say};
use ui::{connection, settings, terminal};

/// Returns what to start: what the cluster was made of, changed by the options of the command line.
fn plan(place: &Place, up: &Up) -> anyhow::Result<Spec> {
    let known = Spec::load(place)?;
    let mut spec = known.clone().unwrap_or_else(|| Spec::new(&up.name));
    if let Some(n) = up.control_planes {
        if !matches!(n, 1 | 3 | 5) {
            return Err(refuse(Refusal::ControlPlanes { asked: n }));
        }
        if known.is_some() && n != spec.control_planes {
            let (name, made) = (up.name.clone(), spec.control_planes);
            return Err(refuse(Refusal::ControlPlanesStay { name, asked: n, made }));
        }
        spec.control_planes = n;
    }
    let files = [&up.etcd_cafile, &up.etcd_certfile, &up.etcd_keyfile];
    if !up.etcd.is_empty() || files.iter().any(|file| file.is_some()) {
        if known.is_some_and(|known| known.external_etcd.is_none()) {
            return Err(refuse(Refusal::OwnStore { name: up.name.clone() }));
        }
        let mut etcd = match spec.external_etcd.take() {
            Some(etcd) => etcd,
            None if up.etcd.is_empty() => return Err(refuse(Refusal::FilesWithoutEtcd)),
            None => ExternalEtcd::default(),
        };
        // Each option changes its own field; what is not named stays as it was.
        if !up.etcd.is_empty() {
            etcd.endpoints.clone_from(&up.etcd);
        }
        for (field, path) in [&mut etcd.cacert, &mut etcd.cert, &mut etcd.key].into_iter().zip(files) {
            if let Some(path) = path {
                *field = Some(std::path::absolute(path).with_context(|| path.display().to_string())?);
            }
        }
        spec.external_etcd = Some(etcd);
    }
    spec.clock = up.clock.unwrap_or(1);
    if !cluster::spec::is_scale(spec.clock) {
        return Err(refuse(Refusal::Clock { asked: spec.clock }));
    }
    spec.workers = up.workers.unwrap_or(spec.workers);
    spec.node_ports = up.node_ports.unwrap_or(spec.node_ports);
    spec.api_port = up.api_port.or(spec.api_port);
    Ok(spec)
}

/// Formats how far a start is: `store ok  api ..  nodes 1/3  kube-system 0/4`.
fn progress_line(lang: Lang, value: &Value) -> String {
    let mark = |key: &str| if value[key] == true { "ok" } else { ".." };
    let counts = ["nodesReady", "nodes", "podsRunning", "pods"].map(|key| value[key].to_string());
    let [ready, nodes, running, pods] = counts.each_ref().map(String::as_str);
    lang.say(Word::UpProgress, &[mark("store"), mark("api"), ready, nodes, running, pods])
}

/// The progress at a terminal: a line that each progress overwrites, and that is erased at the end
/// of the wait, also of one that fails: an error begins its own line. A terminal that knows no
/// sequences gets a line for each change.
struct ProgressLine<W: Write> {
    /// `None`: standard error is no terminal, so nothing is shown.
    terminal: Option<W>,
    is_dumb: bool,
    /// The text that was shown last.
    last: String,
}

impl<W: Write> ProgressLine<W> {
    fn new(terminal: Option<W>, is_dumb: bool) -> Self {
        ProgressLine { terminal, is_dumb, last: String::new() }
    }

    /// Shows a text; an empty one erases the line, so that another text can stand there.
    fn show(&mut self, text: &str) {
        let Some(terminal) = &mut self.terminal else { return };
        let written = match self.is_dumb {
            true if text.is_empty() || text == self.last => return,
            true => writeln!(terminal, "{text}"),
            false => write!(terminal, "\r\x1b[K{text}"),
        };
        let _ = written.and_then(|()| terminal.flush()); // a closed terminal needs no progress
        self.last = text.into();
    }
}

impl<W: Write> Drop for ProgressLine<W> {
    fn drop(&mut self) {
        self.show("");
    }
}

/// A start that takes longer says what it waits for.
const LATE: Duration = Duration::from_secs(20);

/// Returns what a late start waits for, if it is news: the first time, and when the cluster gives
/// another reason. `last`: the reason that was printed last; it becomes the new one. Pure.
fn late_news(lang: Lang, last: &mut Option<String>, value: &Value) -> Option<String> {
    let reason = connection::held_up_by(value);
    let is_old = last.as_ref().is_some_and(|last| reason.is_empty() || last == reason);
    if is_old || reason.is_empty() && value["ready"] == true {
        return None;
    }
    *last = Some(reason.to_string());
    Some(lang.say(Say::UpLate, &[&connection::missing(lang, value)]))
}

/// Follows a start until it is complete. Progress goes to a terminal only; what a late start waits
/// for goes to standard error in any case.
///
/// # Errors
/// The cluster ended, or it is not complete after [`WHOLE_MAX`] and `patient` is not set: a script
/// would otherwise wait for ever.
async fn wait(place: &Place, patient: bool) -> anyhow::Result<()> {
    let mut control = Control::connect(place).await?;
    let mut value = control.ask(&Ask::Wait).await?;
    let mut line = ProgressLine::new(std::io::stderr().is_terminal().then(std::io::stderr), terminal::dumb());
    let (lang, log) = (settings::language(None, &place.home), place.log().display().to_string());
    let (late, over) = (clock::deadline(LATE), clock::deadline(WHOLE_MAX));
    let mut last_reason = None;
    loop {
        let is_late = clock::Instant::now() >= late;
        if let Some(news) = is_late.then(|| late_news(lang, &mut last_reason, &value)).flatten() {
            line.show("");
            eprintln!("ropewalk: {news}");
        }
        line.show(&progress_line(lang, &value));
        if value["ready"] == true {
            return Ok(());
        }
        tokio::select! {
            next = control.next() => match next? {
                Some(next) => value = next,
                None => bail!("{}", lang.say(Say::UpEnded, &[&log])),
            },
            () = clock::pause_until(late), if !is_late => {}
            () = clock::pause_until(over), if !patient => {
                let (seconds, missing) = (WHOLE_MAX.as_secs().to_string(), connection::missing(lang, &value));
                bail!("{}", lang.say(Say::UpOver, &[&seconds, &missing, &log]))
            }
        }
    }
}

/// Finds the place of a cluster, and what to start there. Nothing of it runs yet.
///
/// # Errors
/// The cluster runs already, an option contradicts what it was made of, or its external etcd cannot
/// be reached.
async fn prepare(up: &Up) -> anyhow::Result<(Place, Spec)> {
    let place = Home::find()?.cluster(&up.name)?;
    match Control::connect(&place).await {
        Ok(_) => return Err(refuse(Refusal::Running { name: up.name.clone() })),
        Err(Error::NotRunning(_)) => {}
        Err(unknown) => return Err(unknown.into()),
    }
    let spec = plan(&place, up)?;
    if let Some(etcd) = &spec.external_etcd {
        // Connects once, so that a mistyped address is an error here and not only in the log.
        etcd.connect().await.map_err(cluster::Error::from)?;
    }
    Ok((place, spec))
}

/// Starts a cluster, and prints what differs from what was asked for.
async fn launch(place: &Place, spec: &Spec, attached: bool) -> anyhow::Result<Launched> {
    let lang = settings::language(None, &place.home);
    let print_wait = |why: &str| eprintln!("ropewalk: {}", lang.say(Say::StartWaits, &[why]));
    let launched = launch::launch(place, spec, attached, print_wait).await?;
    if spec.api_port.is_none() && launched.api_port != 6443 {
        eprintln!("{}", lang.say(Say::OtherPort, &[&launched.api_port.to_string()]));
    }
    if let Some(unlimited) = &launched.unlimited {
        eprintln!("{}", lang.say(Say::NoLimits, &[&unlimited.controllers, &unlimited.why]));
    }
    if let Some(words) = connection::stale_context(lang, place, &launched) {
        eprintln!("ropewalk: {words}");
    }
    Ok(launched)
}

/// `up`: starts a cluster, in the background or until a signal comes.
pub(crate) async fn up(up: Up) -> anyhow::Result<i32> {
    let (place, spec) = prepare(&up).await?;
    if !up.detach {
        return attached(&place, &spec).await;
    }
    let _launched = launch(&place, &spec, false).await?;
    if up.wait {
        wait(&place, false).await?;
    }
    print_exports(&place);
    Ok(0)
}

/// Starts a cluster that lives as long as this process, and follows it to its end. A signal during
/// the start ends it in the same way as later: its processes are gone when this one ends.
async fn attached(place: &Place, spec: &Spec) -> anyhow::Result<i32> {
    let stop_signal = ::linux::signal::stop_requested()?;
    tokio::pin!(stop_signal);
    let launched = tokio::select! {
        launched = launch(place, spec, true) => Some(launched?),
        _ = &mut stop_signal => None,
    };
    let Some(mut launched) = launched else {
        // The start was dropped, and the cluster's standard input with it: the supervisor ends what
        // it has begun.
        wait_for_end(place, None).await?;
        return Ok(0);
    };
    tokio::select! {
        waited = wait(place, true) => waited?,
        _ = &mut stop_signal => return end(place, launched).await,
    }
    print_exports(place);
    eprintln!("{}", say(place, Say::UpReady, &[&place.name]));
    tokio::select! {
        _ = &mut stop_signal => end(place, launched).await,
        ended = launched.child.wait() => {
            let code = ended?.code().unwrap_or(1);
            if code != 0 {
                let with = [code.to_string(), place.log().display().to_string()];
                bail!("{}", say(place, Say::UpFailed, &with.each_ref().map(String::as_str)));
            }
            Ok(0)
        }
    }
}

/// Ends a cluster of this process, and returns when its processes are gone.
async fn end(place: &Place, mut launched: Launched) -> anyhow::Result<i32> {
    drop(launched.stdin.take());
    stop(place).await?;
    let _ = launched.child.wait().await; // its code says how it was ended, which is known
    Ok(0)
}

/// Prints the lines that lead a shell to the cluster.
fn print_exports(place: &Place) {
    std::println!("export KUBECONFIG={}", quote(&place.kubeconfig()));
    if std::io::stdout().is_terminal() {
        std::println!("export PATH={}:$PATH", quote(&place.home.bin()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up() -> Up {
        Up {
            name: "main".into(),
            control_planes: None,
            workers: None,
            node_ports: None,
            clock: None,
            api_port: None,
            etcd: vec![],
            etcd_cafile: None,
            etcd_certfile: None,
            etcd_keyfile: None,
            wait: false,
            detach: false,
        }
    }

    #[test]
    fn progress_is_shown_in_either_language() {
        let value =
            serde_json::json!({"store": true, "nodesReady": 1, "nodes": 3, "podsRunning": 0, "pods": 4});
        assert_eq!(progress_line(Lang::En, &value), "store ok  api ..  nodes 1/3  kube-system 0/4");
        assert_eq!(progress_line(Lang::Ko, &value), "저장소 ok  API ..  노드 1/3  kube-system 0/4");
    }

    #[test]
    fn an_error_does_not_follow_the_progress_on_its_line() {
        let mut output = Vec::new();
        let mut line = ProgressLine::new(Some(&mut output), false);
        line.show("store ..");
        drop(line);
        assert_eq!(String::from_utf8(output).unwrap(), "\r\x1b[Kstore ..\r\x1b[K");
    }

    /// As in Emacs, where sequences would stand between the words.
    #[test]
    fn a_terminal_that_knows_no_sequences_gets_a_line_for_each_progress() {
        let mut output = Vec::new();
        let mut line = ProgressLine::new(Some(&mut output), true);
        ["store ..", "store ..", "", "store ..", "store ok"].iter().for_each(|text| line.show(text));
        drop(line);
        assert_eq!(String::from_utf8(output).unwrap(), "store ..\nstore ok\n");
    }

    #[test]
    fn a_late_start_says_what_is_missing_once_and_each_reason() {
        let mut last = None;
        let mut news = |ready: bool, waits: &str| {
            let value = serde_json::json!({"store": true, "api": true, "nodes": 3, "nodesReady": 1,
                "ready": ready, "waits": waits});
            late_news(Lang::En, &mut last, &value)
        };
        let first = news(false, "").unwrap();
        assert_eq!(first, "the cluster is not complete yet. Missing: nodes 1/3");
        assert_eq!(news(false, ""), None);
        assert!(news(false, "refused: a quota").unwrap().ends_with("nodes 1/3, refused: a quota"));
        assert_eq!((news(false, "refused: a quota"), news(false, "")), (None, None));
        assert!(news(true, "refused: another").unwrap().ends_with("refused: another"));
        assert_eq!(late_news(Lang::En, &mut None, &serde_json::json!({"ready": true})), None);
        // Nothing new: the API server is known to be missing.
        let early = serde_json::json!({"store": true, "waits": "connection refused"});
        assert_eq!(late_news(Lang::En, &mut Some(String::new()), &early), None);
    }

    #[test]
    fn a_clock_is_chosen_for_one_start() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        let fast = plan(&place, &Up { clock: Some(20), ..up() }).unwrap();
        assert_eq!(fast.clock, 20);
        fast.save(&place).unwrap();
        assert_eq!(Spec::load(&place).unwrap().unwrap().clock, 1, "the next start may be without \"up\"");
        assert_eq!(plan(&place, &up()).unwrap().clock, 1);
        for scale in [0, 61] {
            let refused = plan(&place, &Up { clock: Some(scale), ..up() }).unwrap_err();
            assert_eq!(crate::usage::code(&refused), crate::codes::USAGE);
        }
    }

    #[test]
    fn options_of_an_external_etcd_change_their_own_field_only() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let certificates = Up { etcd_certfile: Some("/c".into()), etcd_keyfile: Some("/k".into()), ..up() };
        let refused = plan(&place, &certificates).unwrap_err().to_string();
        assert!(refused.contains("need --etcd"), "{refused}");
        place.make().unwrap();
        let kept = ExternalEtcd {
            endpoints: vec!["https://old:2379".into()],
            cacert: Some("/ca".into()),
            cert: Some("/cert".into()),
            key: Some("/key".into()),
        };
        Spec { external_etcd: Some(kept.clone()), ..Spec::new("main") }.save(&place).unwrap();
        let new = vec!["https://new:2379".to_string()];
        let moved = plan(&place, &Up { etcd: new.clone(), ..up() }).unwrap().external_etcd;
        assert_eq!(moved, Some(ExternalEtcd { endpoints: new, ..kept.clone() }));
        let renewed = plan(&place, &certificates).unwrap().external_etcd;
        assert_eq!(renewed, Some(ExternalEtcd { cert: Some("/c".into()), key: Some("/k".into()), ..kept }));
    }

    #[test]
    fn a_start_without_a_port_keeps_the_one_of_the_start_before() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        Spec { api_port: Some(7443), ..Spec::new("main") }.save(&place).unwrap();
        assert_eq!(plan(&place, &up()).unwrap().api_port, Some(7443));
        assert_eq!(plan(&place, &Up { api_port: Some(8443), ..up() }).unwrap().api_port, Some(8443));
    }
}
