//! What a container may use of the machine's memory, files and processes, although it has no limit
//! of its own.

use crate::world::{Check, World, ended, ensure, eventually, shell};
use cri::{ExecRequest, Runtime};
use linux::{limits, oom};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// The files of a pod lie on a file system of its own, files in memory are counted, and the kernel
/// ends containers before Ropewalk.
pub(crate) async fn of_a_pod(w: World) -> Check {
    let runtime = &w.nodes[0].runtime;
    let sandbox = runtime.run_pod_sandbox(w.sandbox("greedy")).await?;
    let run = async |name: &str, script: &str, oom: i32| -> Check<Vec<u64>> {
        let mut config = shell(script);
        config.log_path = format!("{name}/0.log").into();
        config.resources.oom_score_adj = oom;
        let id = runtime.create_container(&sandbox.id, config).await?;
        runtime.start_container(&id).await?;
        ended(runtime, &id).await?;
        let log = w.log_of(0, &id).await?;
        let numbers: Vec<u64> = log.lines().filter_map(|l| l.rsplit(' ').next()?.parse().ok()).collect();
        ensure(!numbers.is_empty(), &log)?;
        Ok(numbers)
    };
    // CVE-2020-8557.
    let fill = "for f in hosts hostname resolv.conf; do dd if=/dev/zero of=/etc/$f bs=64k count=320 2>/dev/null; stat -c %s /etc/$f; done";
    let sizes = run("files", fill, 0).await?;
    let all: u64 = sizes.iter().sum();
    ensure(sizes.len() == 3 && (64 << 10..2 << 20).contains(&all), format!("{sizes:?}"))?;
    let neighbour = runtime.run_pod_sandbox(w.sandbox("neighbour")).await?;
    let mut config = shell("grep -c neighbour /etc/hosts /etc/hostname");
    config.log_path = "neighbour/0.log".into();
    let id = runtime.create_container(&neighbour.id, config).await?;
    runtime.start_container(&id).await?;
    let status = ended(runtime, &id).await?;
    ensure(status.exit_code == 0, format!("its own files are whole: {status:?}"))?;
    // Empty files take memory of the kernel, and terminals are the machine's.
    let count = "perl -e 'for my $d (qw(/dev /dev/shm)) { my $n = 0; for (1..6000) { open(my $f, q(>), qq($d/f$_)) or last; close $f; $n++ } print qq($d $n\\n) }
                 my @t; for (1..400) { open(my $f, q(+<), q(/dev/ptmx)) or last; push @t, $f } print q(terminals ), scalar(@t), qq(\\n)'";
    let counts = run("counts", count, 0).await?;
    ensure(counts.len() == 3 && counts[..2].iter().all(|n| (3000..4096).contains(n)), format!("{counts:?}"))?;
    ensure((1..=256).contains(&counts[2]), format!("{counts:?}"))?;
    // Every container goes before Ropewalk; one of the lowest class first.
    let own: i32 = std::fs::read_to_string("/proc/self/oom_score_adj")?.trim().parse()?;
    for (wanted, least) in [(1000, 1000), (-997, (own + 3).min(1000)), (900, 900_i32.max(own + 3).min(1000))]
    {
        let before = oom::score_adj(wanted); // this is main, whose memory counts
        let score = run(&format!("oom{wanted}"), "cat /proc/self/oom_score_adj", wanted).await?;
        let have = i32::try_from(score[0])?;
        ensure(
            have >= least && have.abs_diff(before) < 20,
            format!("{wanted}: {score:?}, own {own}, {before}"),
        )?;
    }
    let told = run("limits", "ulimit -n; ulimit -c", 0).await?;
    ensure(told.len() == 2 && told[0] <= limits::FILES_MAX && told[1] == 0, format!("{told:?}"))?;
    runtime.remove_pod_sandbox(&sandbox.id).await?;
    runtime.remove_pod_sandbox(&neighbour.id).await?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    ensure(!mounts.contains(&sandbox.id), "the pod's file system is gone")?;
    if w.cgroups.starts_with("none") {
        return Ok(()); // no limits on this machine for this user
    }
    // All containers together leave the host some.
    for (tree, file) in
        [("memory", "memory.limit_in_bytes"), ("pids", "pids.max"), ("", "memory.max"), ("", "pids.max")]
    {
        let limits = group_files(&w, tree, file);
        let controlled = w.cgroups.contains(if tree.is_empty() { "v2" } else { tree });
        ensure(controlled != limits.is_empty(), format!("{tree} {file}: {limits:?}, {}", w.cgroups))?;
        let info = std::fs::read_to_string("/proc/meminfo")?;
        let kib: u64 = info.split_whitespace().nth(1).unwrap_or_default().parse()?;
        let most = if file == "pids.max" { 1 << 22 } else { kib << 10 };
        ensure(limits.iter().all(|n| *n < most), format!("{file}: {limits:?} of {most}"))?;
    }
    Ok(())
}

