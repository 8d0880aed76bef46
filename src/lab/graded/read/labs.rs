//! All labs: those in the binary with those of packs, or those of a directory alone.

use super::lab::Lab;
use super::parse::parse;
use crate::format::{Fault, OTHERS, file, library, pack};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// All labs: those in the binary with those of packs, or those of a directory alone.
#[derive(Clone, Debug, Default)]
pub struct Labs {
    /// In the order of their levels, then of their ids.
    pub labs: Vec<Lab>,
    /// What is wrong with labs that were left out.
    pub faults: Vec<Fault>,
    /// All of them are from this directory; `None`: from the binary and from packs.
    pub(crate) directory: Option<PathBuf>,
    /// Folders of packs that have labs.
    pub(crate) packs: Vec<PathBuf>,
}

static EMBEDDED: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/../../labs");

/// How a record names the labs in the binary.
const BUILT_IN: &str = "built-in";

/// The variable that names a directory to read labs from, instead of those in the binary.
pub const DIRECTORY: &str = "ROPEWALK_LABS";

/// The directory that [`DIRECTORY`] names; `None` if it is not set or empty.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).filter(|d| !d.is_empty()).map(PathBuf::from)
}

impl Labs {
    /// From the directory that [`DIRECTORY`] names, and nothing else; without one the built-in labs
    /// with those of packs. Packs are read anew.
    pub fn load() -> Arc<Labs> {
        if let Some(directory) = directory() {
            return Labs::read(&directory).into();
        }
        let mut packs = pack::folders_of_home();
        packs.extend(library::directory().filter(|_| !library::is_only()));
        Labs::with_packs(&packs)
    }

    /// The built-in labs and those in the folder `labs` of packs.
    pub(crate) fn with_packs(packs: &[PathBuf]) -> Arc<Labs> {
        let folders = packs.iter().map(|pack| pack.join(pack::LABS));
        let folders: Vec<PathBuf> = folders.filter(|folder| folder.is_dir()).collect();
        if folders.is_empty() {
            return Labs::built_in();
        }
        let mut labs = Arc::unwrap_or_clone(Labs::built_in());
        for folder in folders {
            labs.add_pack(folder);
        }
        labs.sorted().into()
    }

    /// Adds the labs of a pack. One whose id is there already is left out, and a fault names both
    /// files.
    fn add_pack(&mut self, folder: PathBuf) {
        let pack = folder.parent().unwrap_or(&folder);
        let (mut files, faults) = pack::files_below(pack, &folder);
        self.faults.extend(faults);
        self.faults.extend(pack::take_harmful(&mut files));
        let mut other = Labs::default();
        let dirs: BTreeSet<PathBuf> = files.keys().filter_map(|file| Some(file.parent()?.into())).collect();
        for dir in dirs {
            other.add(|name| {
                let path = dir.join(name);
                Ok(files.get(&path).map(|text| (path, text.clone())))
            });
        }
        self.faults.extend(other.faults);
        for lab in other.labs {
            match self.get(&lab.id) {
                Some(first) => {
                    let line = files.get(&lab.file).map_or(1, |text| pack::line_of(text, "id"));
                    let first = first.file.display();
                    let what = format!("the lab {:?} is already in {first}; give it another id", lab.id);
                    self.faults.push(Fault { file: lab.file, line, what });
                }
                None => self.labs.push(lab),
            }
        }
        self.packs.push(folder);
    }

    /// Where a lab was read from, as a record names it: [`BUILT_IN`], or a directory.
    pub(crate) fn source(&self, lab: &Lab) -> String {
        let of_pack = || self.packs.iter().find(|folder| lab.file.starts_with(folder));
        let directory = self.directory.as_ref().or_else(of_pack);
        directory.map_or_else(|| BUILT_IN.into(), |directory| directory.display().to_string())
    }

    /// Those in a directory; without one, as [`Labs::load`].
    pub fn at(directory: Option<&Path>) -> Arc<Labs> {
        directory.map_or_else(Labs::load, |directory| Labs::read(directory).into())
    }

    /// Those in the binary, which a process reads once.
    pub fn built_in() -> Arc<Labs> {
        static READ: LazyLock<Arc<Labs>> = LazyLock::new(|| Labs::embedded().into());
        READ.clone()
    }

