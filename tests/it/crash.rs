//! Nothing acknowledged is lost. Rounds of `kill -9`: of the supervisor, of main, of the zygote, or
//! of everything, at random moments, while writers create and delete, a rollout goes on and a
//! deployment is being deleted. After each start every acknowledged object is there, what was
//! deleted stays deleted, controllers finish what they had begun, and pods run again.
//! `ROPEWALK_ROUNDS` asks for more rounds, `SEED` for the same ones again.

use super::support::{Cluster, Home, Kubectl, PATIENCE, any_kubectl, capable, eventually, number, turn};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Who dies, in turn.
const VICTIMS: [&[&str]; 4] = [&["supervisor"], &["main"], &["zygote"], &["zygote", "main", "supervisor"]];
const WRITERS: usize = 2;
/// Creates that are acknowledged in each round before its kill. Writers delete one object of three
/// again, so two of these stay.
const LOAD: usize = 3;
/// Replicas of the deployment that is rolled on and on.
const REPLICAS: &str = "3";

/// What writers know of an object: the last thing that was acknowledged, and what was asked for
/// since without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    there: bool,
    /// A create or a delete was asked for, and the answer was lost: both states are honest.
    unsure: bool,
}

pub(crate) fn seed() -> u64 {
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_nanos() as u64);
    number("SEED").unwrap_or_else(now)
}

/// splitmix64: a moment from the seed and the round alone.
pub(crate) fn draw(seed: u64, round: u64) -> u64 {
    let z = seed.wrapping_add((round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

struct Rounds<'a> {
    home: &'a Home,
    any: Kubectl,
    objects: Mutex<BTreeMap<String, Known>>,
    /// The newest image that the rollout was told to take, and whether that was acknowledged.
    image: Mutex<(u32, bool)>,
}

impl Rounds<'_> {
    fn must(&self, cluster: &Cluster, args: &[&str]) -> String {
        cluster.must(&self.any, args)
    }

    /// Returns whether it was acknowledged.
    fn ask(&self, cluster: &Cluster, name: &str, verb: &str) -> bool {
        let before = self.objects.lock().get(name).copied().unwrap_or_default();
        let know = |known| {
            self.objects.lock().insert(name.to_string(), known);
        };
        know(Known { unsure: true, ..before });
        let mut args = vec![verb, "configmap", name, "--request-timeout=5s"];
        args.extend((verb == "delete").then_some("--wait=false"));
        let said = cluster.kubectl(&self.any, &args);
        if said.code == 0 {
            know(Known { there: verb == "create", unsure: false });
        }
        said.code == 0
    }

    /// Creates, and deletes every third object again, until the cluster is gone. Each acknowledged
    /// create is reported.
    fn write(
        &self,
        cluster: &Cluster,
        (writer, round): (usize, u64),
        stop: &AtomicBool,
        created: &mpsc::Sender<()>,
    ) {
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let name = format!("w{writer}-{round}-{n}");
            if self.ask(cluster, &name, "create") {
                let _ = created.send(()); // the round has counted enough of them
            }
            if n % 3 == 2 {
                self.ask(cluster, &format!("w{writer}-{round}-{}", n - 1), "delete");
            }
        }
    }

    fn roll(&self, cluster: &Cluster, round: u64) {
        let next = round as u32 + 1;
        self.image.lock().1 = false;
        let image = format!("web=nginx:1.{next}");
        if cluster.kubectl(&self.any, &["set", "image", "deploy/web", &image, "--request-timeout=5s"]).code
            == 0
        {
            *self.image.lock() = (next, true);
        }
    }

    /// Loads the cluster, and kills at a random moment. Returns who died.
    fn round(&self, cluster: &Cluster, round: u64, chance: u64) -> &'static [&'static str] {
        let victims = VICTIMS[round as usize % VICTIMS.len()];
        let pids: Vec<String> = victims.iter().map(|v| cluster.pid(v).to_string()).collect();
        let stop = AtomicBool::new(false);
        let (created, is_created) = mpsc::channel();
        // a deployment that is on its way out when the lights go
        self.must(cluster, &["create", "deployment", "old", "--image=nginx", "--replicas=2"]);
        let is_loaded = std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (stop, created) = (&stop, created.clone());
                scope.spawn(move || self.write(cluster, (writer, round), stop, &created));
            }
            scope.spawn(|| self.roll(cluster, round));
            scope.spawn(|| self.ask_deployment_away(cluster));
            let is_loaded = (0..LOAD).all(|_| is_created.recv_timeout(PATIENCE).is_ok());
            std::thread::sleep(Duration::from_millis((chance >> 8) % 700)); // the moment, under load
            // one command for all: the last process may have ended with the first
            let _ = Command::new("kill").arg("-9").args(&pids).stderr(Stdio::null()).status();
            stop.store(true, Ordering::Relaxed);
            is_loaded
        });
        assert!(is_loaded, "round {round}: the writers created too little before the kill");
        victims
    }

    fn ask_deployment_away(&self, cluster: &Cluster) {
        let args = ["delete", "deployment", "old", "--wait=false", "--request-timeout=5s"];
        let known = cluster.kubectl(&self.any, &args).code != 0;
        let mut objects = self.objects.lock();
        objects.insert("deployment/old".into(), Known { there: known, unsure: known });
    }

    /// What was promised is kept. `when` says where we are, for the failure's text.
    fn check(&self, cluster: &Cluster, when: &str) {
        let k = |args: &[&str]| self.must(cluster, args);
        let there = k(&["get", "configmaps,deployments", "-o", "name"]);
        let there: Vec<&str> = there.lines().map(|l| l.trim_start_matches("deployment.apps/")).collect();
        let objects = self.objects.lock().clone();
        for (name, known) in objects.iter().filter(|(_, known)| !known.unsure) {
            let found = match name.strip_prefix("deployment/") {
                Some(name) => there.contains(&name),
                None => there.contains(&format!("configmap/{name}").as_str()),
            };
            assert_eq!(found, known.there, "{when}: {name} was acknowledged to be there: {}", known.there);
        }
        // an unsure writer looks, and is bound by what it sees
        let unsure = |(name, known): &(String, Known)| known.unsure && !name.contains('/');
        for (name, _) in objects.into_iter().filter(unsure) {
            let there = there.contains(&format!("configmap/{name}").as_str());
            self.objects.lock().insert(name, Known { there, unsure: false });
        }
        k(&["delete", "deployment", "old", "--ignore-not-found"]);
        let asked = *self.image.lock();
        let status = "jsonpath={.spec.template.spec.containers[0].image} {.status.updatedReplicas} \
                      {.status.readyReplicas} {.status.replicas}";
        let deployment = || k(&["get", "deploy", "web", "-o", status]);
        let all = format!(" {REPLICAS} {REPLICAS} {REPLICAS}");
        let rolled = eventually(PATIENCE, deployment, |s| s.ends_with(&all));
        if asked.1 {
            assert!(rolled.starts_with(&format!("nginx:1.{} ", asked.0)), "{when}: {asked:?}, but {rolled}");
        }
        // of the pods, those of the newest replica set are left, and they are the kubelet's word
        // for running containers
        let pods = || k(&["get", "pods", "--no-headers"]);
        let running = |said: &String| {
            let lines: Vec<&str> = said.lines().collect();
            lines.len() == 3 && lines.iter().all(|l| l.starts_with("web-") && l.contains(" 1/1 "))
        };
        eventually(PATIENCE, pods, running);
    }
}

