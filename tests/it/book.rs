//! The book: every chapter it lists exists and is the room's own opening comment, and every room is in it.

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
    for room in std::fs::read_dir(root.join("src"))
        .expect("src")
        .flatten()
        .filter(|e| e.path().join("mod.rs").is_file())
    {
        let name = room.file_name().to_string_lossy().into_owned();
        assert!(links.contains(&format!("rooms/{name}.md").as_str()), "room {name} is not in the book");
    }
    let check = std::process::Command::new(root.join("scripts/book")).arg("--check").output().expect("bash");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}
