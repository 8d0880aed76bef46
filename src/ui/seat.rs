//! A cluster to sit at: the one that runs, or one started for this session.

use super::Error;
use super::texts::{Lang, Say};
use crate::cluster::control::{Ask, Control};
use crate::cluster::launch::{self, Launched};
use crate::cluster::{Place, Spec};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::Instant;

/// A cluster that does not end by itself in this time is left to its supervisor.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How often the running time on the progress line is renewed.
const TICK: Duration = Duration::from_millis(100);

pub struct Seat {
    pub place: Place,
    pub nodes: usize,
    /// Present if the cluster was started for this session, and ends with it.
    launched: Option<Launched>,
}

/// Joins the cluster, or starts it, and waits until it is ready. `cut` ends the waiting, not the start.
pub async fn take(
    place: Place,
    api_port: Option<u16>,
    lang: Lang,
    cut: impl Future<Output = ()>,
) -> Result<Seat, Error> {
    let running = Control::connect(&place).await.is_ok();
    let launched = if running { None } else { start(&place, api_port, lang).await? };
    let what = if launched.is_some() { Say::Starting } else { Say::Attaching };
    let nodes = tokio::select! {
        biased;
        nodes = wait(&place, lang, what) => nodes?,
        () = cut => {
            eprintln!("\r\x1b[K{}", lang.say(Say::WaitCut, &[]));
            Spec::load(&place)?.map_or(0, |s| s.nodes().len())
        }
    };
    Ok(Seat { place, nodes, launched })
}

/// Joins the cluster, or starts it; whoever sits here watches how far it is.
pub async fn open(place: Place, api_port: Option<u16>, lang: Lang) -> Result<Seat, Error> {
    let running = Control::connect(&place).await.is_ok();
    let launched = if running { None } else { start(&place, api_port, lang).await? };
    let nodes = Spec::load(&place)?.map_or(0, |s| s.nodes().len());
    Ok(Seat { place, nodes, launched })
}

async fn start(place: &Place, api_port: Option<u16>, lang: Lang) -> Result<Option<Launched>, Error> {
    let mut spec = Spec::load(place)?.unwrap_or_else(|| Spec::new(&place.name));
    spec.api_port = api_port;
    match launch::launch(place, &spec, true).await {
        Ok(launched) => {
            let told = std::io::stderr().is_terminal(); // scripts find it in the kubeconfig
            if told && api_port.is_none() && launched.api_port != 6443 {
                eprintln!("{}", lang.say(Say::OtherPort, &[&launched.api_port.to_string()]));
            }
            Ok(Some(launched))
        }
        // Somebody else started it in the meantime: then it is theirs.
        Err(_) if Control::connect(place).await.is_ok() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Follows a start until it is complete; the number of nodes. Progress goes to a terminal only.
async fn wait(place: &Place, lang: Lang, what: Say) -> Result<usize, Error> {
    let mut control = Control::connect(place).await?;
    let terminal = std::io::stderr().is_terminal();
    let began = Instant::now();
    let mut value = control.ask(&Ask::Wait).await?;
    let mut tick = tokio::time::interval(TICK);
    loop {
        if value["ready"] == true {
            if terminal {
                eprint!("\r\x1b[K");
            }
            return Ok(value["nodes"].as_u64().unwrap_or_default() as usize);
        }
        if terminal {
            eprint!("\r\x1b[K{}", progress(lang, &lang.say(what, &[]), &value, began.elapsed()));
            let _ = std::io::stderr().flush();
        }
        tokio::select! {
            next = control.next() => value = next?.ok_or_else(|| Error::Ended(place.log()))?,
            _ = tick.tick() => {}
        }
    }
}

fn progress(lang: Lang, what: &str, value: &Value, since: Duration) -> String {
    let mark = |key: &str| if value[key] == true { "ok" } else { "…" };
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
    /// Ends the cluster if it was started for this session, and returns when its processes are gone.
    pub async fn leave(mut self, lang: Lang, talk: bool) {
        let Some(mut launched) = self.launched.take() else {
            if talk {
                println!("{}", lang.say(Say::StaysUp, &[&self.place.name, &self.place.name]));
            }
            return;
        };
        if talk {
            println!("{}", lang.say(Say::Stopping, &[&self.place.name]));
        }
        drop(launched.leash.take()); // what an attached cluster lives by
        let _ = tokio::time::timeout(END_PATIENCE, launched.child.wait()).await;
    }
}
