//! Files with several names: the archive has their content once, and hard links to it.

use super::{Call, member};
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

/// The files and symbolic links that an archive has so far. As in GNU tar, named pipes and devices
/// are stored once more for each name.
pub(super) struct StoredFiles {
    /// The stored name of each, by device and inode.
    names: BTreeMap<(u64, u64), Vec<u8>>,
    /// Whether a file with one link may come again: through a symbolic link (`-h`), or because
    /// several names are on the command line.
    may_repeat: bool,
}

impl StoredFiles {
    pub(super) fn new(call: &Call) -> StoredFiles {
        StoredFiles { names: BTreeMap::new(), may_repeat: call.follow || call.operands.len() > 1 }
    }

    /// Returns the name under which the archive already has a file.
    pub(super) fn stored_name(&self, found: &Metadata) -> Option<&[u8]> {
        self.names.get(&(found.dev(), found.ino())).map(Vec::as_slice)
    }

    /// Records that the archive has a file under the name `stored`.
    pub(super) fn record(&mut self, found: &Metadata, stored: &[u8]) {
        if self.may_repeat || found.nlink() > 1 {
            self.names.insert((found.dev(), found.ino()), stored.to_vec());
        }
    }
}

/// Appends the name `stored` as a hard link to the member `first`.
///
/// # Errors
/// The archive cannot be written.
pub(super) fn append(
    builder: &mut tar::Builder<impl Write>,
    found: &Metadata,
    stored: &[u8],
    first: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(found);
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    member::append(builder, &mut header, stored, Some(first), io::empty())
}

#[cfg(test)]
mod tests {
    use super::super::{create, extract, parse};
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    /// Returns what an archive holds of some names in `directory`: each entry's name, its size and
    /// where it leads.
    fn packed(directory: &Path, names: &str) -> Vec<String> {
        let archive = directory.join("a.tar");
        let line = format!("cf {} -C {} {names}", archive.display(), directory.join("from").display());
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        assert_eq!(create(&parse(&words).unwrap()).unwrap(), 0, "{names}");
        let mut archive = tar::Archive::new(File::open(&archive).unwrap());
        let line = |entry: tar::Entry<'_, File>| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let link = entry.link_name_bytes().map(|to| format!(" -> {}", text(&to))).unwrap_or_default();
            format!("{} {}{link}", text(&entry.path_bytes()), entry.size())
        };
        archive.entries().unwrap().map(|entry| line(entry.unwrap())).collect()
    }

    /// As in GNU tar 1.34.
    #[test]
    fn a_second_name_of_a_file_is_a_hard_link() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        std::fs::create_dir_all(from.join("d")).unwrap();
        std::fs::write(from.join("d/a"), "text").unwrap();
        std::fs::hard_link(from.join("d/a"), from.join("d/b")).unwrap();
        std::fs::write(from.join("one"), "x").unwrap();
        std::os::unix::fs::symlink("one", from.join("soft")).unwrap();
        for (names, wanted) in [
            ("one one", &["one 1", "one 0 -> one"][..]),
            ("-h soft one", &["soft 1", "one 0 -> soft"]),
            ("soft one", &["soft 0 -> one", "one 1"]),
            ("./d", &["./d/ 0", "./d/a 4", "./d/b 0 -> ./d/a"]),
        ] {
            assert_eq!(packed(dir.path(), names), wanted, "{names}");
        }
        let to = dir.path().join("to");
        std::fs::create_dir(&to).unwrap();
        let words = ["xf".into(), format!("{}/a.tar", dir.path().display()), format!("-C{}", to.display())];
        assert_eq!(extract(&parse(&words).unwrap()).unwrap(), 0);
        let found = |name: &str| std::fs::metadata(to.join(name)).unwrap();
        assert_eq!((found("d/a").ino(), found("d/a").nlink()), (found("d/b").ino(), 2));
        assert_eq!(std::fs::read_to_string(to.join("d/b")).unwrap(), "text");
    }
}
