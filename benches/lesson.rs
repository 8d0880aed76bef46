//! What the lesson engine costs: a lesson is open, and a thousand commands change the Deployment
//! that the checks of its first step look at. None of them completes the step.
//!
//! `cargo bench --bench lesson`. The last command is to be as quick as the first, and the memory of
//! the cluster's process to be flat.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Cluster, Figures, ROPEWALK, ropewalk};

const COMMANDS: usize = 1_000;
/// Commands at the beginning and at the end that are compared.
const COMPARED: usize = 50;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return; // `cargo test --benches` only wants to know that it builds
    }
    let cluster = Cluster::up(&[]);
    let (home, figures) = (cluster.home(), Figures);
    let mut shell = Command::new(ROPEWALK)
        .args(["repl", "--lang", "en"])
        .env("ROPEWALK_HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut lines = shell.stdin.take().expect("a pipe");
    let mut answers = BufReader::new(shell.stdout.take().expect("a pipe"));
    let mut line = |text: &str| {
        let begun = Instant::now();
        writeln!(lines, "{text}").expect("a line");
        writeln!(lines, "clear").expect("a line");
        writeln!(lines, "lang").expect("a line");
        let mut answer = String::new();
        // `lang` answers what no command says.
        while !answer.contains("The language is English") {
            assert_ne!(answers.read_line(&mut answer).expect("an answer"), 0, "it ended: {answer}");
        }
        (begun.elapsed(), answer)
    };
    let (_, opened) = line("lesson first-voyage/12");
    assert!(opened.contains("step 1 of"), "no lesson is open: {opened}");
    line("kubectl create deployment web --image=nginx --replicas=3");
    let before = memory(home);
    let mut times: Vec<Duration> = Vec::with_capacity(COMMANDS);
    let mut at_half = 0;
    for n in 0..COMMANDS {
        let replicas = if n % 2 == 0 { 10 } else { 3 };
        let (took, answer) = line(&format!("kubectl scale deployment web --replicas={replicas}"));
        assert!(answer.contains("scaled"), "{answer}");
        times.push(took);
        if n == COMMANDS / 2 {
            at_half = memory(home);
        }
    }
    let median = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    };
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let (first, last) = (median(&times[..COMPARED]), median(&times[COMMANDS - COMPARED..]));
    figures.value("a command, median of the first 50", &ms(first), "-");
    figures.value("a command, median of the last 50", &ms(last), "as the first");
    figures.value("the longest of all", &ms(times.iter().max().copied().unwrap_or_default()), "1 s");
    let mib = |kib: u64| format!("{} MiB", kib / 1024);
    figures.value(
        "memory before, after 500, after 1 000",
        &format!("{} · {} · {}", mib(before), mib(at_half), mib(memory(home))),
        "flat",
    );
    let _ = shell.kill(); // it may have ended
    let _ = shell.wait();
}

/// Resident memory of the cluster's process, in KiB.
fn memory(home: &Path) -> u64 {
    let status = ropewalk(home, &["status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let pid = status["pids"]["main"].as_u64().expect("the cluster runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    rss.expect("a process has memory")
}
