//! `lesson new`: the template of a lesson, and how the folders of lessons are named.

use crate::codes::USAGE;
use crate::paths::quote;
use crate::words::Word;
use anyhow::Context;
use lab::format::pack;
use lang::charset::{eprintln, println};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use ui::texts::{Lang, Say};

/// Parses `TRACK/NN-name` into the track, the number and the name of a lesson.
pub(super) fn parse_id(id: &str) -> Option<(&str, u32, &str)> {
    let (track, rest) = id.split_once('/')?;
    let (number, name) = rest.split_once('-')?;
    let order: u32 = number.parse().ok()?;
    let is_word = |text: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let ends = text.starts_with('-') || text.ends_with('-');
        !text.is_empty() && !ends && text.chars().all(plain)
    };
    let is_number = number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit());
    (is_number && is_word(name) && is_word(track)).then_some((track, order, name))
}

/// Returns the folder of a lesson that has this number in this track already. A second one would
/// have the same id, and neither could be read.
pub(super) fn folder_with_number(directory: &Path, track: &str, order: u32) -> Option<PathBuf> {
    let prefix = format!("{order:02}-");
    let entries = std::fs::read_dir(directory.join(track)).ok()?;
    let is_meant = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(&prefix);
    entries.flatten().find(is_meant).map(|entry| entry.path())
}

/// Writes a lesson that loads and can be proved, with a remark at every key. A directory that is
/// new or empty gets a `pack.yaml`, too.
///
/// # Errors
/// A folder or file cannot be made; the error names it.
pub(crate) fn new(directory: &Path, id: &str, lang: Lang) -> anyhow::Result<i32> {
    let Some((track, order, name)) = parse_id(id) else {
        eprintln!("ropewalk: {}", lang.say(Say::LessonName, &[]));
        return Ok(USAGE);
    };
    let is_empty = std::fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none());
    let place = directory.join(track).join(format!("{order:02}-{name}"));
    let title = name.replace('-', " ");
    let files = [("lesson.md", TEMPLATE), ("lesson.ko.md", TEMPLATE_KO)];
    let written = files.iter().map(|(file, _)| place.join(file)).find(|path| path.exists());
    let other = folder_with_number(directory, track, order).filter(|folder| *folder != place);
    if let Some(there) = written.or(other) {
        eprintln!("ropewalk: {}", lang.say(Say::RecordThere, &[&there.display().to_string()]));
        return Ok(1);
    }
    if is_empty {
        let path = directory.join(pack::FILE);
        write(&path, &PACK.replace("TRACK", track))?;
        println!("{}", path.display());
    }
    for (file, template) in files {
        let path = place.join(file);
        let text = template
            .replace("TRACK", track)
            .replace("ORDER", &order.to_string())
            .replace("NN", &format!("{order:02}"))
            .replace("TITLE", &title);
        write(&path, &text)?;
        println!("{}", path.display());
    }
    let prove = format!("ropewalk lesson test {track}/{order:02} --lessons {}", quote(directory));
    println!("{}", lang.say(Word::ProveIt, &[&prove]));
    Ok(0)
}

/// Writes a new file, and makes its folder if there is none. A file that is there is never written
/// to: it may be in a folder that cannot be listed, or the target of a link.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let opened = made.and_then(|()| OpenOptions::new().write(true).create_new(true).open(path));
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| path.display().to_string())
}

const TEMPLATE: &str = include_str!("template.md");
const TEMPLATE_KO: &str = include_str!("template.ko.md");
const PACK: &str = include_str!("pack_template.yaml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lesson::prove::is_from;
    use crate::lesson::show::page;
    use lab::format::Library;
    use std::sync::Arc;

    #[test]
    fn the_template_is_a_sound_lesson() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(new(dir.path(), "harbour/13-a-new-one", Lang::En).unwrap(), 0);
        let library = Arc::new(Library::read(dir.path()));
        assert_eq!(library.faults, []);
        assert_eq!((library.lessons[0].id.as_str(), library.lessons[0].languages.len()), ("harbour/13", 2));
        assert_eq!(
            new(dir.path(), "harbour/13-a-new-one", Lang::En).unwrap(),
            1,
            "an author's work is not overwritten"
        );
        for nonsense in [
            "nonsense",
            "../13-up",
            "a/13-../../b",
            "a/13-b/c",
            "a/+1-b",
            "a/13-x: y",
            "A/13-b",
            "-/13-b",
            "a/13--",
        ] {
            assert_eq!(new(dir.path(), nonsense, Lang::Ko).unwrap(), USAGE, "{nonsense}");
        }
        assert_eq!(new(dir.path(), "harbour/13-another", Lang::Ko).unwrap(), 1);
        assert!(!dir.path().join("harbour/13-another").exists(), "two lessons would be harbour/13");
        let merged = Library::at(Some(dir.path()), false);
        assert_eq!(merged.faults, []);
        let pack = merged.pack_of("harbour/13").expect("it has a pack.yaml");
        assert_eq!((pack.version.as_str(), pack.tracks.contains_key("harbour")), ("0.1", true));
        let lesson = merged.get("harbour/13").unwrap();
        assert!(is_from(&merged, lesson, dir.path()) && !is_from(&merged, &merged.lessons[0], dir.path()));
        assert!(page(&merged, lesson, Lang::En).contains("\npack: My lessons 0.1, by Your name\n"));
        // Only the translation is there: nothing is written beside it.
        let half = dir.path().join("first-voyage/14-half");
        std::fs::create_dir_all(&half).unwrap();
        std::fs::write(half.join("lesson.ko.md"), "").unwrap();
        assert_eq!(new(dir.path(), "first-voyage/14-half", Lang::En).unwrap(), 1);
        assert!(!half.join("lesson.md").exists());
    }

    #[test]
    fn a_template_is_not_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (lessons, elsewhere) = (dir.path().join("lessons"), dir.path().join("elsewhere.md"));
        let folder = lessons.join("harbour/01-first");
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.join("lesson.md")).unwrap();
        let error = new(&lessons, "harbour/01-first", Lang::En).unwrap_err();
        assert!(format!("{error:#}").contains("harbour/01-first/lesson.md: "), "{error:#}");
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_lesson_that_cannot_be_written_is_refused_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a file");
        std::fs::write(&file, "").unwrap();
        let error = new(&file, "harbour/01-first", Lang::En).unwrap_err();
        assert!(format!("{error:#}").contains("a file/pack.yaml: "), "{error:#}");
        std::fs::write(dir.path().join("harbour"), "").unwrap();
        let error = new(dir.path(), "harbour/01-first", Lang::En).unwrap_err();
        assert!(format!("{error:#}").contains("harbour/01-first/lesson.md: "), "{error:#}");
    }
}
