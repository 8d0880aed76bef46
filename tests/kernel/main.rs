//! Tests with the real kernel: S, M, Z, containers and networks, as root and as an ordinary user.
//!
//! `cargo test --test kernel [FILTER]`. Where the kernel forbids what a test needs it is skipped,
//! and says why; with ROPEWALK_REQUIRE_KERNEL=1 that is a failure. This file is the program that a
//! cluster is: it becomes zygote and applets too.

mod bounds;
mod devices;
mod escape;
mod exec;
mod layers;
mod modes;
mod network;
mod pods;
mod sandbox;
mod users;
mod world;

use linux::boot::Pids;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use world::{Outcome, World};

type Test = (&'static str, fn(World) -> world::Running);

const TESTS: &[Test] = &[
    ("a_pod_serves_to_everybody", |w| Box::pin(pods::serves_to_everybody(w))),
    ("faults_are_told_in_the_words_of_containerd", |w| Box::pin(pods::faults(w))),
    ("ended_pods_hold_nothing_of_the_kernel", |w| Box::pin(pods::ended_hold_nothing(w))),
    ("a_forwarded_port_that_never_answers_ends", |w| Box::pin(pods::deaf_port(w))),
    ("a_container_is_confined", |w| Box::pin(pods::confined(w))),
    ("attempts_to_escape_are_refused", |w| Box::pin(escape::refused(w))),
    ("paths_of_a_pod_stay_inside_its_container", |w| Box::pin(escape::paths(w))),
    ("a_container_finds_no_descriptor_of_the_host", |w| Box::pin(escape::descriptors(w))),
    ("a_container_has_bounds_without_asking", |w| Box::pin(escape::bounds(w))),
    ("a_pod_leaves_the_machine_its_memory_and_files", |w| Box::pin(bounds::of_a_pod(w))),
    ("a_container_does_not_lower_its_oom_score", |w| Box::pin(bounds::oom_score(w))),
    ("a_container_that_writes_without_end_waits", |w| Box::pin(bounds::log_rate(w))),
    ("a_container_that_may_trace_reaches_its_own_pod_only", |w| Box::pin(escape::tracer(w))),
    ("a_pod_without_a_network_leaves_nothing_and_says_why", |w| Box::pin(sandbox::no_network(w))),
    ("a_pod_sets_parameters_of_its_own_network", |w| Box::pin(sandbox::sysctls(w))),
    ("containers_of_a_pod_share_its_bounds", |w| Box::pin(sandbox::bounds(w))),
    ("containers_of_a_pod_share_its_memory", |w| Box::pin(sandbox::memory(w))),
    ("a_start_that_blocks_can_be_stopped", |w| Box::pin(escape::blocked_start(w))),
    ("a_privileged_container_has_a_dev_of_its_own", |w| Box::pin(devices::privileged(w))),
    ("a_privileged_container_writes_to_sys_beside_a_plain_one", |w| Box::pin(devices::kernel_objects(w))),
    ("a_stop_that_its_caller_left_is_finished", |w| Box::pin(sandbox::interrupted_stop(w))),
    ("a_process_in_a_pods_group_does_not_keep_it", |w| Box::pin(sandbox::left_in_group(w))),
    ("devices_are_refused_by_the_control_group", |w| Box::pin(devices::refused(w))),
    ("a_pod_has_users_of_its_own", |w| Box::pin(users::own(w))),
    ("users_of_a_pod_rule_over_their_own_things_only", |w| Box::pin(users::limits(w))),
    ("a_container_is_started_once_and_not_after_its_pod_was_stopped", |w| Box::pin(pods::starts(w))),
    ("limits_hold_and_oom_is_named", |w| Box::pin(pods::limits(w))),
    ("containers_of_a_pod_share_what_they_should", |w| Box::pin(pods::sharing(w))),
    ("stopping_waits_for_the_grace_period", |w| Box::pin(pods::stopping(w))),
    ("exec_and_attach_talk_to_processes", |w| Box::pin(exec::sessions(w))),
    ("a_program_finds_what_runc_gives_it", |w| Box::pin(exec::surroundings(w))),
    ("directories_of_an_image_can_be_replaced", |w| Box::pin(layers::replaced(w))),
    ("a_program_runs_as_the_user_of_its_image", |w| Box::pin(layers::user(w))),
    ("a_strict_umask_closes_no_container", |w| Box::pin(modes::of_an_image(w))),
    ("a_lax_umask_opens_no_container", |w| Box::pin(modes::of_an_image(w))),
    ("services_find_their_endpoints", |w| Box::pin(network::services(w))),
    ("udp_clients_leave_endpoints_that_are_gone", |w| Box::pin(network::udp(w))),
    ("a_pod_speaks_for_itself_alone", |w| Box::pin(network::impostors(w))),
    ("an_address_without_a_pod_is_unreachable_at_once", |w| Box::pin(network::nobody(w))),
    ("links_are_cut_and_mended", |w| Box::pin(network::faults(w))),
];
/// Not a test by itself: containers that run until the test kills the cluster.
const LINGER: Test = ("linger", |w| Box::pin(pods::linger(w)));

/// Some user who is not root and has no name. ROPEWALK_TEST_UID names another, e.g. one with
/// subordinate ids.
const STRANGER: u32 = 64_321;

fn stranger() -> u32 {
    std::env::var("ROPEWALK_TEST_UID").ok().and_then(|id| id.parse().ok()).unwrap_or(STRANGER)
}
const SKIPPED: i32 = 77;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let name = Path::new(&args[0]).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(code) = applets::run(&name, std::env::args_os().collect()) {
        return ExitCode::from(code as u8);
    }
    match args.get(1).map(String::as_str) {
        Some(runtime::zygote::ZYGOTE_ARGUMENT) => ExitCode::from(runtime::zygote::main(&args[2]) as u8),
        Some("--inside") => ExitCode::from(inside(&args[2], Path::new(&args[3])) as u8),
        Some("--probe") => match linux::probe::probe(question(), net::probe::trials) {
            Ok(findings) => {
                println!("{}", serde_json::to_string(&findings).unwrap_or_default());
                ExitCode::SUCCESS
            }
            Err(e) => {
                println!("{}", e.line());
                ExitCode::FAILURE
            }
        },
        Some("--list") => {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
            ExitCode::SUCCESS
        }
        _ => run_all(args.iter().skip(1).find(|a| !a.starts_with('-')).map_or("", String::as_str)),
    }
}