/// Rootless, the kernel lets every process lower its score to what Ropewalk has itself: then others
/// would be ended before it.
pub(crate) async fn oom_score(w: World) -> Check {
    const LOWER: &str = "for f in /proc/self/oom_score_adj /proc/$$/oom_score_adj /proc/1/oom_score_adj /proc/self/oom_adj; do \
                         echo 0 > $f; echo -17 > $f; done 2>/dev/null; echo score $(cat /proc/$$/oom_score_adj)";
    let runtime = &w.nodes[0].runtime;
    for shared in [false, true] {
        let name = format!("shared-{shared}");
        let mut sandbox = w.sandbox(&name);
        sandbox.share_process_namespace = shared;
        let sandbox = runtime.run_pod_sandbox(sandbox).await?;
        let mut config = shell(&format!("{LOWER}; sleep 100"));
        config.log_path = format!("{name}/0.log").into();
        config.resources.oom_score_adj = 900;
        let id = runtime.create_container(&sandbox.id, config).await?;
        runtime.start_container(&id).await?;
        w.logged(0, &id, "score 900").await?;
        let command = vec!["bash".into(), "-c".into(), LOWER.into()];
        let request = ExecRequest { container_id: id, command, tty: false, stdin: false };
        let mut out = String::new();
        runtime.exec(request).await?.stdout.read_to_string(&mut out).await?;
        ensure(out == "score 900\n", format!("exec, {name}: {out:?}"))?;
        runtime.remove_pod_sandbox(&sandbox.id).await?;
    }
    Ok(())
}

/// Each empty line becomes an entry of some 40 bytes, which this program writes, outside of the
/// pod's limits.
pub(crate) async fn log_rate(w: World) -> Check {
    const MIB: u64 = 1 << 20;
    let runtime = &w.nodes[0].runtime;
    let begun = std::time::Instant::now();
    let pod = w.pod(0, "loud", shell("yes ''")).await?;
    let place = w.home.join("log/loud/shell");
    eventually(Duration::from_secs(30), async || {
        let files = std::fs::read_dir(&place)?.flatten().filter_map(|file| file.metadata().ok());
        let written: u64 = files.map(|found| found.len()).sum();
        Ok(if written >= 14 * MIB { Ok(()) } else { Err(format!("{written} bytes of log")) })
    })
    .await?;
    // 8 MiB at once, and 4 in a second.
    ensure(begun.elapsed() >= Duration::from_secs(1), format!("14 MiB of log in {:?}", begun.elapsed()))?;
    runtime.remove_pod_sandbox(&pod.sandbox).await?;
    // What a program wrote before it ended is in the log all the same.
    let pod = w.pod(0, "last", shell("yes '' | head -n 300000; echo last words")).await?;
    ended(runtime, &pod.container).await?;
    let log = w.log_of(0, &pod.container).await?;
    ensure(log.ends_with("last words\n"), "the last line is lost")
}

/// The numbers in a file of the cluster's own groups, in the tree of one controller (v1), or in the
/// one tree (v2).
fn group_files(w: &World, tree: &str, file: &str) -> Vec<u64> {
    let wanted = crate::groups_of(&w.home).into_iter().filter(|place| match tree {
        "" => w.cgroups == "v2",
        tree => place.to_string_lossy().split('/').any(|part| part.split(',').any(|c| c == tree)),
    });
    wanted.filter_map(|place| std::fs::read_to_string(place.join(file)).ok()?.trim().parse().ok()).collect()
}
