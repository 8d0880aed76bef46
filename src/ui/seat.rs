//! A cluster to sit at: the one that runs, or one started for this session.

use super::Error;
use super::repl::Options;
use super::terminal;
use super::texts::{Lang, Say};
use super::tui::text::cut;
use crate::cluster::abroad::{self, Abroad};
use crate::cluster::control::{Ask, Control, has_started};
use crate::cluster::launch::{self, Launched};
use crate::cluster::{Place, Spec};
use crate::lab::view;
use crate::lang::charset::{eprint, eprintln, print, println};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::Instant;

/// A cluster that does not end by itself in this time is left to its supervisor.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// Whoever takes leave waits this long to hear whether the cluster is still there.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How often the running time on the progress line is renewed.
const TICK: Duration = Duration::from_millis(100);

pub struct Seat {
    pub place: Place,
    pub nodes: usize,
    stands: Stands,
}

/// On what a seat stands.
enum Stands {
    /// A session of somebody else's, or a cluster that was running: it stays when we go.
    Joined,
    /// A cluster that was started for this session, and ends with it.
    Launched(Launched),
    /// A counter of ours in front of a foreign cluster.
    Abroad(Abroad),
}

/// Joins the cluster, or starts it, and waits until it is ready. `cut` ends the waiting, not the start.
pub async fn take(
    options: &Options,
    place: Place,
    lang: Lang,
    cut: impl Future<Output = ()>,
) -> Result<Seat, Error> {
    let stands = stand(options, &place, lang).await?;
    let what = if matches!(stands, Stands::Joined) { Say::Attaching } else { Say::Starting };
    // A line that is drawn over ten times a second is read aloud as often by a screen reader.
    let lines = options.plain || terminal::dumb();
    let nodes = tokio::select! {
        biased;
        nodes = wait(&place, lang, what, lines) => nodes?,
        () = cut => {
            if std::io::stderr().is_terminal() && !lines {
                on_one_line("");
            }
            eprintln!("{}", lang.say(Say::WaitCut, &[]));
            Spec::load(&place)?.map_or(0, |s| s.nodes().len())
        }
    };
    Ok(Seat { place, nodes, stands })
}

/// Joins the cluster, or starts it; whoever sits here watches how far it is.
pub async fn open(options: &Options, place: Place, lang: Lang) -> Result<Seat, Error> {
    let stands = stand(options, &place, lang).await?;
    let nodes = match &stands {
        Stands::Abroad(abroad) => abroad.nodes(),
        _ => Spec::load(&place)?.map_or(0, |s| s.nodes().len()),
    };
    Ok(Seat { place, nodes, stands })
}

async fn stand(options: &Options, place: &Place, lang: Lang) -> Result<Stands, Error> {
    if Control::connect(place).await.is_ok() {
        return Ok(Stands::Joined);
    }
    match &options.kubeconfig {
        Some(file) => {
            Ok(Stands::Abroad(Abroad::open(place, file, abroad::PREFIX, crate::lab::guests_abroad).await?))
        }
        None => start(place, options.api_port, lang).await,
    }
}

async fn start(place: &Place, api_port: Option<u16>, lang: Lang) -> Result<Stands, Error> {
    let mut spec = Spec::load(place)?.unwrap_or_else(|| Spec::new(&place.name));
    spec.api_port = api_port;
    match launch::launch(place, &spec, true).await {
        Ok(launched) => {
            let told = std::io::stderr().is_terminal(); // scripts find it in the kubeconfig
            if told && api_port.is_none() && launched.api_port != 6443 {
                eprintln!("{}", lang.say(Say::OtherPort, &[&launched.api_port.to_string()]));
            }
            if let Some(why) = launched.unlimited.as_ref().filter(|_| told) {
                eprintln!("{}", lang.say(Say::NoLimits, &[why]));
            }
            Ok(Stands::Launched(launched))
        }
        // Somebody else started it in the meantime: then it is theirs.
        Err(_) if Control::connect(place).await.is_ok() => Ok(Stands::Joined),
        Err(error) => Err(error.into()),
    }
}

