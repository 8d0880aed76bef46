//! Nothing acknowledged is lost: the main process is killed at random moments under load, and everything that was promised is there afterwards.

use super::support::{Home, any_kubectl, capable, eventually, kill, turn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[test]
fn acknowledged_writes_survive_kill_9() {
    if !capable() {
        return;
    }
    let rounds: u32 = std::env::var("ROPEWALK_CRASH_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(3);
    let seed: u64 = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64)
    });
    println!("SEED={seed}");
    let (_turn, home) = (turn(), Home::new());
    let any = any_kubectl();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut deleted: Vec<String> = Vec::new();
    for round in 0..rounds {
        let cluster = home.up(&["--workers", "1"]);
        let k = |args: &[&str]| cluster.kubectl(&any, args);
        if round == 0 {
            k(&["create", "deployment", "web", "--image=nginx", "--replicas=2"]).ok();
        }
        let all = k(&["get", "configmaps", "-o", "name"]).ok();
        for name in &acknowledged {
            assert!(
                all.lines().any(|l| l == format!("configmap/{name}")),
                "round {round}: {name} was acknowledged and is lost"
            );
        }
        for name in &deleted {
            assert!(
                !all.lines().any(|l| l == format!("configmap/{name}")),
                "round {round}: {name} came back"
            );
        }
        eventually(Duration::from_secs(30), || k(&["get", "deploy", "web"]).ok(), |t| t.contains("2/2"));
        let main = cluster.pid("main");
        let stop = AtomicBool::new(false);
        let delay = Duration::from_millis(200 + seed.wrapping_mul(u64::from(round) + 1) % 900);
        // The moment is random, but under load: counted from the first write that was acknowledged.
        let (begun, first) = std::sync::mpsc::channel();
        let stopped = &stop;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = first.recv(); // the writer lives as long as this
                std::thread::sleep(delay);
                kill(main, 9);
                stopped.store(true, Ordering::Relaxed);
            });
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                let name = format!("w-{round}-{n}");
                n += 1;
                if k(&["create", "configmap", &name]).code == 0 {
                    let _ = begun.send(()); // only the first one is waited for
                    acknowledged.push(name.clone());
                    if n % 3 == 0 && k(&["delete", "configmap", &name]).code == 0 {
                        acknowledged.pop();
                        deleted.push(name);
                    }
                }
            }
        });
    }
    println!(
        "{} writes and {} deletions were acknowledged over {rounds} rounds",
        acknowledged.len(),
        deleted.len()
    );
    assert!(!acknowledged.is_empty(), "the load was no load");
    let cluster = home.up(&[]);
    let all = cluster.kubectl(&any, &["get", "configmaps", "-o", "name"]).ok();
    for name in &acknowledged {
        assert!(all.contains(&format!("configmap/{name}")), "{name} was acknowledged and is lost");
    }
}
