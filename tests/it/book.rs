//! The book: every chapter it lists exists and is the room's own opening comment, and every room is
//! in it.

use std::path::Path;

#[test]
fn the_book_is_complete_and_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let summary = std::fs::read_to_string(root.join("book/src/SUMMARY.md")).expect("a summary");
    let links: Vec<&str> = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 20, "the summary was not read: {links:?}");
    for link in &links {
        assert!(root.join("book/src").join(link).is_file(), "SUMMARY.md names {link}, which does not exist");
    }
    for name in super::floors::rooms().keys() {
        assert!(links.contains(&format!("rooms/{name}.md").as_str()), "room {name} is not in the book");
    }
    let check = std::process::Command::new(root.join("scripts/book")).arg("--check").output().expect("bash");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

/// The threat model promises what tests hold: each test that the page names in a table's last
/// column exists.
#[test]
fn every_test_that_the_threat_model_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("book/src/threats.md")).expect("the page");
    let mut code = String::new();
    for folder in ["src", "tests"] {
        read_all(&root.join(folder), &mut code);
    }
    let (mut named, mut rows, mut tells_tests) = (0, 0, false);
    for line in page.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Some(tests) = cells.last().filter(|_| line.starts_with('|')) else {
            tells_tests = false;
            continue;
        };
        if !tells_tests {
            tells_tests = *tests == "test"; // the head of a table
            continue;
        }
        rows += 1;
        for test in tests.split('`').skip(1).step_by(2) {
            let known = code.contains(&format!("fn {test}(")) || code.contains(&format!("\"{test}\""));
            assert!(known, "threats.md names the test {test}, which does not exist:\n{line}");
            named += 1;
        }
    }
    assert!(rows > 40 && named > 40, "the tables were not read: {rows} rows, {named} tests");
}

fn read_all(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder of the project").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, code);
        } else if path.extension().is_some_and(|e| e == "rs") {
            code.push_str(&std::fs::read_to_string(&path).expect("source in UTF-8"));
        }
    }
}
