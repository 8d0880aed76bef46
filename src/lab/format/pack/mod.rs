//! Packs: lessons and labs of other authors, beside the built-in ones.
//!
//! A pack is a folder: `pack.yaml` says what it is and who wrote it, and beside that lie tracks,
//! beats and terms as the built-in lessons have them, and labs in a folder `labs`. Anybody may have
//! written it, so it is read with limits, from its own folder alone, and without characters that a
//! terminal obeys.

use super::text::{EN, Fault, OTHERS, Text};
use super::{file, prose, raw};
use cluster::Home;
use lang::charset;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The file that says what a pack is.
pub const FILE: &str = "pack.yaml";
/// The folder of a pack that holds its labs.
pub(crate) const LABS: &str = "labs";
/// The folder of packs below Ropewalk's home folder.
const FOLDER: &str = "packs";

/// Packs of the home folder that are read, at most.
const PACKS_MAX: usize = 64;
/// Files of one folder of lessons, at most. The built-in lessons have fewer than a hundred.
const FILES_MAX: usize = 2000;
/// Bytes of all files of one folder, at most.
const BYTES_MAX: usize = 16 << 20;
/// Folders are looked into this deep.
const DEPTH_MAX: usize = 4;
/// Characters of a title, a name or a version, at most: they stand in lists.
const NAME_MAX: usize = 60;
/// Authors of a pack, at most.
const AUTHORS_MAX: usize = 12;

/// What a pack says of itself, and what was read from it.
#[derive(Clone, Debug, Default)]
pub struct Pack {
    /// The folder that holds `pack.yaml`.
    pub folder: PathBuf,
    /// The title that lists show; without `pack.yaml`, the name of the folder.
    pub title: Text,
    /// Names, in the order in which the pack gives them.
    pub authors: Vec<String>,
    /// Empty if it does not say.
    pub version: String,
    /// Titles of its tracks, by the name that ids begin with.
    pub tracks: BTreeMap<String, Text>,
    /// Ids of its lessons.
    pub lessons: BTreeSet<String>,
}

/// `pack.yaml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: BTreeMap<String, String>,
    authors: Vec<String>,
    version: String,
    #[serde(default)]
    tracks: BTreeMap<String, BTreeMap<String, String>>,
}

/// The files of a folder, by path.
pub(crate) type Files = BTreeMap<PathBuf, String>;

/// The folders in the home folder's `packs`, in the order of their names.
pub(crate) fn folders_of_home() -> Vec<PathBuf> {
    Home::find().map_or_else(|_| vec![], |home| folders_in(&home.path().join(FOLDER)))
}

fn folders_in(packs: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(packs) else { return vec![] }; // most people have none
    let folders = entries.flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir() && !is_hidden(path)).collect();
    folders.sort();
    folders.truncate(PACKS_MAX);
    folders
}

/// True for a file or folder whose name begins with a dot, such as `.git`.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Reads what the pack in a folder says of itself. A folder without `pack.yaml` is called by its
/// own name.
///
/// # Errors
/// What is wrong in `pack.yaml`, with its lines.
pub(super) fn read(folder: &Path, files: &Files) -> Result<Pack, Vec<Fault>> {
    let file = folder.join(FILE);
    let Some(text) = files.get(&file) else {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        let title = Text::new(&name.replace(is_harmful, ""));
        return Ok(Pack { folder: folder.into(), title, ..Pack::default() });
    };
    let text = file::plain(text);
    let harmful = harmful_places(&file, &text);
    if !harmful.is_empty() {
        return Err(harmful);
    }
    let written: Written = raw::read(&text, &file, 1).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let mut fault = |key: &str, what: String| {
        faults.push(Fault { file: file.clone(), line: line_of(&text, key), what });
    };
    let mut titled = |key: &str, what: &str, written: BTreeMap<String, String>| {
        if let Some(why) = odd_title(&written) {
            fault(key, format!("{what}: {why}"));
        }
        let mut title = Text::default();
        written.iter().for_each(|(lang, words)| title.put(lang, words.trim()));
        title
    };
    let title = titled("title", "title", written.title);
    let mut tracks = BTreeMap::new();
    for (track, title) in written.tracks {
        let title = titled(&track, &format!("tracks: {track:?}"), title);
        tracks.insert(track, title);
    }
    if written.authors.is_empty() || written.authors.len() > AUTHORS_MAX {
        fault("authors", format!("authors: name one to {AUTHORS_MAX} of them"));
    }
    for odd in written.authors.iter().chain([&written.version]).filter(|name| !is_name(name)) {
        let key = if *odd == written.version { "version" } else { "authors" };
        fault(key, format!("{key}: {odd:?} is to be a line of at most {NAME_MAX} characters"));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let (authors, version) = (written.authors, written.version);
    Ok(Pack { folder: folder.into(), title, authors, version, tracks, lessons: BTreeSet::new() })
}

/// True for a text that fits into a line of a list.
fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= NAME_MAX && !text.contains('\n')
}

