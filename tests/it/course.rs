//! Every lesson and every lab is proved on clusters of its own: the solutions of all lessons, and a
//! third of everything else, which the commit decides. So a commit always plays the same, and
//! commits of all three kinds together play it all. `ROPEWALK_COURSE=1/1` plays everything, in
//! about an hour on two cores.
//!
//! These are the longest of all tests; a module's name decides when its tests begin, and these
//! begin early, beside all others.

use super::support::{Home, capable, turn_of_many};
use std::process::Command;

/// The part that is played, as `--part` wants it.
fn part() -> String {
    if let Ok(part) = std::env::var("ROPEWALK_COURSE") {
        return part;
    }
    let commit =
        Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let commit = commit.ok().filter(|said| said.status.success()).map(|said| said.stdout);
    // An archive has no commit, and always plays the first part.
    let is_archive = !std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists();
    assert!(commit.is_some() || is_archive, "git does not tell the commit: name the part in ROPEWALK_COURSE");
    let commit = commit.unwrap_or_default();
    let number: u32 = commit.iter().map(|byte| u32::from(*byte)).sum();
    format!("{}/3", number % 3 + 1)
}

/// Runs `lesson test` or `lab test` over all there are. `least`: as many have to be found sound.
fn prove(args: &[&str], least: usize) {
    if !capable() {
        return;
    }
    let (_turn, home, part) = (turn_of_many(), Home::new(), part());
    println!("again with: ROPEWALK_COURSE={part}");
    let said = home.ropewalk(&[args, &["--part", &part]].concat());
    print!("{}", said.out);
    let lines = |mark: char| said.out.lines().filter(move |l| l.trim_start().starts_with(mark));
    let wrong: Vec<&str> = lines('✗').collect();
    assert_eq!(said.code, 0, "{}\n{}", wrong.join("\n"), said.err);
    assert!(lines('✓').count() >= least, "too few were played");
}

/// Over its variants each lab is red at the start and after each wrong answer, and has full marks
/// after the solution and each other way.
#[test]
fn every_lab_is_sound() {
    prove(&["lab", "test", "--all", "--once", "--jobs", "9"], 22);
}

/// Each lesson is red at the start and after each wrong answer, and green after the solution and
/// each other way.
#[test]
fn every_lesson_is_sound() {
    prove(&["lesson", "test", "--all", "--jobs", "6"], 33);
}
