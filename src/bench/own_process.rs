//! A world of nodes without a cluster, in processes of its own: the process that makes a world
//! becomes its supervisor and enters its namespaces, which a bench that goes on must not.
//!
//! ```text
//! 1  ropewalk bench runtime                    measure           starts 2 and waits for its end
//! 2  └─ ropewalk bench runtime --inside DIR    inside            becomes the supervisor
//! 3     └─ main process of the supervisor      figures_in_world  makes the nodes, measures, writes
//!                                                                DIR/figures.json
//! 1  ropewalk bench runtime                    measure           reads DIR/figures.json
//! ```
//!
//! DIR is the part's directory. An error of the third process passes through standard error, and
//! through exit code 1 of the second one.

use super::figure::Figure;
use super::part::{Part, What};
use super::program::{PROGRAM, failure_reason, run_to_end};
use super::stop::INTERRUPTED;
use super::tasks::block_on;
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

/// The file in the part's directory through which the figures pass.
const FIGURES: &str = "figures.json";
/// Nothing that is measured here takes longer than this for the start and the usual number of runs,
/// and for each run that `--runs` adds.
const PATIENCE: Duration = Duration::from_secs(180);
const PATIENCE_OF_RUN: Duration = Duration::from_secs(20);

/// Measures in processes of their own (this is process 1).
///
/// # Errors
/// Process 2 fails: what it printed. Or the bench was asked to end.
pub(crate) fn measure(what: What, part: &Part) -> anyhow::Result<Vec<Figure>> {
    let mut command = Command::new(PROGRAM);
    command.arg("bench").arg(what.name()).arg("--inside").arg(part.dir).stdin(Stdio::null());
    if let Some(runs) = part.runs {
        command.arg("--runs").arg(runs.to_string());
    }
    let ended = block_on(run_to_end(&mut command, &part.stop))?;
    if !ended.status.success() {
        bail!("{}", failure_reason(&ended));
    }
    let text = std::fs::read(part.dir.join(FIGURES)).context("no figures came")?;
    Ok(serde_json::from_slice(&text)?)
}

/// Becomes the world's supervisor (process 2). Returns the exit code of its main process.
///
/// # Errors
/// The world cannot be made on this machine.
pub(crate) fn inside(dir: &Path, what: What, runs: Option<usize>) -> anyhow::Result<i32> {
    let config =
        Config { lock: dir.join("lock"), scratch: dir.join("scratch"), socket: None, new_session: false };
    let ended = boot::supervise(&config, images::lay_out, |main| {
        let written = block_on(figures_in_world(main, dir, what, runs)).and_then(|figures| {
            std::fs::write(dir.join(FIGURES), serde_json::to_vec(&figures)?)
                .context("cannot keep the figures")
        });
        match written {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{error:#}");
                1
            }
        }
    });
    ended.map_err(|e| anyhow!("{}", e.line()))
}

/// Returns how long the measurement may take.
fn patience(runs: Option<usize>) -> Duration {
    let runs = u32::try_from(runs.unwrap_or_default()).unwrap_or(u32::MAX);
    PATIENCE.saturating_add(PATIENCE_OF_RUN.saturating_mul(runs))
}

/// Makes the nodes and measures on them (process 3).
async fn figures_in_world(
    main: Main,
    dir: &Path,
    what: What,
    runs: Option<usize>,
) -> anyhow::Result<Vec<Figure>> {
    // From here on signals that ask to end are received: the supervisor sends them on, and until
    // now they were blocked.
    let stop = stop_requested().context("signals cannot be received")?;
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
            What::Runtime => runtime::measure_in(&world).await,
            _ => network::measure_in(&world).await,
        }
    };
    tokio::select! {
        _ = stop => bail!(INTERRUPTED),
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