/// What is wrong with a title in all its languages.
fn odd_title(written: &BTreeMap<String, String>) -> Option<String> {
    if !written.contains_key(EN) {
        return Some("write it in English, too: {en: …}".into());
    }
    if let Some(lang) = written.keys().find(|lang| *lang != EN && !OTHERS.contains(&lang.as_str())) {
        return Some(format!("{lang:?} is none of the languages {EN}, {}", OTHERS.join(", ")));
    }
    let odd = written.values().find(|title| !is_name(title))?;
    Some(format!("{odd:?} is to be a line of at most {NAME_MAX} characters"))
}

/// The line on which a key stands, else the first.
pub(crate) fn line_of(text: &str, key: &str) -> usize {
    let begins = |line: &str| {
        let line = line.trim_start().trim_start_matches(['"', '\'']);
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(':'))
    };
    text.lines().position(begins).map_or(1, |at| at + 1)
}

/// True for a character that a terminal obeys, or that reorders.
fn is_harmful(c: char) -> bool {
    charset::is_harmful(c) && !matches!(c, '\n' | '\t')
}

/// Takes out the files that hold harmful characters, as they are or as an escape in YAML, and
/// returns where these are.
pub(crate) fn take_harmful(files: &mut Files) -> Vec<Fault> {
    let mut faults = Vec::new();
    files.retain(|path, text| {
        let found = harmful_places(path, &file::plain(text));
        let is_sound = found.is_empty();
        faults.extend(found);
        is_sound
    });
    faults
}

/// Checks that a text holds no harmful characters.
///
/// # Errors
/// It does; the fault names the first one and its line.
pub(crate) fn harmless(path: &Path, text: &str) -> Result<(), Fault> {
    harmful_places(path, &file::plain(text)).pop().map_or(Ok(()), Err)
}

/// The first harmful character of a file.
fn harmful_places(path: &Path, text: &str) -> Vec<Fault> {
    let fault = |line, c: char| {
        let what = format!("the character U+{:04X} is not allowed in a pack", u32::from(c));
        vec![Fault { file: path.into(), line, what }]
    };
    for (at, line) in text.lines().enumerate() {
        if let Some(c) = line.chars().find(|c| is_harmful(*c)) {
            return fault(at + 1, c);
        }
    }
    let is_yaml = path.extension().is_some_and(|ending| ending == "yaml");
    let yaml = match is_yaml {
        true => text,
        // A file without front matter is a fault, but the reader of that file reports it.
        false => prose::split(text, path).map_or("", |(front, ..)| front),
    };
    // An escape needs a backslash. The reader of the file reports what cannot be parsed.
    let has_escapes = yaml.contains('\\') && api::yaml::judge(yaml).is_ok();
    let value: Option<serde_yaml::Value> = has_escapes.then(|| serde_yaml::from_str(yaml).ok()).flatten();
    match value.as_ref().and_then(harmful_in) {
        Some(c) => {
            let escape = text.lines().position(|line| has_escape(line, c));
            let escape = escape.or_else(|| text.lines().position(|line| line.contains('\\')));
            fault(escape.map_or(1, |at| at + 1), c)
        }
        None => vec![],
    }
}