    fn embedded() -> Labs {
        let text = |dir: &include_dir::Dir<'_>, name: &str| {
            let file = dir.get_file(dir.path().join(name))?;
            Some((Path::new("labs").join(file.path()), file.contents_utf8()?.to_string()))
        };
        let mut labs = Labs::default();
        for dir in EMBEDDED.dirs() {
            labs.add(|name| Ok(text(dir, name)));
        }
        labs.sorted()
    }

    /// From a directory laid out as `NAME/lab.md`.
    pub fn read(directory: &Path) -> Labs {
        let mut labs = Labs { directory: Some(directory.into()), ..Labs::default() };
        let fault = |what: String| Fault { file: directory.into(), line: 1, what };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) => return Labs { faults: vec![fault(format!("cannot be looked into: {e}"))], ..labs },
        };
        // In order, so that the faults are the same each time.
        let dirs: BTreeSet<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        for dir in dirs.into_iter().filter(|path| path.is_dir()) {
            labs.add(|name| {
                let path = dir.join(name);
                let Some(text) = file::text(&path)? else { return Ok(None) };
                pack::harmless(&path, &text)?; // it may be a stranger's
                Ok(Some((path, text)))
            });
        }
        if labs.labs.is_empty() && labs.faults.is_empty() {
            labs.faults.push(fault("there are no labs here".into()));
        }
        labs.sorted()
    }

    fn add(&mut self, text: impl Fn(&str) -> Result<Option<(PathBuf, String)>, Fault>) {
        let read = || {
            let Some((file, english)) = text("lab.md")? else { return Ok(None) };
            let mut others = Vec::new();
            for lang in OTHERS {
                others.extend(text(&format!("lab.{lang}.md"))?.map(|found| (*lang, found)));
            }
            Ok(Some((file, english, others)))
        };
        match read() {
            Ok(None) => {} // not a lab's directory
            Ok(Some((file, english, others))) => match parse(&english, &file, &others) {
                Ok(lab) => self.labs.push(lab),
                Err(faults) => self.faults.extend(faults),
            },
            Err(fault) => self.faults.push(fault),
        }
    }

    fn sorted(mut self) -> Labs {
        self.labs.sort_by(|a, b| (a.level, &a.id).cmp(&(b.level, &b.id)));
        self
    }

    /// Returns whether a lab has this id, without reading it: in the binary, in the directory that
    /// [`DIRECTORY`] names, or in the pack of a lesson that names it. `lesson`: the lesson's file,
    /// which lies two folders below its pack, or one if it was written alone.
    pub(crate) fn is_known(id: &str, lesson: &Path) -> bool {
        let is_name = !id.is_empty() && !id.contains(['/', '.']);
        let is_in = |directory: &Path| directory.join(id).join("lab.md").is_file();
        let of_pack = || lesson.ancestors().skip(2).take(2).any(|folder| is_in(&folder.join(pack::LABS)));
        is_name && (EMBEDDED.get_dir(id).is_some() || directory().is_some_and(|own| is_in(&own)) || of_pack())
    }

    /// The lab with this id.
    pub fn get(&self, id: &str) -> Option<&Lab> {
        self.labs.iter().find(|l| l.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_binary_is_sound() {
        let labs = Labs::built_in();
        assert_eq!(labs.faults, []);
        assert!(labs.labs.iter().all(|l| l.languages == ["en", "ko"] && l.wrong.len() >= 3));
        assert!(labs.labs.iter().all(|l| l.tasks.iter().map(|t| t.weight).sum::<u32>() == 100));
    }

    /// Labs about what has no namespace, or has the cluster's own: the learner reads before what
    /// else they may take.
    const WHOLE_CLUSTER: [&str; 6] =
        ["controllers-down", "dns-down", "kubelet-down", "nothing-fits", "proxy-down", "scheduler-down"];

    #[test]
    fn every_lab_stays_in_its_namespace() {
        for lab in &Labs::built_in().labs {
            if WHOLE_CLUSTER.contains(&lab.id.as_str()) {
                continue;
            }
            let variant = lab.variant(7).unwrap();
            let ns = variant["ns"].as_str().unwrap();
            assert_eq!(lab.places(&variant), Some([ns.to_string()].into()), "{}", lab.id);
        }
    }

    #[test]
    fn a_lab_that_cannot_be_read_is_told_of() {
        let root = tempfile::tempdir().unwrap();
        let told = |root: &Path| Labs::read(root).faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(told(root.path())[0].contains("there are no labs here"));
        assert!(told(&root.path().join("none"))[0].contains("cannot be looked into"));
        let lab = root.path().join("broken-selector");
        std::fs::create_dir(&lab).unwrap();
        std::fs::write(lab.join("lab.md"), include_str!("../../../../labs/broken-selector/lab.md")).unwrap();
        assert_eq!(told(root.path()), Vec::<String>::new());
        // A translation that is there and cannot be read is not a lab without one.
        std::fs::write(lab.join("lab.ko.md"), b"---\nid: \xff\n").unwrap();
        let faults = told(root.path());
        assert!(faults.len() == 1 && faults[0].contains("lab.ko.md:2: is not UTF-8"), "{faults:?}");
        std::fs::write(lab.join("lab.md"), b"\xff").unwrap();
        assert!(told(root.path())[0].contains("lab.md:1: is not UTF-8"));
    }
}
