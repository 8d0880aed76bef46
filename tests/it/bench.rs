//! `ropewalk bench` measures what it says: nodes without a cluster, beside their peers. (The
//! figures themselves are the machine's.)

use super::support::{Home, PATIENCE, ROPEWALK, Said, capable, eventually, kill, turn};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a bench has made in its directory for temporary files.
fn made(home: &Home) -> Vec<PathBuf> {
    let found = std::fs::read_dir(home.path().join("t")).expect("a directory");
    found.flatten().map(|entry| entry.path()).collect()
}

/// Interrupts a bench of these words once the file is there that tells that it has begun.
fn interrupted(words: &[&str], begun: &str) {
    let home = Home::new();
    std::fs::create_dir(home.path().join("t")).expect("a directory");
    let mut bench = home.command(ROPEWALK);
    bench.arg("bench").args(words).env("TMPDIR", home.path().join("t"));
    let mut bench = bench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let runs = |places: &Vec<PathBuf>| places.first().is_some_and(|place| place.join(begun).exists());
    eventually(PATIENCE, || made(&home), runs);
    kill(bench.id() as i32, nix::libc::SIGINT);
    let ended = eventually(PATIENCE, || bench.try_wait().expect("a child"), Option::is_some);
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{words:?}");
    assert_eq!(made(&home), Vec::<PathBuf>::new(), "{words:?}");
}

#[test]
fn a_bench_that_is_interrupted_leaves_nothing_behind() {
    if !capable() {
        return;
    }
    let _turn = turn();
    interrupted(&["pods"], "clusters/main/kubeconfig");
    // Its nodes have a process of their own, which takes hours for so many runs.
    interrupted(&["runtime", "--runs", "60000"], "log/host");
}

#[test]
fn nodes_are_measured_beside_their_peers() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let said = home.ropewalk(&["bench", "network", "runtime", "--runs", "2", "-o", "json"]);
    let parts: Value = serde_json::from_str(&said.ok()).expect("JSON");
    let (network, runtime) = (&parts[0], &parts[1]);
    assert_eq!((&network["what"], &runtime["what"]), (&"network".into(), &"runtime".into()));
    assert!(runtime["p50_ms"].as_f64().is_some_and(|p50| p50 > 0.0), "{runtime}");
    for figure in parts.as_array().into_iter().flatten().flat_map(|p| p["figures"].as_array()).flatten() {
        let of = |key: &str| figure[key].as_f64().unwrap_or_default();
        assert!(0.0 < of("min") && of("min") <= of("p50") && of("p50") <= of("max"), "{figure}");
        assert_eq!(figure["runs"], 2, "{figure}");
    }
    let beside = |figure: &Value| figure["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0);
    assert!(network["figures"].as_array().is_some_and(|all| all.len() == 4 && all.iter().all(beside)));
    home.ropewalk(&["bench", "networks"]).fails("invalid value 'networks'");
}

/// A bench of the runtime, beside a crun that is this script.
fn runtime_beside(home: &Home, crun: &str) -> Command {
    let at = |name: &str| home.path().join(name);
    for dir in ["t", "bin"] {
        std::fs::create_dir(at(dir)).expect("a directory");
    }
    std::fs::write(at("bin/crun"), format!("#!/bin/sh\n{crun}\n")).expect("a program");
    std::fs::set_permissions(at("bin/crun"), Permissions::from_mode(0o755)).expect("a mode");
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut bench = home.command(ROPEWALK);
    bench.args(["bench", "runtime", "--runs", "1", "-o", "json"]);
    bench.env("TMPDIR", at("t")).env("PATH", path);
    bench
}

/// What a bench says besides its figures may have no reader. That must not end it half way.
#[test]
fn a_bench_whose_standard_error_is_closed_goes_on_and_leaves_nothing_behind() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    // It writes a specification and runs nothing: the bench says that it does not run here.
    let crun = "case $1 in --version) echo crun version 0 ;; spec) echo '{\"process\":{}}' > config.json ;; *) exit 1 ;; esac";
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut bench = runtime_beside(&home, crun);
    let said = Said::from(bench.stderr(writer).output().expect("the program runs"));
    assert_eq!(made(&home), Vec::<PathBuf>::new(), "{said:?}");
    let part: Value = serde_json::from_str(&said.ok()).expect("JSON");
    assert_eq!(part["figures"].as_array().map(Vec::len), Some(2), "{part}");
}

/// As where a library of crun's is missing: it does not even say its version, or it says that and
/// writes no specification.
#[test]
fn a_crun_that_does_not_start_leaves_the_figures_alone() {
    if !capable() {
        return;
    }
    let _turn = turn();
    for first in ["", "[ $1 = --version ] && echo crun version 0 && exit\n"] {
        let home = Home::new();
        let crun = format!("{first}echo no library >&2; exit 127");
        let said = Said::from(runtime_beside(&home, &crun).output().expect("it runs"));
        assert!(said.err.contains("crun does not run here: no library"), "{said:?}");
        let part: Value = serde_json::from_str(&said.ok()).expect("JSON");
        assert_eq!(part["figures"].as_array().map(Vec::len), Some(2), "{part}");
    }
}

/// Ctrl-C at a terminal is for the bench. It would end a crun in the middle, whose control group
/// would stay.
#[test]
fn a_crun_is_in_a_process_group_of_its_own() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let groups = home.path().join("groups");
    // Behind the name in brackets: the state, the parent, and the process group (proc_pid_stat(5)).
    let crun = format!(
        "case $1 in --version) echo crun version 0; exit ;; spec) echo '{{\"process\":{{}}}}' > config.json; exit ;; esac\nread -r line < /proc/$$/stat\nset -- ${{line##*) }}\necho \"$3 $$\" >> {}",
        groups.display()
    );
    let said = Said::from(runtime_beside(&home, &crun).output().expect("it runs"));
    let part: Value = serde_json::from_str(&said.ok()).expect("JSON");
    let figure = &part["figures"][0];
    assert!(figure["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0), "{part}");
    assert_eq!((&figure["peer"]["name"], &figure["peer"]["version"]), (&"crun".into(), &"0".into()));
    let noted = std::fs::read_to_string(groups).expect("the groups");
    let own = |line: &str| line.split_once(' ').is_some_and(|(group, pid)| group == pid);
    assert!(noted.lines().count() == 4 && noted.lines().all(own), "{noted}");
}

/// The figures of the other parts may have taken minutes.
#[test]
fn a_part_without_a_place_does_not_end_the_bench() {
    let home = Home::new();
    let mut bench = home.command(ROPEWALK);
    bench.args(["bench", "start", "runtime", "-o", "json"]).env("TMPDIR", home.path().join("none"));
    let said = Said::from(bench.output().expect("the program runs"));
    let said = said.fails("start: no place for the bench").fails("runtime: no place for the bench");
    assert_eq!(said.out.trim(), "[]");
}
