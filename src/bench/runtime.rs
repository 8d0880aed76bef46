//! A container from nothing to the end of its program, beside what crun needs for it.

use super::figure::{Aim, Figure, milliseconds};
use super::program::failure;
use super::room::{Room, tell};
use super::world::World;
use anyhow::{Context, ensure};
use cri::{ContainerConfig, Runtime};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "/bin/true";
const USUAL: usize = 50;

/// Container alone, in a pod that is there; and with its pod.
pub(crate) async fn measure(world: &World) -> anyhow::Result<Vec<Figure>> {
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

/// Measures with `ours` and adds what crun needs for the same program from the same file, run as
/// the specification that crun writes itself says: namespaces, mounts, masked paths. One half of
/// crun's rounds comes before ours and the other half after them, so that a machine that gets
/// slower or faster meanwhile does so for both. Where there is no crun the figures stay alone.
///
/// # Errors
/// Those of `ours`, crun fails after it ran once, or the bench was asked to end.
pub(crate) fn beside_crun(
    room: &Room,
    ours: impl FnOnce() -> anyhow::Result<Vec<Figure>>,
) -> anyhow::Result<Vec<Figure>> {
    let (bundle, state) = (room.dir.join("bundle"), room.dir.join("crun"));
    let Some(way) = Crun::find(&bundle, &state)? else { return ours() };
    let (figures, times) = around(room.runs(USUAL), ours, |n| {
        room.go_on()?;
        way.run(&n.to_string())
    })?;
    let times: Vec<f64> = times.into_iter().map(milliseconds).collect();
    Ok(figures.into_iter().map(|f| f.beside("crun run, an empty network", times.clone())).collect())
}

/// Does one half of a peer's rounds before `ours` and the other half after it.
///
/// # Errors
/// The first error of a round or of `ours`.
fn around<T>(
    rounds: usize,
    ours: impl FnOnce() -> anyhow::Result<T>,
    mut peer: impl FnMut(usize) -> anyhow::Result<Duration>,
) -> anyhow::Result<(T, Vec<Duration>)> {
    let mut times = (0..rounds / 2).map(&mut peer).collect::<anyhow::Result<Vec<_>>>()?;
    let ours = ours()?;
    for n in rounds / 2..rounds {
        times.push(peer(n)?);
    }
    Ok((ours, times))
}

struct Crun<'a> {
    manager: &'static str,
    state: &'a Path,
    bundle: &'a Path,
}

impl<'a> Crun<'a> {
    /// Writes a bundle and looks for a way to run it. Groups of its own, as ours are, come first,
    /// where crun can make them. `None`, and a line that says why: crun does not run here.
    ///
    /// # Errors
    /// The bundle cannot be written.
    fn find(bundle: &'a Path, state: &'a Path) -> anyhow::Result<Option<Crun<'a>>> {
        let root = bundle.join("rootfs");
        for dir in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        std::fs::copy(super::program::PROGRAM, root.join("bin/true")).context("the bundle's program")?;
        let rootless = !nix::unistd::geteuid().is_root();
        let mut spec = Command::new("crun");
        spec.arg("spec").args(rootless.then_some("--rootless")).current_dir(bundle);
        let said = match spec.stdin(Stdio::null()).output() {
            Ok(said) => said,
            Err(error) => {
                tell(format!("no crun on PATH to stand beside: {error}"));
                return Ok(None);
            }
        };
        if !said.status.success() {
            tell(format!("crun does not run here: {}", failure(&said)));
            return Ok(None);
        }
        let file = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        config["process"]["args"] = json!([PROGRAM]);
        config["process"]["terminal"] = json!(false);
        std::fs::write(&file, serde_json::to_vec(&config)?)?;
        let mut why = String::new();
        for manager in ["cgroupfs", "disabled"] {
            let way = Crun { manager, state, bundle };
            // A name for each try: one that failed may have left its container's state, and crun
            // refuses the name then.
            match way.run(&format!("try-{manager}")) {
                Ok(_) => return Ok(Some(way)),
                Err(error) => why = format!("{error:#}"),
            }
        }
        tell(format!("crun does not run here: {why}"));
        Ok(None)
    }

    /// Runs a container to its end, in a process group of its own: Ctrl-C is for the bench. It
    /// would end crun in the middle, and the container's control group would stay.
    fn run(&self, id: &str) -> anyhow::Result<Duration> {
        let mut command = Command::new("crun");
        command.arg("--root").arg(self.state).arg(format!("--cgroup-manager={}", self.manager));
        command.args(["run", "--bundle"]).arg(self.bundle).arg(format!("rwb{}-{id}", std::process::id()));
        let start = Instant::now();
        let said = command.stdin(Stdio::null()).process_group(0).output()?;
        let took = start.elapsed();
        ensure!(said.status.success(), "{}", failure(&said));
        Ok(took)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_peer_has_half_of_its_rounds_before_ours_and_half_after() {
        for (rounds, wanted) in [(1, "us 0"), (2, "0 us 1"), (5, "0 1 us 2 3 4")] {
            let order = RefCell::new(Vec::new());
            let note = |what: &str| order.borrow_mut().push(what.to_string());
            let ours = || {
                note("us");
                Ok(())
            };
            let peer = |n: usize| {
                note(&n.to_string());
                Ok(Duration::from_millis(n as u64))
            };
            let ((), times) = around(rounds, ours, peer).unwrap();
            assert_eq!((order.borrow().join(" "), times.len()), (wanted.to_string(), rounds));
        }
        assert!(
            around(
                4,
                || anyhow::Ok(()),
                |n| {
                    ensure!(n < 3, "no");
                    Ok(Duration::ZERO)
                }
            )
            .is_err()
        );
    }
}
