//! A container from nothing to the end of its program, beside what crun needs for it.

use super::world::World;
use super::{Aim, Figure, Room};
use anyhow::{Context, ensure};
use cri::{ContainerConfig, Runtime};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "/bin/true";
const USUAL: usize = 50;

/// Container alone, in a pod that is there; and with its pod.
pub async fn measure(world: &World) -> anyhow::Result<Vec<Figure>> {
    let runs = world.runs.unwrap_or(USUAL).max(1);
    let runtime = &world.nodes[0].runtime;
    let (mut alone, mut whole) = (Vec::new(), Vec::new());
    let guest = world.sandbox(0, "host").await?;
    for n in 0..runs {
        let start = Instant::now();
        run_to_its_end(world, &guest.id, &format!("c{n}")).await?;
        alone.push(start.elapsed());
        let start = Instant::now();
        let own = world.sandbox(0, &format!("pod-{n}")).await?;
        run_to_its_end(world, &own.id, "c").await?;
        whole.push(start.elapsed());
        runtime.stop_pod_sandbox(&own.id).await?;
        runtime.remove_pod_sandbox(&own.id).await?;
    }
    Ok(vec![
        Figure::times("container: made, run to its end", &alone, Aim::OfPeer(1.0)),
        Figure::times("with its pod and network", &whole, Aim::OfPeer(1.0)),
    ])
}

async fn run_to_its_end(world: &World, sandbox: &str, name: &str) -> anyhow::Result<()> {
    let container = ContainerConfig {
        name: name.into(),
        image: "busybox".into(),
        command: vec![PROGRAM.into()],
        log_path: format!("{name}.log").into(),
        ..ContainerConfig::default()
    };
    let runtime = &world.nodes[0].runtime;
    let id = runtime.create_container(sandbox, container).await?;
    runtime.start_container(&id).await?;
    let code = world.ended(0, &id).await?;
    ensure!(code == 0, "{PROGRAM} ended with {code}");
    Ok(runtime.remove_container(&id).await?)
}

/// The same program from the same file, run by crun as the specification that it writes itself
/// says: namespaces, mounts, masked paths. Where there is no crun the figures stay alone.
pub fn beside_crun(room: &Room, figures: &mut [Figure]) -> anyhow::Result<()> {
    let bundle = room.dir.join("bundle");
    let root = bundle.join("rootfs");
    for dir in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(dir))?;
    }
    std::fs::copy(std::env::current_exe()?, root.join("bin/true")).context("the bundle's program")?;
    let rootless = !nix::unistd::geteuid().is_root();
    let mut spec = Command::new("crun");
    spec.arg("spec").args(rootless.then_some("--rootless")).current_dir(&bundle);
    match spec.stdin(Stdio::null()).output() {
        Err(_) => {
            eprintln!("no crun on PATH to stand beside");
            return Ok(());
        }
        Ok(said) => {
            ensure!(said.status.success(), "crun spec: {}", String::from_utf8_lossy(&said.stderr).trim())
        }
    }
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    config["process"]["args"] = json!([PROGRAM]);
    config["process"]["terminal"] = json!(false);
    std::fs::write(&file, serde_json::to_vec(&config)?)?;
    let state = room.dir.join("crun");
    // Groups of its own, as ours are, where it can make them.
    let ways = ["cgroupfs", "disabled"].map(|manager| Crun { manager, state: &state, bundle: &bundle });
    let works = |way: &&Crun| way.run("try").is_ok();
    let Some(way) = ways.iter().find(works) else {
        let why = ways[1].run("try").err().map(|e| format!("{e:#}")).unwrap_or_default();
        eprintln!("crun does not run here: {why}");
        return Ok(());
    };
    let mut times = Vec::new();
    for n in 0..room.runs(USUAL) {
        room.go_on()?;
        // Ctrl-C ends crun as well, and why that failed is the interruption.
        let took = way.run(&n.to_string()).or_else(|error| room.go_on().and(Err(error)))?;
        times.push(took.as_secs_f64() * 1e3);
    }
    for figure in figures {
        *figure = figure.clone().beside("crun run, an empty network", times.clone());
    }
    Ok(())
}

struct Crun<'a> {
    manager: &'static str,
    state: &'a Path,
    bundle: &'a Path,
}

impl Crun<'_> {
    fn run(&self, id: &str) -> anyhow::Result<Duration> {
        let mut command = Command::new("crun");
        command.arg("--root").arg(self.state).arg(format!("--cgroup-manager={}", self.manager));
        command.args(["run", "--bundle"]).arg(self.bundle).arg(format!("rwb{}-{id}", std::process::id()));
        let start = Instant::now();
        let said = command.stdin(Stdio::null()).output()?;
        let took = start.elapsed();
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr).trim());
        Ok(took)
    }
}
