//! What a signal does to a command that has a process to itself.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

/// Set in the process that gets the signal.
const INSIDE: &str = "ROPEWALK_TEST_INTERRUPTED";

/// Not a test of its own: the command that those below interrupt. It waits for its input.
#[tokio::test]
async fn reads_a_transaction() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let args = ["etcdctl", "txn", "-i"].map(String::from).to_vec();
    std::process::exit(on_stdio(args, Preset::default()).await);
}

/// Starts the command in a shell that does `first` before.
fn start(first: &str) -> Child {
    let run = format!("{first} exec \"$0\" --exact tests::signals::reads_a_transaction --nocapture");
    let mut shell = Command::new("sh");
    shell.args(["-c", &run]).arg(std::env::current_exe().unwrap()).env(INSIDE, "1");
    linux::signal::start_heeding(&mut shell); // the tests may be a background job themselves
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    wait_for(&mut child, "compares:");
    child
}

/// Reads what a command says up to a line with this word.
fn wait_for(child: &mut Child, word: &str) {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(word)), "{word}");
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// `for key in a b; do etcdctl watch $key; done` ends with the command.
#[test]
fn an_interrupt_is_how_the_process_ends() {
    let mut child = start("");
    let _input = child.stdin.take(); // `wait` would close it, and its end may be met first
    interrupt(&child);
    let ended = child.wait().unwrap();
    assert_eq!(ended.signal(), Some(SignalKind::interrupt().as_raw_value()), "{ended}");
}

#[test]
fn a_background_job_of_a_script_ignores_an_interrupt() {
    let mut child = start("trap '' INT;");
    interrupt(&child);
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    wait_for(&mut child, "success requests");
    let ended = child.wait().unwrap(); // closes its input
    assert_eq!(ended.code(), Some(fail::INPUT), "{ended}");
}
