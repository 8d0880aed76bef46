//! A container from nothing to the end of its program, beside what crun needs for it.

use super::figure::{Aim, Figure, PeerName, milliseconds};
use super::own_process;
use super::part::{Part, What};
use super::peers::crun::{CONTAINER_PROGRAM, Crun, Round};
use super::world::World;
use anyhow::ensure;
use cri::{ContainerConfig, Runtime};
use std::time::{Duration, Instant};

const USUAL_RUNS: usize = 50;

/// Measures our containers in a process of its own ([`measure_in`]), and crun's from this one. A
/// container in a pod that is there makes no network, so neither does the crun beside it. Where
/// crun does not run, our figures stay alone.
///
/// # Errors
/// Those of [`own_process::measure`], crun fails after it ran once, or the bench was asked to end.
pub(crate) fn measure(part: &Part) -> anyhow::Result<Vec<Figure>> {
    let ours = || own_process::measure(What::Runtime, part);
    let Some(crun) = Crun::find(part.dir)? else { return ours() };
    let (figures, rounds) = measure_between_halves(part.runs_or(USUAL_RUNS), ours, |number| {
        part.stop.check()?;
        crun.run_round(number)
    })?;
    Ok(with_crun(figures, &crun.name, &rounds))
}

/// Does one half of a peer's rounds before `ours` and the other half after it, so that a machine
/// that gets slower or faster meanwhile does so for both.
///
/// # Errors
/// The first error of a round or of `ours`.
fn measure_between_halves<T, P>(
    rounds: usize,
    ours: impl FnOnce() -> anyhow::Result<T>,
    mut peer: impl FnMut(usize) -> anyhow::Result<P>,
) -> anyhow::Result<(T, Vec<P>)> {
    let mut done = (0..rounds / 2).map(&mut peer).collect::<anyhow::Result<Vec<_>>>()?;
    let ours = ours()?;
    for number in rounds / 2..rounds {
        done.push(peer(number)?);
    }
    Ok((ours, done))
}

/// Puts crun beside the two figures of [`measure_in`]: without a network beside the container
/// alone, with one beside the container with its pod.
fn with_crun(figures: Vec<Figure>, name: &PeerName, rounds: &[Round]) -> Vec<Figure> {
    let times = |of: fn(&Round) -> Duration| -> Vec<f64> {
        rounds.iter().map(|round| milliseconds(of(round))).collect()
    };
    let peers = [
        (name.variant("the host's network"), times(|round| round.host_network)),
        (name.variant("an empty network"), times(|round| round.own_network)),
    ];
    figures.into_iter().zip(peers).map(|(figure, (name, times))| figure.with_peer(name, times)).collect()
}

/// Measures on a node of this world: the container alone, in a pod that is there; and the container
/// with its pod.
pub(crate) async fn measure_in(world: &World) -> anyhow::Result<Vec<Figure>> {
    let runs = world.runs.unwrap_or(USUAL_RUNS).max(1);
    let runtime = &world.nodes[0].runtime;
    let (mut alone, mut with_pod) = (Vec::new(), Vec::new());
    let host = world.run_sandbox(0, "host").await?;
    for n in 0..runs {
        let start = Instant::now();
        run_to_its_end(world, &host.id, &format!("c{n}")).await?;
        alone.push(start.elapsed());
        let start = Instant::now();
        let own = world.run_sandbox(0, &format!("pod-{n}")).await?;
        run_to_its_end(world, &own.id, "c").await?;
        with_pod.push(start.elapsed());
        runtime.stop_pod_sandbox(&own.id).await?;
        runtime.remove_pod_sandbox(&own.id).await?;
    }
    Ok(vec![
        Figure::times("container: made, run to its end", &alone, Aim::OfPeer(1.0)),
        Figure::times("with its pod and network", &with_pod, Aim::OfPeer(1.0)),
    ])
}

async fn run_to_its_end(world: &World, sandbox: &str, name: &str) -> anyhow::Result<()> {
    let container = ContainerConfig {
        name: name.into(),
        image: "busybox".into(),
        command: vec![CONTAINER_PROGRAM.into()],
        log_path: format!("{name}.log").into(),
        ..ContainerConfig::default()
    };
    let runtime = &world.nodes[0].runtime;
    let id = runtime.create_container(sandbox, container).await?;
    runtime.start_container(&id).await?;
    let code = world.exit_code(0, &id).await?;
    ensure!(code == 0, "{CONTAINER_PROGRAM} ended with {code}");
    Ok(runtime.remove_container(&id).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::cell::RefCell;

    #[test]
    fn a_container_alone_stands_beside_the_crun_without_a_network() {
        let ms = Duration::from_millis;
        let ours = ["alone", "with its pod"].map(|what| Figure::times(what, &[ms(2)], Aim::None));
        let rounds = [Round { host_network: ms(4), own_network: ms(6) }];
        let figures = with_crun(ours.into(), &PeerName::program("crun", "1.8.1"), &rounds);
        let peers = figures.iter().map(|figure| (figure.json()["peer"]["variant"].clone(), figure.ratio()));
        let wanted = [("the host's network", 2.0), ("an empty network", 3.0)];
        let wanted = wanted.map(|(variant, ratio)| (Value::from(variant), Some(ratio)));
        assert_eq!(peers.collect::<Vec<_>>(), wanted);
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
            let peer = |number: usize| {
                note(&number.to_string());
                Ok(number)
            };
            let ((), numbers) = measure_between_halves(rounds, ours, peer).unwrap();
            assert_eq!((order.borrow().join(" "), numbers.len()), (wanted.to_string(), rounds));
        }
        let third_fails = |number: usize| {
            ensure!(number < 3, "no");
            Ok(number)
        };
        assert!(measure_between_halves(4, || anyhow::Ok(()), third_fails).is_err());
    }
}
