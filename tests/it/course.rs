//! Every lesson and every lab is proved on clusters of its own. These are the longest of all tests;
//! a module's name decides when its tests begin, and these begin early, beside all others.

use super::support::{Home, capable, turn_of_many};

/// Runs `lesson test` or `lab test` over all there are. `least`: as many have to be found sound.
fn prove(args: &[&str], least: usize) {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn_of_many(), Home::new());
    let said = home.ropewalk(args);
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
