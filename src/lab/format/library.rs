//! All lessons: those in the binary, and those of packs beside them.

use super::lesson::Lesson;
use super::pack::{self, Pack};
use super::raw;
use super::sentences::Sentences;
use super::terms::Terms;
use super::text::{Fault, OTHERS};
use super::track::parse;
use super::{sentences, terms};
use crate::debrief;
use include_dir::{Dir, include_dir};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

pub use super::alone::write_alone;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../lessons");

/// The variable that names a directory of lessons, a pack, to read beside those in the binary.
pub const DIRECTORY: &str = "ROPEWALK_LESSONS";

/// The variable that, if it is set, leaves out all lessons but those of [`DIRECTORY`].
pub const ONLY: &str = "ROPEWALK_LESSONS_ONLY";

/// The directory that the environment names.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).filter(|d| !d.is_empty()).map(PathBuf::from)
}

/// Returns whether the environment leaves out all lessons but those of [`directory`].
pub(crate) fn is_only() -> bool {
    std::env::var_os(ONLY).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Lessons in order, and what is wrong with those that could not be read.
#[derive(Clone, Debug, Default)]
pub struct Library {
    /// Track by track, and in each by their order.
    pub lessons: Vec<Lesson>,
    /// The packs that were read beside the built-in lessons.
    pub packs: Vec<Pack>,
    pub(crate) beats: Sentences,
    /// Where each beat stands: the file, and the line there.
    pub(crate) beat_places: BTreeMap<String, (PathBuf, usize)>,
    /// The glossary.
    pub terms: Terms,
    /// Of files that were left out, and of names that nothing has.
    pub faults: Vec<Fault>,
    /// Lessons that are not here and may be needed: see [`write_alone`].
    pub(crate) elsewhere: BTreeSet<String>,
}

/// The file in which [`write_alone`] notes what its lesson needs.
pub(super) const ELSEWHERE: &str = "_elsewhere.yaml";

impl Library {
    /// The built-in lessons with the packs of the home folder and the one that the environment
    /// names, read anew; without packs, [`Library::built_in`].
    pub fn load() -> Arc<Library> {
        Library::at(None, false)
    }

    /// Returns whether [`Library::load`] reads more than the lessons in the binary. It reads none.
    pub(crate) fn has_packs() -> bool {
        directory().is_some() || !pack::folders_of_home().is_empty()
    }

    /// Reads as [`Library::load`], with this pack instead of the one that the environment names.
    /// `only`: its lessons alone.
    pub fn at(given: Option<&Path>, only: bool) -> Arc<Library> {
        match (given, directory()) {
            (Some(given), _) if only => Library::read(given).into(),
            (Some(given), _) => Library::with_packs(pack::folders_of_home(), Some(given)),
            (None, Some(named)) if is_only() => Library::read(&named).into(),
            (None, named) => Library::with_packs(pack::folders_of_home(), named.as_deref()),
        }
    }

    /// The built-in lessons and these packs. What is wrong with a pack is among the faults, and
    /// takes nothing from the lessons that are built in.
    pub(super) fn with_packs(packs: Vec<PathBuf>, named: Option<&Path>) -> Arc<Library> {
        if packs.is_empty() && named.is_none() {
            return Library::built_in();
        }
        let mut library = Arc::unwrap_or_clone(Library::built_in());
        for folder in packs {
            library.add_pack(&folder);
        }
        if let Some(folder) = named {
            let before = (library.lessons.len(), library.faults.len());
            library.add_pack(folder);
            if before == (library.lessons.len(), library.faults.len()) && !folder.join(pack::LABS).is_dir() {
                library.faults.push(none_here(folder));
            }
        }
        library.sort();
        library.check();
        library.into()
    }

    /// Adds the lessons, beats and terms of a pack. One that is there already stays as it is: the
    /// pack's is left out, and a fault names both files.
    fn add_pack(&mut self, folder: &Path) {
        let (mut files, faults) = pack::files_in(folder);
        self.faults.extend(faults);
        let mut pack = match pack::read(folder, &files) {
            Ok(pack) => pack,
            Err(faults) => return self.faults.extend(faults),
        };
        self.faults.extend(pack::take_harmful(&mut files));
        let other = Library::gathered(&files);
        self.faults.extend(other.faults);
        for lesson in other.lessons {
            if let Some(first) = self.get(&lesson.id) {
                let line = files.get(&lesson.file).map_or(1, |text| pack::line_of(text, "id"));
                let first = first.file.display();
                let what = format!("the lesson {:?} is already in {first}; give it another id", lesson.id);
                self.faults.push(Fault { file: lesson.file, line, what });
                continue;
            }
            pack.lessons.insert(lesson.id.clone());
            self.lessons.push(lesson);
        }
        let doubles = self.add_sentences(other.beats, &other.beat_places);
        self.faults.extend(doubles);
        self.faults.extend(self.terms.extend(other.terms));
        self.packs.push(pack);
    }

    /// Adds beats that are not there yet; the others are returned as faults.
    fn add_sentences(&mut self, beats: Sentences, places: &BTreeMap<String, (PathBuf, usize)>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (name, beat) in beats {
            let (file, line) = places.get(&name).cloned().unwrap_or_default();
            match self.beat_places.get(&name) {
                Some((first, at)) => {
                    let what = format!("the beat {name:?} is already in {}:{at}", first.display());
                    faults.push(Fault { file, line, what });
                }
                None => {
                    self.beat_places.insert(name.clone(), (file, line));
                    self.beats.insert(name, beat);
                }
            }
        }
        faults
    }

    /// The pack that a lesson is from; `None` for a lesson that is built in.
    pub fn pack_of(&self, id: &str) -> Option<&Pack> {
        self.packs.iter().find(|pack| pack.lessons.contains(id))
    }

    /// Those in the binary. A process reads them once, when it first needs them: that takes as long
    /// as half the start of a cluster.
    pub fn built_in() -> Arc<Library> {
        static READ: LazyLock<Arc<Library>> = LazyLock::new(|| Library::of(&built_in_files()).into());
        READ.clone()
    }

    /// From a directory laid out as `TRACK/NN-name/lesson.md`, and nothing else.
    pub fn read(directory: &Path) -> Library {
        let (mut files, mut faults) = pack::files_in(directory);
        // Also a directory that is read alone may be a stranger's.
        faults.extend(pack::take_harmful(&mut files));
        if files.is_empty() && faults.is_empty() {
            faults.push(none_here(directory));
        }
        let mut library = Library::of(&files);
        library.faults.extend(faults);
        match pack::read(directory, &files) {
            Ok(mut pack) if files.contains_key(&directory.join(pack::FILE)) => {
                pack.lessons = library.lessons.iter().map(|lesson| lesson.id.clone()).collect();
                library.packs.push(pack);
            }
            Ok(_) => {}
            Err(faults) => library.faults.extend(faults),
        }
        library
    }

    fn of(files: &BTreeMap<PathBuf, String>) -> Library {
        let mut library = Library::gathered(files);
        library.sort();
        library.check();
        library
    }

    fn sort(&mut self) {
        self.lessons.sort_by_key(|l| (track_order(&l.track), l.track.clone(), l.order));
    }

    /// What stands in the files, without a look at whether it fits together.
    fn gathered(files: &BTreeMap<PathBuf, String>) -> Library {
        let mut library = Library::default();
        let beside = |file: &'_ Path, stem: &str, ending: &str| -> Vec<(&'static str, &str, PathBuf)> {
            let other = |lang: &&'static str| {
                let path = file.with_file_name(format!("{stem}.{lang}.{ending}"));
                files.get(&path).map(|text| (*lang, text.as_str(), path))
            };
            OTHERS.iter().filter_map(other).collect()
        };
        for (file, text) in files {
            let Some(name) = file.file_name().and_then(|n| n.to_str()) else { continue };
            let Some((stem, ending)) = name.split_once('.') else { continue };
            let others = beside(file, stem, ending);
            let others: Vec<_> =
                others.iter().map(|(lang, text, path)| (*lang, *text, path.as_path())).collect();
            let read = match name {
                "lesson.md" => parse(text, file, &others).map(|lesson| library.lessons.push(lesson)),
                "_beats.yaml" => sentences::parse(text, file, &others).and_then(|beats| {
                    let lines = raw::key_lines(text);
                    let line = |name: &String| lines.get(name.as_str()).copied().unwrap_or(1);
                    let place = |name: &String| (file.clone(), line(name));
                    let places = beats.keys().map(|name| (name.clone(), place(name)));
                    let places: BTreeMap<_, _> = places.collect();
                    let doubles = library.add_sentences(beats, &places);
                    if doubles.is_empty() { Ok(()) } else { Err(doubles) }
                }),
                "_terms.yaml" => terms::parse(text, file, &others).and_then(|terms| {
                    let doubles = library.terms.extend(terms);
                    if doubles.is_empty() { Ok(()) } else { Err(doubles) }
                }),
                ELSEWHERE => {
                    let ids = raw::read::<Vec<String>>(text, file, 1);
                    ids.map(|ids| library.elsewhere.extend(ids)).map_err(|fault| vec![fault])
                }
                _ => Ok(()),
            };
            library.faults.extend(read.err().into_iter().flatten());
        }
        library
    }

    /// What only shows when all are there.
    fn check(&mut self) {
        let ids: Vec<String> = self.lessons.iter().map(|l| l.id.clone()).collect();
        // Also a pack that is read alone may name the lessons in the binary.
        let known: Vec<String> = ids.iter().cloned().chain(built_in_ids()).collect();
        self.faults.extend(self.terms.faults(&known));
        let is_known = |id: &String| known.contains(id) || self.elsewhere.contains(id);
        for lesson in &self.lessons {
            let mut fault =
                |what: String| self.faults.push(Fault { file: lesson.file.clone(), line: 1, what });
            if ids.iter().filter(|id| **id == lesson.id).count() > 1 {
                fault(format!("two lessons have the id {:?}", lesson.id));
            }
            if lesson.needs.contains(&lesson.id) {
                fault(format!("needs: {:?} is the lesson itself", lesson.id));
            }
            for unknown in lesson.needs.iter().filter(|id| !is_known(id)) {
                fault(format!("needs: there is no lesson {unknown:?}; `lesson list` shows their ids"));
            }
            for step in &lesson.steps {
                let named = step.debrief.iter().flat_map(|entry| debrief::alternatives(entry));
                for beat in named.filter(|b| *b != debrief::PREDICTED && !self.beats.contains_key(*b)) {
                    fault(format!("step {:?}: there is no beat {beat:?} in _beats.yaml", step.id));
                }
            }
        }
    }

    /// The lesson with this whole id, e.g. `first-voyage/04-run-a-pod`.
    pub fn get(&self, id: &str) -> Option<&Lesson> {
        self.lessons.iter().find(|l| l.id == id)
    }

    /// The lesson that a person means: `first-voyage/04`, `first-voyage/04-run-a-pod`, `04` or `4`
    /// in the track they are in.
    pub fn find(&self, word: &str, track: Option<&str>) -> Option<&Lesson> {
        if let Some(lesson) = self.get(word) {
            return Some(lesson);
        }
        let (track, rest) = self.track_and_name(word, track)?;
        let number = number_of(rest)?;
        self.lessons.iter().find(|l| l.track == track && l.order == number)
    }

    /// Returns the first fault of a lesson that could not be read: its folder is `TRACK/NN-name`,
    /// and the word that means it is as for [`Library::find`].
    pub(crate) fn fault_of(&self, word: &str, track: Option<&str>) -> Option<&Fault> {
        let (track, rest) = self.track_and_name(word, track)?;
        let number = number_of(rest);
        self.faults.iter().find(|fault| {
            let mut above = fault.file.ancestors().skip(1).map(|folder| folder.file_name()?.to_str());
            let (name, of) = (above.next().flatten(), above.next().flatten());
            let is_named = |name: &str| name == rest || number.is_some() && number_of(name) == number;
            of == Some(track) && name.is_some_and(is_named)
        })
    }

    /// Splits a word that means a lesson. A word without a track is of the track given, or of the
    /// first one.
    fn track_and_name<'a>(&'a self, word: &'a str, track: Option<&'a str>) -> Option<(&'a str, &'a str)> {
        let first = || self.lessons.first().map(|lesson| lesson.track.as_str());
        word.split_once('/').or_else(|| Some((track.or_else(first)?, word)))
    }

    /// The lesson after this one in its track, or the first of the next track.
    pub fn after(&self, id: &str) -> Option<&Lesson> {
        let at = self.lessons.iter().position(|l| l.id == id)?;
        self.lessons.get(at + 1)
    }
}

