//! One lesson in a directory of its own, for a cluster that needs no other.

use super::lesson::Lesson;
use super::library::{ELSEWHERE, built_in_files};
use super::pack;
use super::text::{Fault, OTHERS};
use super::then::Then;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Writes the files of one lesson, and the sentences of debriefs, to where
/// [`Library::read`](super::Library::read) finds them. A cluster in which one lesson is played need
/// not read and compile all.
///
/// `directory`: where the lesson was read from; none: from the binary or a pack of the home folder.
/// The built-in beats go along, except files of which the directory has a beat of its own.
///
/// # Errors
/// The file that cannot be written, and why.
pub fn write_alone(lesson: &Lesson, directory: Option<&Path>, into: &Path) -> Result<(), Fault> {
    let files = files_beside(lesson, directory);
    let directories: BTreeSet<&Path> = files.keys().filter_map(|path| path.parent()).collect();
    // The lesson may have been read by a relative path, and `directory` may be absolute.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let own = lesson.file.parent().map(absolute);
    for (path, text) in &files {
        let name = path.file_name().unwrap_or_default();
        let is_own = path.parent().map(absolute) == own;
        if !is_own && !name.to_str().is_some_and(|name| name.starts_with("_beats.")) {
            continue;
        }
        // Files of two directories may have the same name.
        let place = directories.iter().position(|d| Some(*d) == path.parent()).unwrap_or_default();
        write(&into.join(place.to_string()).join(name), text)?;
    }
    if let Some(Then::Lab(id)) = &lesson.then {
        // The lesson is read only if it is there.
        let lab = Path::new(pack::LABS).join(id).join("lab.md");
        if let Some((_, text)) = files.iter().find(|(path, _)| path.ends_with(&lab)) {
            write(&into.join(&lab), text)?;
        }
    }
    if !lesson.needs.is_empty() {
        // They are not copied, and were looked up where all lessons are.
        let list: String = lesson.needs.iter().map(|id| format!("- {id:?}\n")).collect();
        write(&into.join(ELSEWHERE), &list)?;
    }
    Ok(())
}

/// Writes a file, and makes its folder.
fn write(file: &Path, text: &str) -> Result<(), Fault> {
    let folder = file.parent().unwrap_or(file);
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(file, text));
    written.map_err(|e| Fault { file: file.into(), line: 1, what: e.to_string() })
}

/// The files among which those of a lesson are, and the sentences that its debriefs may use.
fn files_beside(lesson: &Lesson, directory: Option<&Path>) -> BTreeMap<PathBuf, String> {
    let built_in = built_in_files();
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let file = absolute(&lesson.file);
    let is_in = |folder: &PathBuf| file.starts_with(absolute(folder));
    let folder = directory.map(PathBuf::from).filter(|folder| is_in(folder));
    let of_home = || pack::folders_of_home().into_iter().find(|folder| is_in(folder));
    let Some(folder) = folder.or_else(of_home) else { return built_in };
    let mut files = pack::files_in(&folder).0;
    let is_beats = |path: &Path| path.file_name().is_some_and(|name| name == "_beats.yaml");
    let names = |text: &str| -> BTreeSet<String> {
        let is_sound = api::yaml::judge(text).is_ok();
        let all = is_sound.then(|| serde_yaml::from_str::<BTreeMap<String, serde_yaml::Value>>(text).ok());
        all.flatten().unwrap_or_default().into_keys().collect()
    };
    let own = files.iter().filter(|(path, _)| is_beats(path)).flat_map(|(_, text)| names(text));
    let own: BTreeSet<String> = own.collect();
    for (path, text) in built_in.iter().filter(|(path, _)| is_beats(path)) {
        if !names(text).is_disjoint(&own) {
            continue;
        }
        files.insert(path.clone(), text.clone());
        for lang in OTHERS {
            let other = path.with_file_name(format!("_beats.{lang}.yaml"));
            files.extend(built_in.get(&other).map(|text| (other.clone(), text.clone())));
        }
    }
    files
}
