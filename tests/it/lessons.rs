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
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    assert!(said.out.lines().filter(|l| l.starts_with('✓')).count() >= 12, "{}", said.out);
}