/// The number that begins the name of a lesson's folder: 4 of `04-run-a-pod` and of `04`.
fn number_of(name: &str) -> Option<u32> {
    name.split('-').next()?.parse().ok()
}

fn none_here(directory: &Path) -> Fault {
    Fault { file: directory.into(), line: 1, what: "there are no lessons here".into() }
}

/// The ids of the lessons in the binary, from the names of their folders: `TRACK/NN-name`. A pack
/// may build on them.
fn built_in_ids() -> BTreeSet<String> {
    let folders = BUILT_IN.dirs().flat_map(Dir::dirs).filter_map(|dir| dir.path().to_str());
    let id = |folder: &str| {
        let (track, name) = folder.split_once('/')?;
        Some(format!("{track}/{}", name.split('-').next()?))
    };
    folders.filter_map(id).collect()
}

/// Tracks in the order in which they are learnt; others follow by name.
fn track_order(track: &str) -> usize {
    let known = ["first-voyage", "control-tower", "hard-way", "operations"];
    known.iter().position(|t| *t == track).unwrap_or(known.len())
}

/// The files of the lessons in the binary, below `lessons`.
pub(super) fn built_in_files() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    gather(&BUILT_IN, &mut files);
    files
}

fn gather(dir: &Dir<'_>, into: &mut BTreeMap<PathBuf, String>) {
    for file in dir.files() {
        if let Some(text) = file.contents_utf8() {
            into.insert(Path::new("lessons").join(file.path()), text.into());
        }
    }
    dir.dirs().for_each(|d| gather(d, into));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesson_alone_is_the_same_lesson() {
        let (library, place) = (Library::built_in(), tempfile::tempdir().unwrap());
        let (lesson, into) = (library.get("control-tower/05").unwrap(), place.path().join("one"));
        write_alone(lesson, None, &into).unwrap();
        let alone = Library::read(&into);
        assert_eq!(alone.faults, []);
        let [found] = alone.lessons.as_slice() else { panic!("{} lessons", alone.lessons.len()) };
        let same = |l: &Lesson| (l.id.clone(), l.steps.len(), l.languages.clone(), format!("{:?}", l.title));
        assert_eq!(same(found), same(lesson));
        assert_eq!(alone.beats.len(), library.beats.len());
        let again = place.path().join("again");
        write_alone(found, Some(&into), &again).unwrap();
        assert_eq!(Library::read(&again).lessons.len(), 1);
    }

    /// `lesson test --lessons lessons` reads the lessons by that relative path, and copies the
    /// lesson from the absolute one.
    #[test]
    fn a_lesson_alone_may_be_copied_from_the_absolute_path() {
        let (directory, place) = (Path::new("../../lessons"), tempfile::tempdir().unwrap());
        let library = Library::read(directory);
        let lesson = library.get("first-voyage/04").unwrap();
        let absolute = std::path::absolute(directory).unwrap();
        write_alone(lesson, Some(&absolute), place.path()).unwrap();
        assert_eq!(Library::read(place.path()).lessons.len(), 1);
    }

    /// What a lesson prints in bold, `what` explains, in each language.
    #[test]
    fn every_bold_word_of_a_lesson_is_in_the_glossary() {
        let (files, library) = (built_in_files(), Library::built_in());
        let is_lesson =
            |path: &Path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with("lesson"));
        let (mut seen, mut missing) = (0, Vec::new());
        for (path, text) in files.iter().filter(|(path, _)| is_lesson(path)) {
            for word in text.split("**").skip(1).step_by(2) {
                seen += 1;
                if ["You can now", "이제"].iter().any(|opening| word.starts_with(opening)) {
                    continue;
                }
                // In Korean the English word stands behind the Korean one, in brackets.
                let words = word.split(['(', ')']).filter(|part| !part.is_empty());
                let unknown = words.filter(|word| library.terms.find(word).is_none());
                missing.extend(unknown.map(|word| format!("{}: {word}", path.display())));
            }
        }
        assert!(seen > 100, "{seen}");
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn a_directory_of_lessons_is_read_and_searched() {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
        assert_eq!(library.lessons.len(), 1, "{:?}", library.faults);
        for word in ["first-voyage/04", "first-voyage/04-run-a-pod", "first-voyage/4", "04", "4"] {
            assert!(library.find(word, None).is_some(), "{word}");
        }
        assert!(library.find("05", None).is_none() && library.after("first-voyage/04").is_none());
        // The example's beats `scheduled` and `started` are not among the two that are written out.
        assert!(library.faults.iter().any(|f| f.what.contains("no beat \"scheduled\"")));
    }

    /// `harbour/1` is not `harbour/10`, and the folder of a pack may have any name.
    #[test]
    fn the_fault_of_a_lesson_is_not_that_of_another_one() {
        let fault = |file: &str| Fault { file: file.into(), line: 1, what: file.into() };
        let files = ["2/harbour/10-config/lesson.md", "2/harbour/03-end/lesson.ko.md", "2/_beats.yaml"];
        let library = Library { faults: files.map(fault).into(), ..Library::default() };
        let of = |word: &str| library.fault_of(word, Some("harbour")).map(|fault| fault.what.clone());
        for word in ["harbour/10", "harbour/10-config", "10"] {
            assert_eq!(of(word).as_deref(), Some(files[0]), "{word}");
        }
        assert_eq!(of("3").as_deref(), Some(files[1]));
        for word in ["harbour/1", "1", "2", "sea/10", "harbour", "beats", "lesson", ""] {
            assert_eq!(of(word), None, "{word}");
        }
    }

    #[test]
    fn a_beat_of_two_files_is_told() {
        let text = "healed:\n  say: It is healed.\n".to_string();
        let korean = "healed: 나았습니다.\n".to_string();
        let files = ["a", "b"].into_iter().flat_map(|dir| {
            let path = |name: &str| PathBuf::from(format!("{dir}/{name}"));
            [(path("_beats.yaml"), text.clone()), (path("_beats.ko.yaml"), korean.clone())]
        });
        let faults: Vec<String> =
            Library::of(&files.collect()).faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["b/_beats.yaml:1: the beat \"healed\" is already in a/_beats.yaml:1"]);
    }

    /// What a lesson needs is another one, and in this program it is there.
    #[test]
    fn lessons_need_others() {
        let mut library = Arc::unwrap_or_clone(Library::built_in());
        let known: Vec<String> = library.lessons.iter().map(|lesson| lesson.id.clone()).collect();
        let needs = library.lessons.iter().flat_map(|lesson| &lesson.needs);
        let unknown: Vec<&String> = needs.filter(|need| !known.contains(need)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let id = library.lessons[1].id.clone();
        library.lessons[1].needs.push(id);
        library.check();
        assert!(library.faults.iter().any(|fault| fault.what.contains("is the lesson itself")));
    }

    #[test]
    fn a_need_is_a_lesson_that_is_here_or_in_the_binary() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let of_needs = |library: &Library| -> Vec<String> {
            let all = library.faults.iter().map(ToString::to_string);
            all.filter(|fault| fault.contains("needs:")).collect()
        };
        let mut library = Library::read(&fixtures);
        assert_eq!(library.lessons[0].needs, ["first-voyage/03"]);
        assert_eq!(of_needs(&library), Vec::<String>::new(), "it is in the binary");
        library.lessons[0].needs = vec!["first-voyage/99".into(), "harbour/02".into()];
        library.check();
        let told = of_needs(&library);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("no lesson \"first-voyage/99\"") && told[0].contains("lesson.md:1"),
            "{told:?}"
        );
        // A lesson that is copied alone keeps what it needs.
        let place = tempfile::tempdir().unwrap();
        write_alone(&library.lessons[0], Some(&fixtures), place.path()).unwrap();
        let mut alone = Library::read(place.path());
        alone.lessons[0].needs = library.lessons[0].needs.clone();
        alone.check();
        assert_eq!(of_needs(&alone), Vec::<String>::new());
        assert!(
            built_in_ids().contains("control-tower/11")
                && built_in_ids().len() == Library::built_in().lessons.len()
        );
    }

    #[test]
    fn what_is_in_the_binary_is_sound() {
        let library = Library::built_in();
        assert_eq!(library.faults, []);
    }
}
