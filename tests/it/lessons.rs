//! Every lesson is proved on clusters of its own: red at the start and after each wrong answer, green after the solution and each other way.

use super::support::{Home, capable, turn};

#[test]
fn every_lesson_is_sound() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let said = home.ropewalk(&["lesson", "test", "--all", "--jobs", "8"]);
    print!("{}", said.out);
    let lines = |mark: char| said.out.lines().filter(move |l| l.trim_start().starts_with(mark));
    let wrong: Vec<&str> = lines('✗').collect();
    assert_eq!(said.code, 0, "{}\n{}", wrong.join("\n"), said.err);
    assert!(lines('✓').count() >= 12, "too few were played");
}
