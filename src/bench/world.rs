//! Two nodes without a cluster: their networks and runtimes, as the kernel gives them. It has a
//! process of its own, since the process that makes it becomes its supervisor and enters its
//! namespaces.

use super::{Figure, INTERRUPTED, Room, What, network, runtime};
use ::runtime::{Config as NodeConfig, Images, NodeRuntime, Zygote, images};
use anyhow::{Context, anyhow, bail};
use cni::{HostNetwork, NodeNetwork};
use cri::{ContainerConfig, ContainerState, PodId, Runtime, SandboxConfig};
use linux::boot::{self, Config, Main};
use linux::signal::stop_requested;
use net::Fabric;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rng::Rng;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

const FIGURES: &str = "figures.json";
/// Nothing that is measured here takes longer than this for the start and the usual number of runs,
/// and for each run that `--runs` adds.
const PATIENCE: Duration = Duration::from_secs(180);
const PATIENCE_OF_RUN: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub network: Arc<dyn NodeNetwork>,
    pub runtime: Arc<NodeRuntime>,
}

pub(crate) struct World {
    pub nodes: [Node; 2],
    pub host: Arc<dyn HostNetwork>,
    pub dir: PathBuf,
    pub runs: Option<usize>,
}

/// A pod of a [`World`].
pub(crate) struct Sandbox {
    pub id: String,
    pub ip: Ipv4Addr,
}

/// Measures in a process of its own, and beside the peer that there is.
pub(crate) fn outside(what: What, room: &Room) -> anyhow::Result<Vec<Figure>> {
    match what {
        What::Runtime => runtime::beside_crun(room, || alone(what, room)),
        _ => alone(what, room),
    }
}

/// This program, even if its file is replaced while a bench runs.
pub(crate) const PROGRAM: &str = "/proc/self/exe";

/// Measures in a process of its own.
fn alone(what: What, room: &Room) -> anyhow::Result<Vec<Figure>> {
    let mut command = Command::new(PROGRAM);
    command.arg("bench").arg(clap_name(what)).arg("--inside").arg(room.dir).stdin(Stdio::null());
    if let Some(runs) = room.runs {
        command.arg("--runs").arg(runs.to_string());
    }
    let ended = super::wait_for(end_of(&mut command, room))?;
    if !ended.status.success() {
        bail!("{}", String::from_utf8_lossy(&ended.stderr).trim());
    }
    let text = std::fs::read(room.dir.join(FIGURES)).context("no figures came")?;
    Ok(serde_json::from_slice(&text)?)
}

/// Runs a program to its end. A bench that is asked to end asks the program to end, and waits for
/// it: what it has made is gone then.
///
/// # Errors
/// The program cannot be run, or the bench was asked to end.
async fn end_of(command: &mut Command, room: &Room<'_>) -> anyhow::Result<Output> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = Vec::new();
    let pipe = child.stderr.take();
    let listen = async {
        match pipe {
            Some(mut pipe) => pipe.read_to_end(&mut stderr).await.map(drop),
            None => Ok(()),
        }
    };
    let wait = async {
        let mut stopped = false;
        loop {
            tokio::select! {
                status = child.wait() => return status,
                () = room.stop.0.cancelled(), if !stopped => stopped = true,
            }
            // `None`: it has been waited for. Its number may be another program's then.
            if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM); // it may have ended meanwhile
            }
        }
    };
    let (status, heard) = tokio::join!(wait, listen);
    let status = status?;
    room.go_on()?;
    heard?;
    Ok(Output { status, stdout: Vec::new(), stderr })
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
        let done = super::wait_for(measured(main, dir, what, runs)).and_then(|figures| {
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
    // The supervisor hands signals on; until now they were held back.
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

impl World {
    pub(crate) async fn sandbox(&self, node: usize, name: &str) -> anyhow::Result<Sandbox> {
        let config = SandboxConfig {
            pod: PodId { namespace: "bench".into(), name: name.into(), uid: format!("uid-{name}") },
            hostname: name.into(),
            log_directory: self.dir.join("log").join(name),
            ..SandboxConfig::default()
        };
        let sandbox = self.nodes[node].runtime.run_pod_sandbox(config).await?;
        Ok(Sandbox { id: sandbox.id, ip: sandbox.ip.context("a pod without an address")? })
    }

    /// Makes and starts a container.
    pub(crate) async fn start(
        &self,
        node: usize,
        sandbox: &Sandbox,
        container: ContainerConfig,
    ) -> anyhow::Result<String> {
        let runtime = &self.nodes[node].runtime;
        let id = runtime.create_container(&sandbox.id, container).await?;
        runtime.start_container(&id).await?;
        Ok(id)
    }

    /// Waits for a container's end; returns its exit code.
    pub(crate) async fn ended(&self, node: usize, id: &str) -> anyhow::Result<i32> {
        let runtime = &self.nodes[node].runtime;
        let mut events = runtime.events();
        loop {
            let status = runtime.container_status(id).await?;
            if status.state == ContainerState::Exited {
                return Ok(status.exit_code);
            }
            events.recv().await.context("the runtime tells nothing more")?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stop;
    use super::*;

    #[test]
    fn many_runs_have_time_for_each() {
        // A run of `network` takes 1.7 seconds on a machine that is not slow.
        assert!(patience(Some(65_535)) > Duration::from_secs(65_535 * 2));
        assert!(patience(None) >= PATIENCE && patience(Some(usize::MAX)) > PATIENCE);
    }

    #[test]
    fn a_program_is_asked_to_end_with_the_bench_and_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let stop = Stop::default();
        let room =
            Room { dir: dir.path(), runs: None, peer: None, stop: stop.clone(), keep: Default::default() };
        let shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).current_dir(dir.path()).stdin(Stdio::null());
            command
        };
        let mut plain = shell("echo no >&2; exit 3");
        let ended = super::super::wait_for(end_of(&mut plain, &room)).unwrap();
        assert_eq!((ended.status.code(), &*ended.stderr), (Some(3), &b"no\n"[..]));
        let mut long = shell("trap 'echo > left; exit 0' TERM; echo > began; while :; do sleep 0.01; done");
        let began = dir.path().join("began");
        let ended = super::super::wait_for(async {
            let interrupt = async {
                while !began.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                stop.0.cancel();
            };
            tokio::join!(end_of(&mut long, &room), interrupt).0
        });
        assert_eq!(ended.unwrap_err().to_string(), INTERRUPTED);
        assert!(dir.path().join("left").exists(), "its own way out was waited for");
    }
}
