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

/// Measures with `ours`, which gives the two figures of [`measure`], and adds what crun needs for
/// the same program from the same file, run as the specification that crun writes itself says:
/// namespaces, mounts, masked paths. A container in a pod that is there makes no network, so
/// neither does the crun beside it. One half of crun's rounds comes before ours and the other half
/// after them, so that a machine that gets slower or faster meanwhile does so for both. Where there
/// is no crun the figures stay alone.
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
        Ok([way.run(GUEST, &format!("guest-{n}"))?, way.run(WHOLE, &n.to_string())?])
    })?;
    Ok(paired(figures, &times))
}

/// Puts our two figures beside crun's: the container alone beside the run without a network, which
/// is the first of each round.
fn paired(figures: Vec<Figure>, rounds: &[[Duration; 2]]) -> Vec<Figure> {
    let of = |kind: usize| rounds.iter().map(|two| milliseconds(two[kind])).collect::<Vec<f64>>();
    let peers = [("crun run, the host's network", of(0)), ("crun run, an empty network", of(1))];
    figures.into_iter().zip(peers).map(|(figure, (name, times))| figure.beside(name, times)).collect()
}

/// Does one half of a peer's rounds before `ours` and the other half after it.
///
/// # Errors
/// The first error of a round or of `ours`.
fn around<T, P>(
    rounds: usize,
    ours: impl FnOnce() -> anyhow::Result<T>,
    mut peer: impl FnMut(usize) -> anyhow::Result<P>,
) -> anyhow::Result<(T, Vec<P>)> {
    let mut times = (0..rounds / 2).map(&mut peer).collect::<anyhow::Result<Vec<_>>>()?;
    let ours = ours()?;
    for n in rounds / 2..rounds {
        times.push(peer(n)?);
    }
    Ok((ours, times))
}

/// Directory of the bundle with a network of its own, and of the one without.
const WHOLE: &str = "whole";
const GUEST: &str = "guest";

struct Crun<'a> {
    manager: &'static str,
    state: &'a Path,
    /// Where the two bundles are, beside the file system that they share.
    bundles: &'a Path,
}

/// Makes a specification of crun's that of a container in a pod that is there: it shares the host's
/// network and host name. IPC stays its own, since an ordinary user may not mount `/dev/mqueue` of
/// the host's.
fn without_network(spec: &mut Value) {
    if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|one| one["type"] != "network" && one["type"] != "uts");
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("hostname"); // it is refused without a UTS namespace
    }
}

impl<'a> Crun<'a> {
    /// Writes the bundles and looks for a way to run them. Groups of its own, as ours are, come
    /// first, where crun can make them. `None`, and a line that says why: crun does not run here.
    ///
    /// # Errors
    /// A bundle cannot be written.
    fn find(bundles: &'a Path, state: &'a Path) -> anyhow::Result<Option<Crun<'a>>> {
        let root = bundles.join("rootfs");
        for dir in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
            std::fs::create_dir_all(root.join(dir))?;
        }
        std::fs::copy(super::program::PROGRAM, root.join("bin/true")).context("the bundle's program")?;
        let (whole, guest) = (bundles.join(WHOLE), bundles.join(GUEST));
        for bundle in [&whole, &guest] {
            std::fs::create_dir(bundle)?;
        }
        let rootless = !nix::unistd::geteuid().is_root();
        let mut spec = Command::new("crun");
        spec.arg("spec").args(rootless.then_some("--rootless")).current_dir(&whole);
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
        let file = "config.json";
        let mut config: Value = serde_json::from_slice(&std::fs::read(whole.join(file))?)?;
        config["process"]["args"] = json!([PROGRAM]);
        config["process"]["terminal"] = json!(false);
        config["root"]["path"] = json!("../rootfs");
        std::fs::write(whole.join(file), serde_json::to_vec(&config)?)?;
        without_network(&mut config);
        std::fs::write(guest.join(file), serde_json::to_vec(&config)?)?;
        let mut why = String::new();
        for manager in ["cgroupfs", "disabled"] {
            let way = Crun { manager, state, bundles };
            // A name for each try: one that failed may have left its container's state, and crun
            // refuses the name then.
            let tried = [WHOLE, GUEST].map(|bundle| way.run(bundle, &format!("try-{manager}-{bundle}")));
            match tried.into_iter().collect::<anyhow::Result<Vec<_>>>() {
                Ok(_) => return Ok(Some(way)),
                Err(error) => why = format!("{error:#}"),
            }
        }
        tell(format!("crun does not run here: {why}"));
        Ok(None)
    }

    /// Runs a container to its end, in a process group of its own: Ctrl-C is for the bench. It
    /// would end crun in the middle, and the container's control group would stay.
    fn run(&self, bundle: &str, id: &str) -> anyhow::Result<Duration> {
        let mut command = Command::new("crun");
        command.arg("--root").arg(self.state).arg(format!("--cgroup-manager={}", self.manager));
        command.args(["run", "--bundle"]).arg(self.bundles.join(bundle));
        command.arg(format!("rwb{}-{id}", std::process::id()));
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

    /// A container in a pod that is there makes no network, so the peer must not pay for one.
    #[test]
    fn the_peer_of_a_container_alone_makes_no_network() {
        let namespaces = |types: &[&str]| types.iter().map(|one| json!({"type": one})).collect::<Value>();
        let all = namespaces(&["pid", "network", "ipc", "uts", "mount"]);
        let mut spec = json!({"hostname": "crun", "linux": {"namespaces": all}, "process": {}});
        without_network(&mut spec);
        let left = namespaces(&["pid", "ipc", "mount"]);
        assert_eq!(spec, json!({"linux": {"namespaces": left}, "process": {}}));
    }

    #[test]
    fn a_container_alone_stands_beside_the_crun_without_a_network() {
        let ms = Duration::from_millis;
        let ours = ["alone", "with its pod"].map(|what| Figure::times(what, &[ms(2)], Aim::None));
        let told = paired(ours.into(), &[[ms(4), ms(6)]]);
        let peers = told.iter().map(|figure| (figure.json()["peer"]["name"].clone(), figure.ratio()));
        let names = ["crun run, the host's network", "crun run, an empty network"].map(Value::from);
        assert_eq!(
            peers.collect::<Vec<_>>(),
            names.into_iter().zip([Some(2.0), Some(3.0)]).collect::<Vec<_>>()
        );
    }

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
