//! `lesson preview`: a lesson as it reads, again after every change of its files.

use super::show::page;
use crate::words::Word;
use lab::format::{Lesson, Library};
use lang::charset::print;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use ui::lesson::PageStyle;
use ui::prose::harmless;
use ui::terminal;
use ui::texts::{Lang, Say};

/// Pause between two looks at the folder.
const AGAIN: Duration = Duration::from_millis(400);
/// Files that are looked at, at most, and how deep they lie.
const FILES_MAX: usize = 2000;
const DEPTH_MAX: usize = 4;

/// When a file was changed, and how long it is.
type Stamps = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// What is shown, and of which state of the folder.
struct Preview {
    directory: PathBuf,
    /// The lesson that is shown; `None`: the one that was changed last.
    id: Option<String>,
    /// Without the built-in lessons.
    only: bool,
    lang: Lang,
    /// The files when their text was made; `None`: no text was made yet.
    seen: Option<Stamps>,
}

/// Shows the folder's lesson until Ctrl-C.
pub(crate) async fn run(
    directory: PathBuf,
    id: Option<String>,
    only: bool,
    lang: Lang,
) -> anyhow::Result<i32> {
    let stop = linux::signal::stop_requested()?;
    let preview = Preview { directory, id, only, lang, seen: None };
    tokio::select! {
        failed = follow(preview) => failed,
        _ = stop => Ok(0),
    }
}

/// Prints the lesson after each change, until an error.
async fn follow(mut preview: Preview) -> anyhow::Result<i32> {
    loop {
        // Reading compiles every expression, which takes a while.
        let look = tokio::task::spawn_blocking(move || {
            let changed = preview.changed();
            (preview, changed)
        });
        let changed;
        (preview, changed) = look.await?;
        if let Some(text) = changed {
            print!("{}", on_screen(&text, std::io::stdout().is_terminal() && !terminal::dumb()));
            let _ = std::io::stdout().flush(); // if the reader left, the next print fails
        }
        clock::pause(AGAIN).await;
    }
}

/// A text as it is printed: on a screen that can be emptied it stands alone, else below the others.
fn on_screen(text: &str, can_be_emptied: bool) -> String {
    let empty = if can_be_emptied { "\x1b[H\x1b[2J\x1b[3J" } else { "" };
    format!("{empty}{text}")
}

impl Preview {
    /// Returns the text if the files have changed since the last one was made.
    fn changed(&mut self) -> Option<String> {
        let mut stamps = Stamps::new();
        stamp(&self.directory, 0, &mut stamps);
        if self.seen.as_ref() == Some(&stamps) {
            return None;
        }
        let text = self.text(&stamps);
        self.seen = Some(stamps);
        Some(text)
    }

    /// Returns the faults of the folder, the lesson, and a line with the number of faults.
    fn text(&self, stamps: &Stamps) -> String {
        let library = Library::at(Some(&self.directory), self.only);
        let mut out = String::new();
        for fault in &library.faults {
            out.push_str(&format!("✗ {}\n", harmless(&fault.to_string())));
        }
        match (self.lesson(&library, stamps), &self.id) {
            (Some(lesson), _) => out.push_str(&page(&library, lesson, self.lang)),
            (None, Some(id)) => {
                let problem = self.lang.say(Word::NoLesson, &[&format!("{id:?}")]);
                out.push_str(&format!("{problem}\n"));
            }
            // What keeps it from being read stands above.
            (None, None) if !library.faults.is_empty() => {}
            (None, None) => out.push_str(&format!("{}\n", self.lang.say(Say::LessonEmpty, &[]))),
        }
        let line = "─".repeat(PageStyle::for_output(self.lang).width.min(40));
        let faults = library.faults.len().to_string();
        out + &format!("{line}\n{}\n", self.lang.say(Say::PreviewOf, &[&faults]))
    }

    /// Returns the lesson `id`, else the one whose files were changed last.
    fn lesson<'a>(&self, library: &'a Library, stamps: &Stamps) -> Option<&'a Lesson> {
        if let Some(id) = &self.id {
            return library.find(id, None);
        }
        let own = library.lessons.iter().filter(|lesson| lesson.file.starts_with(&self.directory));
        own.max_by_key(|lesson| {
            let folder = lesson.file.parent();
            stamps.iter().filter(|(path, _)| path.parent() == folder).map(|(_, (at, _))| *at).max()
        })
    }
}

/// Notes the files below a folder. A folder that cannot be read is left out here: it is a fault of
/// the library, which is shown.
fn stamp(folder: &Path, depth: usize, stamps: &mut Stamps) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if stamps.len() >= FILES_MAX {
            return;
        }
        // A link is not followed: its target is not the folder's.
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() && depth < DEPTH_MAX {
            stamp(&path, depth + 1, stamps);
        } else if path.extension().is_some_and(|ending| ending == "md" || ending == "yaml") {
            stamps.insert(path, (about.modified().ok(), about.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_knows_no_sequences_gets_none() {
        assert_eq!(on_screen("A pod", false), "A pod");
        assert!(on_screen("A pod", true).ends_with("\x1b[3JA pod"));
    }

    #[test]
    fn a_change_of_a_file_is_shown_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for id in ["harbour/01-first", "harbour/02-second"] {
            crate::lesson::new::new(dir.path(), id, Lang::En).unwrap();
        }
        let directory = dir.path().to_path_buf();
        let mut preview = Preview { directory, id: None, only: false, lang: Lang::En, seen: None };
        let first = preview.changed().expect("the first look");
        assert!(first.contains("faults: 0") && first.contains("Make a ConfigMap named"), "{first}");
        assert_eq!(preview.changed(), None);
        let file = dir.path().join("harbour/01-first/lesson.md");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("title: first", "title: The changed one")).unwrap();
        let later = std::fs::metadata(&file).unwrap().modified().unwrap() + Duration::from_secs(5);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        let second = preview.changed().expect("it has changed");
        assert!(second.contains("harbour/01 The changed one"), "{second}");
        std::fs::write(&file, text.replace("  - id: make", "  - idd: make")).unwrap();
        let broken = preview.changed().expect("it has changed");
        assert!(broken.contains("lesson.md:") && broken.contains("unknown key \"idd\""), "{broken}");
        assert!(broken.contains("faults: 1"), "{broken}");
        let mut korean = Preview { lang: Lang::Ko, id: Some("harbour/02".into()), seen: None, ..preview };
        assert!(korean.changed().is_some_and(|text| text.contains("컨피그맵을 만들어")));
        let id = Some("harbour/09".to_string());
        let mut absent = Preview { lang: Lang::En, id, seen: None, ..korean };
        let text = absent.changed().expect("the first look");
        assert!(text.contains("there is no lesson \"harbour/09\" that can be read"), "{text}");
        assert!(!text.contains("no lessons here"), "{text}");
    }
}
