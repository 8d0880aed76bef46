//! `lesson test`: which lessons are proved.

use crate::named::once;
use crate::words::Word;
use lab::format::{Lesson, Library};
use lang::charset::{eprintln, println};
use std::path::Path;
use ui::prose::harmless;
use ui::texts::Lang;

/// Returns the lessons that `lesson test` shall prove, and prints the faults of the library. With a
/// directory its lessons are meant, and not those that are built in. `None`: the command line names
/// no lesson, or one that cannot be read; the reason is printed.
pub(crate) fn chosen(
    library: &Library,
    lessons: Option<&Path>,
    only: bool,
    ids: &[String],
    all: bool,
    lang: Lang,
) -> Option<Vec<Lesson>> {
    if ids.is_empty() && !all {
        eprintln!("ropewalk: {}", lang.say(Word::NameLessons, &[]));
        return None;
    }
    for fault in &library.faults {
        println!("✗ {}", harmless(&fault.to_string()));
    }
    let is_meant = |lesson: &Lesson| lessons.is_none_or(|folder| only || is_from(library, lesson, folder));
    let mut chosen: Vec<Lesson> = Vec::new();
    for id in ids {
        match library.find(id, None).filter(|lesson| is_meant(lesson)) {
            Some(lesson) => chosen.push(lesson.clone()),
            None => {
                eprintln!("ropewalk: {}", lang.say(Word::NoLesson, &[&format!("{id:?}")]));
                return None;
            }
        }
    }
    if all {
        chosen = library.lessons.iter().filter(|lesson| is_meant(lesson)).cloned().collect();
    }
    Some(once(chosen, |lesson| lesson.id.as_str()))
}

/// True for a lesson of the pack in this folder.
pub(super) fn is_from(library: &Library, lesson: &Lesson, folder: &Path) -> bool {
    library.pack_of(&lesson.id).is_some_and(|pack| pack.folder == folder)
}
