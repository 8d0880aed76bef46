//! `lab test`: which labs are proved.

use crate::named::once;
use crate::words::Word;
use lab::graded::read::{Lab, Labs};
use lang::charset::eprintln;
use ui::texts::Lang;

/// Returns the labs that `lab test` shall prove: with `all` those that can be read. `None`: the
/// command line names no lab, or one that cannot be read; the reason is printed. (A directory
/// without labs has a fault that says so.)
pub(crate) fn chosen(labs: &Labs, ids: &[String], all: bool, lang: Lang) -> Option<Vec<Lab>> {
    if ids.is_empty() && !all {
        eprintln!("ropewalk: {}", lang.say(Word::NameLabs, &[]));
        return None;
    }
    let mut chosen: Vec<Lab> = if all { labs.labs.clone() } else { vec![] };
    for id in ids {
        match labs.get(id) {
            Some(lab) => chosen.push(lab.clone()),
            None => {
                eprintln!("ropewalk: {}", lang.say(Word::NoLab, &[&format!("{id:?}")]));
                return None;
            }
        }
    }
    Some(once(chosen, |lab| lab.id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::fault_lines;

    /// `--all` was given, so that it is missing would be a wrong answer.
    #[test]
    fn labs_that_cannot_be_read_are_named_with_their_faults() {
        let dir = tempfile::tempdir().unwrap();
        assert!(fault_lines(&Labs::read(dir.path())).join("\n").contains("there are no labs here"));
        let folder = dir.path().join("a\u{1b}[2Jb");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("lab.md"), "---\nidd: y\n---\n").unwrap();
        let labs = Labs::read(dir.path());
        assert_eq!(chosen(&labs, &[], true, Lang::En).map(|labs| labs.len()), Some(0));
        assert!(chosen(&labs, &[], false, Lang::En).is_none());
        assert!(chosen(&labs, &["x".into()], false, Lang::Ko).is_none());
        let faults = fault_lines(&labs).join("\n");
        assert!(faults.contains("a[2Jb/lab.md") && faults.contains("unknown key"), "{faults:?}");
        assert!(!faults.contains('\u{1b}'), "{faults:?}");
    }
}
