//! Manifests that follow their command.

use super::*;
use crate::script::Script;
use crate::session::lessons::solve::SolutionLines;
use crate::session::{Given, Lines};

/// A person at a terminal may end a manifest with an empty line; lines that come one at a time from
/// elsewhere may have one in its middle.
#[test]
fn a_manifest_in_a_script_or_a_solution_keeps_its_empty_lines() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let manifest =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: init}\ndata:\n  run.sh: |\n    a\n\n    b\n";
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let mut session = session_at(&runtime, place);
    for end in ["EOF\n", ".\n", ""] {
        let text = format!("{manifest}{end}");
        let lines = || text.lines().map(String::from);
        assert_eq!(
            session.read_manifest(&mut SolutionLines::of(lines().collect(), &[].into())).as_deref(),
            Ok(manifest)
        );
        assert_eq!(session.read_manifest(&mut Script::of(lines())).as_deref(), Ok(manifest));
    }
    let mut solution = SolutionLines::of(vec!["a: 1\nEOF\nget pods\nls".to_string()], &[].into());
    assert_eq!(session.read_manifest(&mut solution).as_deref(), Ok("a: 1\n"));
    assert_eq!(solution.rest, ["get pods", "ls"], "what follows belongs to the solution");
}

/// Lines of a script, some of which are no text.
struct Pieces(std::collections::VecDeque<Given>);

impl Lines for Pieces {
    fn more(&mut self) -> Given {
        self.0.pop_front().unwrap_or(Given::End)
    }
}

/// kubectl refuses such a manifest, and none of its lines is a command.
#[test]
fn a_manifest_that_is_not_utf_8_is_refused_to_its_end() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let mut session = session_at(&runtime, Home::at(dir.path()).cluster("main").unwrap());
    let text = |text: &str| Given::Text(text.into());
    let all = [text("a: 1"), Given::NotUtf8, text("echo b"), text("EOF"), text("get pods")];
    let mut lines = Pieces(all.into());
    assert_eq!(session.read_manifest(&mut lines), Err(1));
    assert!(matches!(lines.more(), Given::Text(next) if next == "get pods"));
}
