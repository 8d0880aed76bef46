//! `lesson record`: what a teacher does once in a session becomes the draft of a lesson.

use super::new::{folder_with_number, parse_id};
use crate::codes::USAGE;
use crate::words::Word;
use lab::format::Library;
use lab::format::draft::{self, Draft, Named, OPEN};
use lang::charset::{eprintln, harmless_lines, println};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ui::options::Options;
use ui::prose::harmless;
use ui::record::Tape;
use ui::repl;
use ui::texts::{Lang, Say};

/// Records a session on the cluster `name`, and writes the draft below `directory`. Exit code 0:
/// the draft is written and can be read.
pub(crate) async fn run(directory: &Path, id: &str, name: &str, lang: Lang) -> anyhow::Result<i32> {
    let Some((track, order, word)) = parse_id(id) else {
        eprintln!("ropewalk: {}", lang.say(Say::LessonName, &[]));
        return Ok(USAGE);
    };
    // The session follows its shell into other directories, and the process goes with it.
    let directory = &std::path::absolute(directory)?;
    if let Some(other) = folder_with_number(directory, track, order) {
        eprintln!("ropewalk: {}", lang.say(Say::RecordThere, &[&other.display().to_string()]));
        return Ok(1);
    }
    let folder = directory.join(track).join(format!("{order:02}-{word}"));
    println!("{}", lang.say(Say::RecordBegins, &[&folder.display().to_string()]));
    let tape = Arc::new(Tape::default());
    let options = Options {
        name: name.into(),
        lang: Some(lang),
        plain: true,
        record: Some(tape.clone()),
        ..Options::default()
    };
    let ended = repl::run(options).await;
    let title = word.replace('-', " ");
    let draft = draft::draft(Named { track, order, title: &title }, &tape.acts());
    let spare = std::env::temp_dir().join(format!("ropewalk-draft-{}", std::process::id()));
    keep(draft, directory, [&folder, &spare], ended, lang, &mut io::stdout())
}

/// Writes the draft of a session that has ended, also with an error, which must not cost the
/// teacher the work. A line that failed is in the draft, so the session's exit code says nothing.
///
/// Where the folder cannot be made or written to, the draft goes to the spare one for temporary
/// files, and where that fails, too, as on a full disk, to `output`; both with exit code 1.
///
/// # Errors
/// The session's own error, after the draft is written.
fn keep(
    draft: Option<Draft>,
    directory: &Path,
    [folder, spare]: [&Path; 2],
    ended: Result<i32, ui::Error>,
    lang: Lang,
    output: &mut dyn Write,
) -> anyhow::Result<i32> {
    let Some(draft) = draft else {
        ended?;
        eprintln!("ropewalk: {}", lang.say(Say::RecordNothing, &[]));
        return Ok(1);
    };
    let files = [("lesson.md", draft.english.as_str()), ("lesson.ko.md", draft.korean.as_str())];
    let (paths, failed) = match write_or_spare(folder, spare, &files) {
        Ok(written) => written,
        Err([first, second]) => {
            let written = output.write_all(as_text(&files).as_bytes()).and_then(|()| output.flush());
            let place = |folder: &Path, error: io::Error| format!("{} ({error})", folder.display());
            let [first, second] = [place(folder, first), place(spare, second)];
            let problem = match written {
                Ok(()) => lang.say(Word::DraftShown, &[&first, &second]),
                Err(error) => lang.say(Word::DraftLost, &[&first, &second, &error.to_string()]),
            };
            eprintln!("ropewalk: {problem}");
            ended?;
            return Ok(1);
        }
    };
    for path in paths {
        println!("{}", path.display());
    }
    let open = files.iter().map(|(_, text)| text.matches(OPEN).count()).sum::<usize>();
    println!("{}", lang.say(Say::Recorded, &[&draft.steps.to_string(), &open.to_string(), OPEN]));
    if let Some(error) = failed {
        let with = [folder.display().to_string(), error.to_string()];
        eprintln!("ropewalk: {}", lang.say(Word::DraftElsewhere, &with.each_ref().map(String::as_str)));
        ended?;
        return Ok(1);
    }
    ended?;
    Ok(judge(directory, folder))
}

/// Reads the draft as `lesson test --dry-run` does, and prints what is wrong with it.
fn judge(directory: &Path, folder: &Path) -> i32 {
    let library = Library::at(Some(directory), false);
    let own: Vec<_> = library.faults.iter().filter(|fault| fault.file.starts_with(folder)).collect();
    own.iter().for_each(|fault| println!("✗ {}", harmless(&fault.to_string())));
    if own.is_empty() { 0 } else { 1 }
}

/// Returns files as one text, each below its name.
fn as_text(files: &[(&str, &str)]) -> String {
    files.iter().map(|(name, text)| format!("── {name} ──\n{}\n", harmless_lines((*text).into()))).collect()
}

/// Writes files as [`write_new`] does, into `spare` if `folder` fails. Returns their paths, and why
/// `folder` has failed.
///
/// # Errors
/// Both have failed: why each of them has.
fn write_or_spare(
    folder: &Path,
    spare: &Path,
    files: &[(&str, &str)],
) -> Result<(Vec<PathBuf>, Option<io::Error>), [io::Error; 2]> {
    match write_new(folder, files) {
        Ok(paths) => Ok((paths, None)),
        Err(first) => match write_new(spare, files) {
            Ok(paths) => Ok((paths, Some(first))),
            Err(second) => Err([first, second]),
        },
    }
}