fn question() -> linux::probe::Question<'static> {
    linux::probe::Question { lang: lang::Lang::En, home: Path::new("/var/tmp/not-there") }
}

/// One test, in a cluster of its own: this process becomes its supervisor.
fn inside(name: &str, home: &Path) -> i32 {
    let test = TESTS.iter().chain([&LINGER]).find(|(known, _)| *known == name);
    let Some((_, test)) = test else { return 2 };
    if let Some((_, umask)) = modes::UMASKS.iter().find(|(known, _)| *known == name) {
        linux::process::set_umask(*umask);
    }
    match world::supervise(home, *test) {
        Outcome::Done(code) => code,
        Outcome::Forbidden(why) => {
            println!("{why}");
            SKIPPED
        }
    }
}

fn run_all(filter: &str) -> ExitCode {
    let required = std::env::var_os("ROPEWALK_REQUIRE_KERNEL").is_some_and(|v| v == "1");
    let root = nix::unistd::geteuid().is_root();
    let users: &[Option<u32>] = if root { &[None, Some(stranger())] } else { &[None] };
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        println!("what outlives its parents is not seen: {error}");
        return ExitCode::FAILURE;
    }
    let mut report = |name: String, result: Result<Option<String>, String>, took: Duration| match result {
        Ok(None) => {
            passed += 1;
            println!("test {name} ... ok ({} ms)", took.as_millis());
        }
        Ok(Some(why)) if !required => {
            skipped += 1;
            println!("test {name} ... skipped: {why}");
        }
        Ok(Some(why)) | Err(why) => {
            failed += 1;
            println!("test {name} ... FAILED\n{why}");
        }
    };
    for user in users {
        let who = match (root, user) {
            (true, None) => "as root",
            _ => "rootless",
        };
        for (name, _) in TESTS.iter().filter(|(name, _)| name.contains(filter)) {
            let start = Instant::now();
            report(format!("{name} ({who})"), run_one(name, *user), start.elapsed());
        }
        let name = "the_doctor_finds_what_the_tests_used";
        if name.contains(filter) {
            let start = Instant::now();
            report(format!("{name} ({who})"), doctor(*user), start.elapsed());
        }
        let name = "sigterm_of_the_supervisor_reaches_main";
        if name.contains(filter) {
            let start = Instant::now();
            report(format!("{name} ({who})"), sigterm(*user), start.elapsed());
        }
        let name = "sigterm_in_the_first_moment_is_not_lost";
        if name.contains(filter) {
            let start = Instant::now();
            report(format!("{name} ({who})"), early_sigterm(*user), start.elapsed());
        }
        for victim in ["supervisor", "main", "zygote"] {
            let name = format!("nothing_remains_after_kill_9_of_{victim}");
            if name.contains(filter) {
                let start = Instant::now();
                report(format!("{name} ({who})"), kill_9(victim, *user), start.elapsed());
            }
        }
    }
    println!("\nkernel: {passed} passed; {failed} failed; {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// A process as another user, with a directory that is its own.
fn start(name: &str, user: Option<u32>, home: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--inside", name]).arg(home).stdin(Stdio::null());
    if let Some(id) = user {
        std::os::unix::fs::chown(home, Some(id), Some(id)).expect("chown");
        command.uid(id).gid(id);
    }
    command
}

/// `Ok(None)`: passed; `Ok(Some)`: skipped with a reason; `Err`: what went wrong.
fn run_one(name: &str, user: Option<u32>) -> Result<Option<String>, String> {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let before = strangers();
    let output = start(name, user, home.path()).output().map_err(|e| e.to_string())?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    match output.status.code() {
        Some(0) => nothing_new(&before, home.path()).map(|()| None),
        Some(SKIPPED) => Ok(Some(text.trim().to_string())),
        _ => Err(format!("{}\n{text}", output.status)),
    }
}

/// Asks for findings; if the other tests can run here, nothing that every cluster needs may be
/// missing.
fn doctor(user: Option<u32>) -> Result<Option<String>, String> {
    use linux::probe::Capability;
    let before = strangers();
    let mut command = Command::new("/proc/self/exe");
    command.arg("--probe").stdin(Stdio::null());
    if let Some(id) = user {
        command.uid(id).gid(id);
    }
    let output = command.output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let findings: Vec<Capability> = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
    for finding in &findings {
        let mend = if finding.ok {
            String::new()
        } else {
            format!(" | lost: {} | mend: {}", finding.what_is_lost, finding.how_to_mend)
        };
        println!("  {} {}: {}{mend}", if finding.ok { "+" } else { "-" }, finding.name, finding.found);
    }
    if !strangers().is_subset(&before) {
        return Err("the probe left processes".into());
    }
    let optional = [
        "subordinate ids",
        "cgroups",
        "netem",
        "kernel",
        "pids limit",
        "swap limit",
        "open files, core dumps",
        "device control",
        "capabilities",
        "supplementary groups",
        "user namespaces of pods",
    ];
    let missing = findings.iter().find(|f| !f.ok && !optional.contains(&f.name.as_str()));
    if findings.len() < 9 && missing.is_none() {
        return Err(format!("too few findings: {text}"));
    }
    Ok(missing.map(|f| format!("{}: {}", f.name, f.found)))
}

/// A cluster with running containers, and its processes; or why there cannot be one here.
fn start_linger(user: Option<u32>, home: &Path) -> Result<Result<(Child, Pids), String>, String> {
    use std::io::{BufRead, BufReader};
    let before = strangers();
    let mut child = start(LINGER.0, user, home).stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines().map_while(Result::ok);
    let mut told = String::new();
    for line in lines {
        let Some(json) = line.strip_prefix("RUNNING ") else {
            told = line;
            continue;
        };
        let pids: Pids = serde_json::from_str(json).map_err(|e| e.to_string())?;
        // Main, zygote, three pods of two.
        if pids.supervisor != child.id() as i32 || strangers().difference(&before).count() < 8 {
            return Err(format!("pids are wrong: {pids:?}"));
        }
        return Ok(Ok((child, pids)));
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if status.code() == Some(SKIPPED) { Ok(Err(told)) } else { Err(told) }
}

/// Kills one of the cluster's processes the hard way, and looks for remains.
fn kill_9(victim: &str, user: Option<u32>) -> Result<Option<String>, String> {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let before = strangers();
    let (mut child, pids) = match start_linger(user, home.path())? {
        Ok(running) => running,
        Err(why) => return Ok(Some(why)),
    };
    let pid = match victim {
        "supervisor" => pids.supervisor,
        "main" => pids.main,
        _ => pids.zygote,
    };
    kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|e| e.to_string())?;
    child.wait().map_err(|e| e.to_string())?;
    nothing_new(&before, home.path()).map(|()| None)
}

/// A polite end: main's own, and its value is the supervisor's.
fn sigterm(user: Option<u32>) -> Result<Option<String>, String> {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let before = strangers();
    let (mut child, pids) = match start_linger(user, home.path())? {
        Ok(running) => running,
        Err(why) => return Ok(Some(why)),
    };
    let again = start(LINGER.0, user, home.path()).output().map_err(|e| e.to_string())?;
    if !String::from_utf8_lossy(&again.stdout).contains("cannot lock") {
        return Err(format!("a second start of the same cluster: {again:?}"));
    }
    kill(Pid::from_raw(pids.supervisor), Signal::SIGTERM).map_err(|e| e.to_string())?;
    let status = child.wait().map_err(|e| e.to_string())?;
    if status.code() != Some(0) {
        return Err(format!("ended with {status}"));
    }
    nothing_new(&before, home.path()).map(|()| None)
}

/// Main is the first process of a PID namespace: the kernel drops a signal that it neither blocks
/// nor handles.
fn early_sigterm(user: Option<u32>) -> Result<Option<String>, String> {
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let before = strangers();
    let mut command = start(LINGER.0, user, home.path());
    let mut child = command.stdout(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let until = Instant::now() + Duration::from_secs(20);
    let children = || {
        let path = format!("/proc/{0}/task/{0}/children", child.id());
        fs::read_to_string(path).unwrap_or_default().split_whitespace().count()
    };
    // The janitor and main; a supervisor that ended could make none.
    let supervisor = format!("/proc/{}/exe", child.id());
    while children() < 2 && Path::new(&supervisor).exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1)); // no event tells of another process' children
    }
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).map_err(|e| e.to_string())?;
    let status = loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) => break status,
            None if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("the signal was lost".into());
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    match status.code() {
        Some(0) => nothing_new(&before, home.path()).map(|()| None),
        Some(SKIPPED) => Ok(Some("no cluster here".into())),
        _ => Err(format!("ended with {status}")),
    }
}

