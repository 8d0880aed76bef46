//! Proves every lesson and every lab on clusters of their own. A usual run plays a part:
//! - of each lesson the solution, the commands in its text, and one in twenty-four of its wrong
//!   answers and other ways;
//! - of each lab one seed, or one in twenty-four of its seeds: each with the solution, and with its
//!   share of the other ways and wrong answers that were given to this seed.
//!
//! The commit decides which part, so a commit always plays the same, and the twenty-four parts
//! together play everything (`ui::proof::part`). `ROPEWALK_COURSE=1/1` plays everything at once,
//! which takes two idle cores more than an hour. Of a lab, even that plays each other way and wrong
//! answer with one fault alone (`--once`).
//!
//! These tests take longer than all others. The name of a module decides when its tests begin;
//! these begin early and run beside the others.

use super::support::{Home, capable, turn_of_many};
use std::process::Command;

/// So many runs of different commits play everything. With fewer parts the plays take longer than
/// all other tests together: of the lessons, a twelfth is 187 plays in 515 s on two cores, and one
/// in twenty-four is 130 plays in 410 s.
const PARTS: u32 = 24;

/// Returns the part to play, in the form that `--part` takes.
pub(crate) fn part() -> String {
    if let Ok(part) = std::env::var("ROPEWALK_COURSE") {
        return part;
    }
    let commit =
        Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let commit = commit.ok().filter(|said| said.status.success()).map(|said| said.stdout);
    // An archive has no commit, and always plays the first part.
    let is_archive = !std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists();
    assert!(commit.is_some() || is_archive, "git cannot name the commit; name the part in ROPEWALK_COURSE");
    let commit = commit.unwrap_or_default();
    let number: u32 = commit.iter().map(|byte| u32::from(*byte)).sum();
    format!("{}/{PARTS}", number % PARTS + 1)
}

/// Runs `lesson test` or `lab test` over all lessons or labs. At least this many have to be sound.
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

/// With each seed that is played, a lab is red at the start, earns no more than it may after a
/// wrong answer, and has full marks after the solution and each other way.
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
