//! A world of two nodes in a process of its own, since the process that makes it becomes its
//! supervisor and enters its namespaces.

use super::figure::Figure;
use super::program::{PROGRAM, end_of, failure};
use super::room::{INTERRUPTED, Room, What, wait_for};
use super::world::{Node, World};
use super::{network, runtime};
use ::runtime::{Config as NodeConfig, Images, NodeRuntime, Zygote, images};
use anyhow::{Context, anyhow, bail};
use linux::boot::{self, Config, Main};
use linux::signal::stop_requested;
use net::Fabric;
use rng::Rng;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

const FIGURES: &str = "figures.json";
/// Nothing that is measured here takes longer than this for the start and the usual number of runs,
/// and for each run that `--runs` adds.
const PATIENCE: Duration = Duration::from_secs(180);
const PATIENCE_OF_RUN: Duration = Duration::from_secs(20);

/// Measures in a process of its own, and beside the peer that there is.
pub(crate) fn outside(what: What, room: &Room) -> anyhow::Result<Vec<Figure>> {
    match what {
        What::Runtime => runtime::beside_crun(room, || alone(what, room)),
        _ => alone(what, room),
    }
}

/// Measures in a process of its own.
fn alone(what: What, room: &Room) -> anyhow::Result<Vec<Figure>> {
    let mut command = Command::new(PROGRAM);
    command.arg("bench").arg(clap_name(what)).arg("--inside").arg(room.dir).stdin(Stdio::null());
    if let Some(runs) = room.runs {
        command.arg("--runs").arg(runs.to_string());
    }
    let ended = wait_for(end_of(&mut command, room))?;
    if !ended.status.success() {
        bail!("{}", failure(&ended));
    }
    let text = std::fs::read(room.dir.join(FIGURES)).context("no figures came")?;
    Ok(serde_json::from_slice(&text)?)
}

fn clap_name(what: What) -> String {
    use clap::ValueEnum;
    what.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default()
}

/// Becomes the world's supervisor; returns the exit code of what was measured in it.
pub(crate) fn inside(dir: &Path, what: What, runs: Option<usize>) -> anyhow::Result<i32> {
    let config =
        Config { lock: dir.join("lock"), scratch: dir.join("scratch"), socket: None, new_session: false };
    let ended = boot::supervise(&config, images::lay_out, |main| {
        let done = wait_for(measured(main, dir, what, runs)).and_then(|figures| {
            std::fs::write(dir.join(FIGURES), serde_json::to_vec(&figures)?)
                .context("cannot keep the figures")
        });
        match done {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{error:#}");
                1
            }
        }
    });
    ended.map_err(|e| anyhow!("{}", e.line()))
}

fn patience(runs: Option<usize>) -> Duration {
    let runs = u32::try_from(runs.unwrap_or_default()).unwrap_or(u32::MAX);
    PATIENCE.saturating_add(PATIENCE_OF_RUN.saturating_mul(runs))
}

async fn measured(main: Main, dir: &Path, what: What, runs: Option<usize>) -> anyhow::Result<Vec<Figure>> {
    // From here on signals that ask to end are received: the supervisor sends them on, and until
    // now they were blocked.
    let asked = stop_requested().context("signals cannot be received")?;
    let zygote = Zygote::start(main.zygote)?;
    let images = Arc::new(Images::new(&main.layers));
    let fabric = Fabric::new().await?;
    let node = async |index: u8| -> anyhow::Result<Node> {
        let network = fabric.node(index, &format!("node{index}")).await?;
        let runtime = NodeRuntime::new(NodeConfig {
            node: format!("node{index}"),
            zygote: zygote.clone(),
            images: images.clone(),
            cgroups: main.cgroups.clone(),
            ids: main.ids,
            network: network.clone(),
            directory: main.writable.clone(),
            rng: Rng::seeded(index.into()),
        });
        Ok(Node { network, runtime })
    };
    let world =
        World { nodes: [node(1).await?, node(2).await?], host: fabric.host(), dir: dir.to_path_buf(), runs };
    let work = async {
        match what {
            What::Runtime => runtime::measure(&world).await,
            _ => network::measure(&world).await,
        }
    };
    tokio::select! {
        _ = asked => bail!(INTERRUPTED),
        done = tokio::time::timeout(patience(runs), work) => done.context("it took too long")?,
        () = zygote.died() => bail!("the zygote died"),
        end = zygote.reap_strangers() => bail!("reaping ended: {end:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_runs_have_time_for_each() {
        // A run of `network` takes 1.7 seconds on a machine that is not slow.
        assert!(patience(Some(65_535)) > Duration::from_secs(65_535 * 2));
        assert!(patience(None) >= PATIENCE && patience(Some(usize::MAX)) > PATIENCE);
    }
}
