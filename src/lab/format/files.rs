//! `files:` of a lesson: what is placed in the learner's folder when the lesson is opened.

use super::compiler::Compiler;
use crate::lines::without_shell::is_playable;
use crate::lines::{commands, ends_manifest, is_plain, may_fail, reads_manifest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of one file: it is shown in the lesson, and a learner reads it.
const TEXT_MAX: usize = 8 << 10;

/// Files of a lesson, at most: they are placed in a folder of the learner's.
const FILES_MAX: usize = 20;

/// A file of a lesson.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Without a folder, e.g. `web.yaml`.
    pub name: String,
    /// At most 8 KiB.
    pub text: String,
}

/// What is wrong with a file, if anything is.
fn odd(name: &str, text: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_plain) {
        return Some("a name has letters, digits, `.`, `-` and `_`, and no folder".into());
    }
    if text.trim().is_empty() || text.len() > TEXT_MAX {
        return Some(format!("a file has some text, and at most {TEXT_MAX} bytes"));
    }
    text.lines().find(|line| ends_manifest(line)).map(|line| {
        format!("a line {line:?} alone would end the text where the teacher plays it with `-f -`")
    })
}

/// The files of a lesson while its lines are read, in order.
pub(super) struct Files {
    all: Vec<File>,
    /// Files that a line of the learner's shell has named: what is in them now is not known.
    touched: BTreeSet<String>,
}

impl Files {
    /// Notes what is wrong with the files.
    pub(super) fn read(on: &mut Compiler<'_>, raw: BTreeMap<String, String>) -> Files {
        if raw.len() > FILES_MAX {
            on.fault("files:", format!("files: a lesson has at most {FILES_MAX}, not {}", raw.len()));
        }
        for (name, text) in &raw {
            if let Some(what) = odd(name, text) {
                on.fault(&format!("{name}:"), format!("files: {name:?}: {what}"));
            }
        }
        let all = raw.into_iter().map(|(name, text)| File { name, text }).collect();
        Files { all, touched: BTreeSet::new() }
    }

    /// The files, in the order of their names.
    pub(super) fn into_all(self) -> Vec<File> {
        self.all
    }

    /// Returns lines that the teacher, who has no folder, can play: where kubectl reads one of the
    /// files, its text follows. A step whose lines need the shell stays as it is written.
    ///
    /// ```text
    /// kubectl apply -f web.yaml      kubectl apply -f -   kind: Pod   metadata: …   .
    /// sed -i s/a/b/ web.yaml         as it is; from here on the file is the learner's
    /// ```
    ///
    /// Notes a line that reads a file which only the learner's folder has.
    pub(super) fn with_texts(&mut self, on: &mut Compiler<'_>, lines: Vec<String>) -> Vec<String> {
        if self.all.is_empty() {
            return lines;
        }
        let mut shells = commands(&lines);
        shells.retain(|(line, _)| !is_playable(may_fail(line).0));
        if !shells.is_empty() {
            for (line, _) in &shells {
                let named = self.all.iter().filter(|file| line.contains(&file.name));
                self.touched.extend(named.map(|file| file.name.clone()));
            }
            return lines;
        }
        let mut out = Vec::new();
        for line in lines {
            match self.all.iter().find_map(|file| Some((file, reading(&line, &file.name)?))) {
                Some((file, _)) if self.touched.contains(&file.name) => {
                    let what = format!(
                        "{line:?} reads {:?} after a shell line has named it, so the teacher cannot play it; write both lines into one step",
                        file.name
                    );
                    on.fault(&line, what);
                    out.push(line);
                }
                Some((file, reads)) => {
                    out.push(reads);
                    out.extend(file.text.lines().map(String::from));
                    out.push(".".into());
                }
                None => out.push(line),
            }
        }
        out
    }
}

/// The line with `-f -` in place of `-f NAME`; `None` if kubectl does not read this file there.
fn reading(line: &str, name: &str) -> Option<String> {
    let mut words: Vec<&str> = line.split(' ').collect();
    let at = words.windows(2).position(|pair| matches!(pair[0], "-f" | "--filename") && pair[1] == name)?;
    words[at + 1] = "-";
    let reads = words.join(" ");
    (is_plain(may_fail(&reads).0) && reads_manifest(&reads)).then_some(reads)
}

#[cfg(test)]
mod tests {
    use super::super::text::Fault;
    use super::*;
    use std::path::Path;

    fn played(files: &[(&str, &str)], steps: &[&[&str]]) -> (Vec<Vec<String>>, Vec<String>) {
        let raw = files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let mut faults: Vec<Fault> = Vec::new();
        let mut on = Compiler::new("", Path::new("lesson.md"), &mut faults);
        let mut files = Files::read(&mut on, raw);
        let lines = |step: &[&str]| step.iter().map(ToString::to_string).collect::<Vec<_>>();
        let steps = steps.iter().map(|step| files.with_texts(&mut on, lines(step))).collect();
        (steps, faults.into_iter().map(|fault| fault.what).collect())
    }

    const WEB: (&str, &str) = ("web.yaml", "kind: Pod\nmetadata: {name: web}\n");

    #[test]
    fn the_teacher_reads_a_file_of_the_lesson_without_the_folder() {
        let lines: [&[&str]; 2] = [
            &["-kubectl apply -f web.yaml --dry-run=server", "kubectl get pods"],
            &["kubectl logs -f web.yaml"],
        ];
        let (steps, faults) = played(&[WEB], &lines);
        let whole = ["-kubectl apply -f - --dry-run=server", "kind: Pod", "metadata: {name: web}", "."];
        assert_eq!(steps[0].join("\n"), [&whole[..], &["kubectl get pods"]].concat().join("\n"));
        assert_eq!(steps[1], ["kubectl logs -f web.yaml"], "that is a pod");
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn a_file_that_the_learner_changes_is_read_in_the_step_that_changes_it() {
        let changes: &[&str] = &["sed -i s/web/shop/ web.yaml", "kubectl apply -f web.yaml"];
        let (steps, faults) = played(&[WEB], &[changes]);
        assert_eq!((steps[0].join("\n"), faults.len()), (changes.join("\n"), 0));
        let (_, faults) = played(&[WEB], &[changes, &["kubectl apply -f web.yaml"]]);
        assert!(faults.len() == 1 && faults[0].contains("into one step"), "{faults:?}");
    }

    #[test]
    fn a_file_has_a_name_of_its_own_and_a_text_that_can_be_shown() {
        for (name, text) in [
            ("../web.yaml", "a"),
            ("a/b", "a"),
            (".profile", "a"),
            ("-f", "a"),
            ("a.yaml", " \n"),
            ("b.yaml", "a\n.\n"),
        ] {
            let (_, faults) = played(&[(name, text)], &[]);
            assert!(faults.len() == 1 && faults[0].starts_with("files:"), "{name}: {faults:?}");
        }
        assert_eq!(played(&[WEB, ("notes_1.txt", "a")], &[]).1, Vec::<String>::new());
        let names: Vec<String> = (0..=FILES_MAX).map(|n| format!("{n}.txt")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "a")).collect();
        assert!(played(&many, &[]).1 == ["files: a lesson has at most 20, not 21"]);
        assert_eq!(played(&many[1..], &[]).1, Vec::<String>::new());
    }
}