/// True for a line of YAML that writes this character as an escape, e.g. U+001B as `\e`, `\x1b` or
/// `\u001B`. Source: YAML 1.2, 5.7.
fn has_escape(line: &str, c: char) -> bool {
    let mut rest = line;
    while let Some((_, escape)) = rest.split_once('\\') {
        let Some(kind) = escape.chars().next() else { return false };
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let written = match kind {
            '0' => Some('\0'),
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'v' => Some('\u{b}'),
            'f' => Some('\u{c}'),
            'e' => Some('\u{1b}'),
            'N' => Some('\u{85}'),
            _ => {
                let code = escape.get(1..=digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                code.and_then(char::from_u32)
            }
        };
        if written == Some(c) {
            return true;
        }
        rest = &escape[kind.len_utf8()..];
    }
    false
}

/// The first harmful character of a value's texts. A carriage return is none there: what a lesson
/// compares with may hold one.
fn harmful_in(value: &serde_yaml::Value) -> Option<char> {
    use serde_yaml::Value;
    match value {
        Value::String(text) => text.chars().find(|c| is_harmful(*c) && *c != '\r'),
        Value::Sequence(all) => all.iter().find_map(harmful_in),
        Value::Mapping(all) => {
            all.iter().find_map(|(key, value)| harmful_in(key).or_else(|| harmful_in(value)))
        }
        Value::Tagged(tagged) => harmful_in(&tagged.value),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The files of a folder that may be a lesson's, and those that cannot be read. Nothing is read
/// from outside of the folder, nothing that is hidden, and no more than [`FILES_MAX`] files and
/// [`BYTES_MAX`] bytes.
pub(crate) fn files_in(folder: &Path) -> (Files, Vec<Fault>) {
    files_below(folder, folder)
}

/// Reads a folder below that of a pack as [`files_in`] does: nothing is read from outside of the
/// pack.
pub(crate) fn files_below(pack: &Path, folder: &Path) -> (Files, Vec<Fault>) {
    let mut found = Found { root: pack.canonicalize().ok(), ..Found::default() };
    match found.is_outside(folder) {
        true => found.fault(folder, OUTSIDE),
        false => found.walk(folder, 0),
    }
    (found.files, found.faults)
}

const OUTSIDE: &str = "leads out of the folder of lessons, and is not read";

#[derive(Default)]
struct Found {
    /// The folder without symbolic links; `None` if it is not there.
    root: Option<PathBuf>,
    files: Files,
    faults: Vec<Fault>,
    bytes: usize,
    /// So many files and folders were looked at.
    seen: usize,
    /// A limit was reached.
    is_full: bool,
}

impl Found {
    fn fault(&mut self, file: &Path, what: impl Into<String>) {
        self.faults.push(Fault { file: file.into(), line: 1, what: what.into() });
    }

    /// True if the path leads out of the folder.
    fn is_outside(&self, path: &Path) -> bool {
        let Some(root) = &self.root else { return false };
        path.canonicalize().is_ok_and(|real| !real.starts_with(root))
    }

    fn walk(&mut self, folder: &Path, depth: usize) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) => return self.fault(folder, format!("cannot be looked into: {e}")),
        };
        // Only so many are sorted: a folder may have millions.
        let mut paths: Vec<PathBuf> = entries.flatten().take(FILES_MAX + 1).map(|e| e.path()).collect();
        paths.sort();
        // What is hidden is none of the lessons: an author's `.git` has thousands of files.
        for path in paths.into_iter().filter(|path| !is_hidden(path)) {
            self.seen += 1;
            if self.seen > FILES_MAX && !self.is_full {
                self.is_full = true;
                self.fault(folder, format!("there are more than {FILES_MAX} files; the rest is not read"));
            }
            if self.is_full {
                return;
            }
            self.take(folder, &path, depth);
        }
    }

    /// Takes one file or folder in.
    fn take(&mut self, folder: &Path, path: &Path, depth: usize) {
        let is_folder = path.is_dir();
        let is_text = path.extension().is_some_and(|e| e == "md" || e == "yaml");
        if (is_folder && depth >= DEPTH_MAX) || (!is_folder && !is_text) {
            return;
        }
        let name = path.file_name().unwrap_or_default();
        if name.to_str().is_none_or(|name| name.contains(is_harmful)) {
            return self.fault(folder, format!("the name {name:?} has characters that are not allowed"));
        }
        if self.is_outside(path) {
            return self.fault(path, OUTSIDE);
        }
        if is_folder {
            return self.walk(path, depth + 1);
        }
        match file::text(path) {
            Ok(Some(text)) if self.bytes + text.len() > BYTES_MAX => {
                self.is_full = true;
                self.fault(path, format!("all files together are longer than {BYTES_MAX} bytes"));
            }
            Ok(Some(text)) => {
                self.bytes += text.len();
                self.files.insert(path.into(), text);
            }
            Ok(None) => {} // it has just gone
            Err(fault) => self.faults.push(fault),
        }
    }
}

#[cfg(test)]
mod tests;