/// Our descendants in other PID namespaces than ours, with their namespace: those of clusters that
/// were started here.
///
/// What outlives its parents comes to us (`main` is a subreaper), so that nothing escapes this and
/// other clusters of the machine do not count.
fn strangers() -> BTreeSet<(String, String)> {
    let world = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = world("self");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.filter_map(|e| e.file_name().into_string().ok());
    let numbers = names.filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let parents: BTreeMap<String, (String, bool)> = numbers
        .filter_map(|n| {
            let stat = fs::read_to_string(format!("/proc/{n}/stat")).ok()?;
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            // A zombie is only waiting to be collected.
            let zombie = fields.next()? == "Z";
            Some((n, (fields.next()?.to_string(), zombie)))
        })
        .collect();
    let us = std::process::id().to_string();
    let ours = |pid: &String| {
        let line = std::iter::successors(Some(pid), |pid| parents.get(*pid).map(|(parent, _)| parent));
        line.skip(1).any(|ancestor| *ancestor == us)
    };
    let living = parents.iter().filter(|(pid, (_, zombie))| !zombie && ours(pid));
    living
        .filter_map(|(pid, _)| {
            let there = world(pid)?;
            (Some(&there) != own.as_ref()).then(|| (pid.clone(), there.display().to_string()))
        })
        .collect()
}

/// Nothing of a cluster is left. What is still ending is waited for.
fn nothing_new(before: &BTreeSet<(String, String)>, home: &Path) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let left: Vec<_> = strangers().difference(before).cloned().collect();
        let groups = groups_of(home);
        if left.is_empty() && groups.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("left behind: processes {left:?}, cgroups {groups:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Cgroups of the cluster that lived here, wherever they are.
fn groups_of(home: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut look = vec![Path::new("/sys/fs/cgroup").to_path_buf()];
    let Some(name) = world::group_name(home) else { return found };
    while let Some(directory) = look.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy() == name {
                    found.push(entry.path());
                }
                look.push(entry.path());
            }
        }
    }
    found
}
