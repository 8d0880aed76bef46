//! What the lesson engine costs: a lesson is open at its last step, and a thousand commands change
//! what its checks look at.
//!
//! `cargo bench --bench lesson`. The last command is to be as quick as the first, and the memory of
//! the cluster's process to be flat.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Figures, ROPEWALK, ropewalk};

const COMMANDS: usize = 1_000;
/// Commands at the beginning and at the end that are compared.
const COMPARED: usize = 50;

fn main() {
    if std::env::args().any(|a| a == "--test") {
        return; // `cargo test --benches` only wants to know that it builds
    }
    let dir = tempfile::Builder::new().prefix("rwb").tempdir().expect("a directory");
    ropewalk(dir.path(), &["up", "--detach", "--wait"]);
    let figures = Figures;
    let mut shell = Command::new(ROPEWALK)
        .args(["repl", "--lang", "en"])
        .env("ROPEWALK_HOME", dir.path())
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
        while answers.read_line(&mut answer).is_ok_and(|n| n > 0) && !answer.contains("English") {
            answer.clear();
        }
        begun.elapsed()
    };
    line("lesson 12");
    line("kubectl create deployment web --image=nginx --replicas=3");
    line("goto 5");
    let before = memory(dir.path());
    let mut times: Vec<Duration> = Vec::with_capacity(COMMANDS);
    let mut at_half = 0;
    for n in 0..COMMANDS {
        let replicas = if n % 2 == 0 { 10 } else { 3 };
        times.push(line(&format!("kubectl scale deployment web --replicas={replicas}")));
        if n == COMMANDS / 2 {
            at_half = memory(dir.path());
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
        &format!("{} · {} · {}", mib(before), mib(at_half), mib(memory(dir.path()))),
        "flat",
    );
    let _ = shell.kill(); // it may have ended
    let _ = shell.wait();
    ropewalk(dir.path(), &["down"]);
}

/// Resident memory of the cluster's process, in KiB.
fn memory(home: &Path) -> u64 {
    let status = ropewalk(home, &["status", "-o", "json"]);
    let pid = serde_json::from_str::<serde_json::Value>(&status).unwrap_or_default()["pids"]["main"].as_u64();
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", pid.unwrap_or_default())).unwrap_or_default();
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    rss.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