/// Follows a start until it is complete; the number of nodes. A cluster whose start was complete before is not waited for, whatever is broken in
/// it now: the session may be there to mend it. Progress goes to a terminal only: on one line that is drawn over, or as a line
/// for each change (`lines`).
async fn wait(place: &Place, lang: Lang, what: Say, lines: bool) -> Result<usize, Error> {
    let mut control = Control::connect(place).await?;
    let terminal = std::io::stderr().is_terminal();
    let began = Instant::now();
    let mut value = control.ask(&Ask::Wait).await?;
    let mut tick = tokio::time::interval(TICK);
    let mut told = Value::Null;
    loop {
        if has_started(&value) {
            if terminal && !lines {
                on_one_line("");
            }
            return Ok(value["nodes"].as_u64().unwrap_or_default() as usize);
        }
        let words = || progress(lang, &lang.say(what, &[]), &value, began.elapsed());
        match (terminal, lines) {
            (true, false) => on_one_line(&words()),
            (true, true) if told != value => eprintln!("{}", words()),
            _ => {}
        }
        told.clone_from(&value);
        tokio::select! {
            next = control.next() => value = next?.ok_or_else(|| Error::Ended(place.log()))?,
            _ = tick.tick(), if !lines => {}
        }
    }
}

/// Draws over what stands on the cursor's line, with no more than a carriage return, and never over its end: a line that wraps cannot be
/// drawn over.
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

impl Seat {
    /// The address of the cluster, if it is not one of ours.
    pub fn abroad(&self) -> Option<String> {
        match &self.stands {
            Stands::Abroad(abroad) => Some(abroad.server()),
            _ => None,
        }
    }

    /// Ends the cluster if it was started for this session, and returns when its processes are gone. What was made abroad may be given up.
    pub async fn leave(self, lang: Lang, talk: bool) {
        // One that does not answer is there.
        let asked = tokio::time::timeout(ANSWER_MAX, Control::connect(&self.place)).await;
        let runs = !matches!(asked, Ok(Err(_)));
        let tell = |say, with: &[&str]| {
            if talk {
                println!("{}", lang.say(say, with));
            }
        };
        let name = self.place.name.as_str();
        let mut launched = match self.stands {
            Stands::Abroad(abroad) => return part(&self.place, &abroad, lang, talk).await,
            Stands::Joined if runs => return tell(Say::StaysUp, &[name, name]),
            Stands::Joined => return tell(Say::ClusterEnded, &[name]),
            Stands::Launched(launched) => launched,
        };
        tell(if runs { Say::Stopping } else { Say::ClusterEnded }, &[name]);
        drop(launched.leash.take()); // what an attached cluster lives by
        let _ = tokio::time::timeout(END_PATIENCE, launched.child.wait()).await;
    }
}

/// Takes leave of a foreign cluster: whoever sits there is asked whether the namespaces that were made are to go; a script is told of them.
async fn part(place: &Place, abroad: &Abroad, lang: Lang, talk: bool) {
    let rooms = abroad.rooms().await;
    if rooms.is_empty() {
        return;
    }
    let (rooms, server) = (rooms.join(", "), abroad.server());
    if !talk {
        eprintln!("{}", lang.say(Say::RoomsStay, &[&server, &rooms]));
        return;
    }
    print!("{}", lang.say(Say::RoomsGo, &[&server, &rooms]));
    let _ = std::io::stdout().flush();
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.ok().and_then(Result::ok).unwrap_or_default();
    if !matches!(answer.trim().to_lowercase().as_str(), "y" | "yes" | "ㅛ" | "네" | "예") {
        println!("{}", lang.say(Say::RoomsStay, &[&server, &rooms]));
        return;
    }
    match super::lesson::ask(place, lang, view::Ask::Leave).await {
        Ok(_) => println!("{}", lang.say(Say::RoomsGone, &[&rooms])),
        Err(error) => eprintln!("{}", error.say(lang)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Home;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    /// Answers on the control socket as a cluster does whose start was complete, and of which a node is switched off.
    async fn broken(listener: UnixListener) {
        let progress = r#"{"ok":{"ready":false,"started":true,"nodes":3,"nodesReady":2}}"#;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer = if line.contains("hello") { r#"{"ok":null}"# } else { progress };
                    if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn a_node_that_is_off_keeps_nobody_from_the_seat() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let cluster = tokio::spawn(broken(UnixListener::bind(place.socket()).unwrap()));
        let waited = wait(&place, Lang::En, Say::Attaching, true);
        let nodes = tokio::time::timeout(Duration::from_secs(20), waited).await;
        assert_eq!(nodes.expect("it waits for the node").unwrap(), 3);
        cluster.abort();
    }
}
