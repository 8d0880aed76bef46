//! The question whether a loss is meant.

use super::*;
use std::process::Command;

/// Not a test of its own: runs in a process that the test below starts, with an input where no
/// answer comes.
#[test]
fn interrupted_at_the_question_about_a_loss() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let mut session = session_at(&runtime, Home::at(dir.path()).cluster("main").unwrap());
    let why = session.agrees().expect_err("Ctrl-C is no answer");
    std::eprintln!("<{}>", session.unanswered(&why));
}

/// Not a test of its own: runs in a process that the test below starts, with an input where no
/// answer comes.
#[test]
fn has_news_while_the_question_stands() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let mut session = session_at(&runtime, Home::at(dir.path()).cluster("main").unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    session.print_news_with(move |words| drop(tell.send(words)));
    let news = session.news.clone();
    let other = std::thread::spawn(move || {
        while !news.is_held() {
            std::thread::yield_now(); // the question is not put yet
        }
        news.tell("a step is done".into());
        nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGINT).unwrap();
    });
    assert!(session.agrees().is_err(), "Ctrl-C is no answer");
    other.join().unwrap();
    assert!(told.try_recv().is_err(), "they were not said while the question stood");
    assert!(!session.news.is_held());
    session.news.tell("the next".into());
    assert_eq!(told.try_recv().as_deref(), Ok("the next\n"), "what waited was said before");
}

#[test]
fn news_wait_until_the_question_about_a_loss_is_answered() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "session::lessons::tests::consent::has_news_while_the_question_stands",
        "--nocapture",
    ]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut asks = command.env(INSIDE, "1").spawn().unwrap();
    let _input = asks.stdin.take(); // stays open: no answer comes
    let ran = asks.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    assert!(said.contains("a step is done"), "{said}");
}

#[test]
fn ctrl_c_at_the_question_about_a_loss_is_no() {
    use std::io::Read;
    use std::process::Stdio;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "session::lessons::tests::consent::interrupted_at_the_question_about_a_loss"]);
    command.arg("--nocapture").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut asks = command.env(INSIDE, "1").spawn().unwrap();
    let mut stderr = asks.stderr.take().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok(n @ 1..) = stderr.read(&mut bytes)
            && tell.send(String::from_utf8_lossy(&bytes[..n]).into_owned()).is_ok()
        {}
    });
    let (mut said, mut interrupted) = (String::new(), false);
    while let Ok(more) = told.recv_timeout(Duration::from_secs(60)) {
        said.push_str(&more);
        if said.contains("[y/N]") && !std::mem::replace(&mut interrupted, true) {
            let pid = nix::unistd::Pid::from_raw(asks.id() as i32);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        }
    }
    let _ = asks.kill(); // one that still waits for the answer
    asks.wait().unwrap();
    assert!(said.contains(&format!("<{INTERRUPTED}>")), "{said}");
}