fn rounds(options: &[&str], default: u64) {
    if !capable() {
        return;
    }
    let count = number("ROPEWALK_ROUNDS").unwrap_or(default);
    let (seed, started) = (seed(), Instant::now());
    println!("SEED={seed}");
    let (_turn, home) = (turn(), Home::new());
    let rounds =
        Rounds { home: &home, any: any_kubectl(), objects: Mutex::default(), image: Mutex::default() };
    let mut died: BTreeMap<&[&str], u32> = BTreeMap::new();
    for round in 0..=count {
        let cluster = rounds.home.up(options);
        if round == 0 {
            rounds.must(&cluster, &["create", "deployment", "web", "--image=nginx", "--replicas", REPLICAS]);
        }
        rounds.check(&cluster, &format!("SEED={seed} round {round}"));
        if round < count {
            let victims = rounds.round(&cluster, round, draw(seed, round));
            *died.entry(victims).or_default() += 1;
            // gone, as the next start sees it
            let status = || home.ropewalk(&["status", "--name", "t", "-o", "json"]).out;
            eventually(PATIENCE, status, |s| s.contains("\"stopped\""));
            std::mem::forget(cluster);
        }
    }
    let objects = rounds.objects.lock();
    let there = objects.values().filter(|known| known.there).count();
    println!(
        "{count} rounds in {:?}: {there} objects acknowledged and there, {} gone for good; killed: {died:?}",
        started.elapsed(),
        objects.len() - there
    );
    assert!(there as u64 > count, "the load was no load");
}

#[test]
fn nothing_is_lost_whoever_is_killed() {
    rounds(&["--workers", "1"], 20);
}

#[test]
fn nothing_is_lost_by_three_control_planes() {
    rounds(&["--control-planes", "3", "--workers", "1"], 2);
}