/// Writes files into a folder that must not be there yet, and returns their paths.
fn write_new(folder: &Path, files: &[(&str, &str)]) -> io::Result<Vec<PathBuf>> {
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above)?;
    }
    DirBuilder::new().create(folder)?; // it may have been made since the recording began
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        OpenOptions::new().write(true).create_new(true).open(&path)?.write_all(text.as_bytes())?;
        paths.push(path);
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::format::draft::Act;

    #[test]
    fn a_draft_is_written_once_and_passes() {
        let dir = tempfile::tempdir().unwrap();
        let act = Act { line: "kubectl get pods".into(), ..Act::default() };
        let named = Named { track: "harbour", order: 3, title: "a shop" };
        let draft = draft::draft(named, &[act]).unwrap();
        let files = [("lesson.md", draft.english.as_str()), ("lesson.ko.md", draft.korean.as_str())];
        let folder = dir.path().join("harbour/03-a-shop");
        assert_eq!(write_new(&folder, &files).unwrap().len(), 2);
        assert_eq!(judge(dir.path(), &folder), 0);
        let again = write_new(&folder, &[("lesson.md", "")]).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(folder.join("lesson.md")).unwrap(), draft.english);
    }

    #[test]
    fn what_was_recorded_is_kept_when_the_session_ends_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let act = Act { line: "kubectl get pods".into(), ..Act::default() };
        let named = Named { track: "harbour", order: 3, title: "a shop" };
        let (folder, spare) = (dir.path().join("harbour/03-a-shop"), dir.path().join("spare"));
        let draft = draft::draft(named, &[act]);
        let keep =
            |draft, ended| keep(draft, dir.path(), [&folder, &spare], ended, Lang::En, &mut io::sink());
        assert!(keep(draft, Err(ui::Error::Panicked)).is_err());
        assert!(folder.join("lesson.md").exists() && folder.join("lesson.ko.md").exists());
        assert!(keep(None, Err(ui::Error::Panicked)).is_err());
        assert_eq!(keep(None, Ok(0)).unwrap(), 1, "nothing was done");
    }

    /// The lessons and the temporary files lie on one disk, and it is full.
    #[test]
    fn a_draft_that_can_be_written_nowhere_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a file");
        std::fs::write(&file, "").unwrap();
        let (folder, spare) = (file.join("harbour/03-a-shop"), file.join("spare"));
        let act = || Act { line: "kubectl get pods".into(), ..Act::default() };
        let named = || Named { track: "harbour", order: 3, title: "a shop" };
        let keep = |ended, output: &mut dyn Write| {
            keep(draft::draft(named(), &[act()]), dir.path(), [&folder, &spare], ended, Lang::En, output)
        };
        let mut output = Vec::<u8>::new();
        assert_eq!(keep(Ok(0), &mut output).unwrap(), 1);
        assert!(String::from_utf8(output).unwrap().contains("kubectl get pods"));
        // Standard output is on the full disk, too: that must not hide how the session ended.
        let mut full: &mut [u8] = &mut [0; 4];
        assert_eq!(keep(Ok(0), &mut full).unwrap(), 1);
        assert!(keep(Err(ui::Error::Panicked), &mut full).is_err());
        let text = as_text(&[("lesson.md", "english\n\u{1b}[2J"), ("lesson.ko.md", "korean")]);
        assert_eq!(text, "── lesson.md ──\nenglish\n[2J\n── lesson.ko.md ──\nkorean\n");
    }

    /// An hour of a teacher's work, and the folder was made read-only meanwhile.
    #[test]
    fn a_draft_whose_folder_cannot_be_made_is_kept_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("harbour"), "a file").unwrap();
        let (folder, spare) = (dir.path().join("harbour/03-a-shop"), dir.path().join("spare"));
        let files = [("lesson.md", "english"), ("lesson.ko.md", "korean")];
        let (paths, failed) = write_or_spare(&folder, &spare, &files).unwrap();
        assert_eq!(paths, [spare.join("lesson.md"), spare.join("lesson.ko.md")]);
        assert!(failed.is_some());
        assert_eq!(std::fs::read_to_string(&paths[1]).unwrap(), "korean");
        assert!(write_or_spare(&folder, &spare, &files).is_err(), "a draft of before is not overwritten");
    }

    #[tokio::test]
    async fn nothing_is_recorded_over_a_lesson() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("harbour/03-a-shop")).unwrap();
        assert_eq!(run(dir.path(), "harbour/03-a-shop", "main", Lang::En).await.unwrap(), 1);
        assert_eq!(run(dir.path(), "harbour/03-another", "main", Lang::En).await.unwrap(), 1);
        assert!(!dir.path().join("harbour/03-another").exists(), "two lessons would be harbour/03");
        assert_eq!(run(dir.path(), "../03-a-shop", "main", Lang::Ko).await.unwrap(), USAGE);
    }
}
