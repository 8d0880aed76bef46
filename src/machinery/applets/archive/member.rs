//! Members of an archive and their names, as GNU tar stores them.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// Name of the entry that has the name or link target of the next entry, which is longer than the
/// 100 bytes that a header has for it.
const LONG_NAME_ENTRY: &[u8] = b"././@LongLink";

/// Splits the name of a file into the prefix that the archive leaves out and the stored name. As
/// with GNU tar, the prefix is all up to the last `..` and the slashes behind it: `dir/../file` is
/// stored as `file`, `/etc/hosts` as `etc/hosts`. A `./` stays: `./a` is stored as `./a`.
pub(super) fn split_removed_prefix(name: &Path) -> (&[u8], &[u8]) {
    let name = name.as_os_str().as_bytes();
    let (mut prefix, mut part_start) = (0, 0);
    for part in name.split(|byte| *byte == b'/') {
        let part_end = part_start + part.len();
        if part == b".." {
            prefix = part_end;
        }
        part_start = part_end + 1;
    }
    prefix += name[prefix..].iter().take_while(|byte| **byte == b'/').count();
    let (removed, stored) = name.split_at(prefix);
    (removed, if stored.is_empty() { &b"."[..] } else { stored })
}

/// Returns whether a member is the one that the command line names, or below it. As with GNU tar
/// the stored name counts: `a` does not name the member `./a`. Slashes at the end of either make no
/// difference.
pub(super) fn is_at_or_below(stored: &[u8], name: &str) -> bool {
    let name = name.trim_end_matches('/').as_bytes();
    stored.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Appends a member under the stored name as it is, and a link with its target as it is.
/// `Builder::append_data` would remove `./` from the name.
///
/// # Errors
/// The archive cannot be written or `content` not be read.
pub(super) fn append(
    builder: &mut Builder<impl Write>,
    header: &mut Header,
    stored: &[u8],
    link_target: Option<&[u8]>,
    content: impl Read,
) -> io::Result<()> {
    if let Some(target) = link_target {
        let field = &mut header.as_old_mut().linkname;
        if !copy_into_field(field, target) {
            append_long_name(builder, EntryType::GNULongLink, target)?;
        }
    }
    let field = &mut header.as_old_mut().name;
    if !copy_into_field(field, stored) {
        append_long_name(builder, EntryType::GNULongName, stored)?;
    }
    header.set_cksum();
    builder.append(header, content)
}

/// Copies a name into a field of a header. Returns false if the name was truncated.
fn copy_into_field(field: &mut [u8], name: &[u8]) -> bool {
    let count = name.len().min(field.len());
    field[..count].copy_from_slice(&name[..count]);
    field[count..].fill(0);
    count == name.len()
}

/// Appends an entry of GNU tar that has the name or link target of the entry behind it.
fn append_long_name(builder: &mut Builder<impl Write>, kind: EntryType, name: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    copy_into_field(&mut header.as_old_mut().name, LONG_NAME_ENTRY);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(name.len() as u64 + 1); // it ends with a zero
    header.set_entry_type(kind);
    header.set_cksum();
    builder.append(&header, name.chain(&b"\0"[..]))
}

#[cfg(test)]
mod tests {
    use super::super::{create, extract, parse};
    use super::*;
    use std::fs::File;

    /// Answers of GNU tar 1.34.
    #[test]
    fn a_stored_name_begins_behind_the_last_parent_directory() {
        for (name, removed, stored) in [
            ("a/b", "", "a/b"),
            ("./a", "", "./a"),
            (".", "", "."),
            ("././d/f", "", "././d/f"),
            (".//d", "", ".//d"),
            ("/etc/hosts", "/", "etc/hosts"),
            ("/", "/", "."),
            ("dir/../file", "dir/../", "file"),
            ("./d/../f", "./d/../", "f"),
            ("/tmp/..//tmp/f", "/tmp/..//", "tmp/f"),
            ("../../x/y", "../../", "x/y"),
            ("d/sub/..", "d/sub/..", "."),
            ("a..b/..c", "", "a..b/..c"),
        ] {
            let split = split_removed_prefix(Path::new(name));
            assert_eq!(split, (removed.as_bytes(), stored.as_bytes()), "{name}");
        }
    }

    /// Answers of GNU tar 1.34.
    #[test]
    fn a_member_is_named_as_it_is_stored() {
        for (name, with_dot, without) in [
            ("d", false, true),
            ("d/f", false, true),
            ("d//", false, true),
            ("./d", true, false),
            ("./d/", true, false),
            ("./d/f", true, false),
            ("./", true, false),
            (".", true, false),
            ("././d", false, false),
            ("/d", false, false),
            ("./d/fi", false, false),
        ] {
            assert_eq!(is_at_or_below(b"./d/f", name), with_dot, "{name}");
            assert_eq!(is_at_or_below(b"d/f", name), without, "{name}");
        }
        assert!(is_at_or_below(b"d/", "d") && !is_at_or_below(b"de", "d"));
    }

    #[test]
    fn members_keep_the_names_that_the_command_line_gives() {
        let dir = tempfile::tempdir().unwrap();
        let (long, target) = ("n".repeat(120), format!("./a/../b//{}", "t".repeat(120)));
        std::fs::create_dir_all(dir.path().join("from/d")).unwrap();
        std::fs::write(dir.path().join("from/d/f"), "x").unwrap();
        std::fs::write(dir.path().join("from").join(&long), "long").unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join("from/l")).unwrap();
        let (archive, from) = (dir.path().join("a.tar"), dir.path().join("from"));
        let run = |line: String| {
            let call = parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>()).unwrap();
            let result = if line.starts_with('c') { create(&call) } else { extract(&call) };
            result.unwrap()
        };
        let names = || {
            let mut archive = tar::Archive::new(File::open(&archive).unwrap());
            let entries = archive.entries().unwrap().map(Result::unwrap);
            entries.map(|e| String::from_utf8(e.path_bytes().to_vec()).unwrap()).collect::<Vec<_>>()
        };
        let (file, directory) = (archive.display(), from.display());
        run(format!("cf {file} -C {directory} ./d d/"));
        assert_eq!(names(), ["./d/", "./d/f", "d/", "d/f"]);
        run(format!("cf {file} -C {directory} ."));
        assert_eq!(names(), ["./", "./d/", "./d/f", "./l", &format!("./{long}")]);
        let to = dir.path().join("to");
        std::fs::create_dir(&to).unwrap();
        assert_eq!(run(format!("xf {file} -C {} d", to.display())), 1, "the member is called ./d");
        assert!(!to.join("d").exists());
        assert_eq!(run(format!("xf {file} -C {} ./d ./l ./{long}", to.display())), 0);
        assert_eq!(std::fs::read_to_string(to.join("d/f")).unwrap(), "x");
        assert_eq!(std::fs::read_to_string(to.join(&long)).unwrap(), "long");
        assert_eq!(std::fs::read_link(to.join("l")).unwrap().as_os_str(), target.as_str());
    }

    /// As `kubectl cp` calls it.
    #[test]
    fn an_absolute_name_is_stored_without_its_leading_slash() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, file) = (dir.path().join("a.tar"), dir.path().join("f"));
        std::fs::write(&file, "x").unwrap();
        let words = ["cf".into(), archive.display().to_string(), file.display().to_string()];
        assert_eq!(create(&parse(&words).unwrap()).unwrap(), 0);
        let mut archive = tar::Archive::new(File::open(&archive).unwrap());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap(), file.strip_prefix("/").unwrap());
    }
}
