//! What `tar t` and `-v` tell of an entry.

use super::extract::is_directory;
use jiff::Timestamp;
use std::io::{self, Read};

/// Returns an entry's name as it is, with `/` behind a directory's. `long` puts before it what
/// `ls -l` would, as busybox does.
pub(super) fn line(entry: &tar::Entry<'_, impl Read>, long: bool) -> Vec<u8> {
    let header = entry.header();
    let mut line = Vec::new();
    if long {
        let owner = |name: Option<&str>, id: io::Result<u64>| match name {
            Some(name) if !name.is_empty() => name.to_string(),
            _ => id.unwrap_or_default().to_string(),
        };
        let time = header.mtime().ok().and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
        let text = format!(
            "{}{} {}/{} {:>9} {} ",
            kind_letter(header.entry_type()),
            rights(header.mode().unwrap_or(0)),
            owner(header.username().ok().flatten(), header.uid()),
            owner(header.groupname().ok().flatten(), header.gid()),
            entry.size(),
            time.unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S"),
        );
        line.extend(text.into_bytes());
    }
    let name = entry.path_bytes();
    line.extend_from_slice(&name);
    if is_directory(entry) && !name.ends_with(b"/") {
        line.push(b'/');
    }
    if let (true, Some(to)) = (long, entry.link_name_bytes()) {
        line.extend(if header.entry_type().is_hard_link() { b" link to ".as_slice() } else { b" -> " });
        line.extend_from_slice(&to);
    }
    line.push(b'\n');
    line
}

fn kind_letter(kind: tar::EntryType) -> char {
    match kind {
        tar::EntryType::Directory => 'd',
        tar::EntryType::Symlink => 'l',
        tar::EntryType::Link => 'h',
        tar::EntryType::Char => 'c',
        tar::EntryType::Block => 'b',
        tar::EntryType::Fifo => 'p',
        _ => '-',
    }
}

/// Returns a mode in letters: `rwxr-xr-x`.
fn rights(mode: u32) -> String {
    let letter = |bit: u32| if mode & (1 << bit) == 0 { '-' } else { ['x', 'w', 'r'][bit as usize % 3] };
    let mut text: Vec<char> = (0..9).rev().map(letter).collect();
    for (bit, at, set) in [(0o4000, 2, 's'), (0o2000, 5, 's'), (0o1000, 8, 't')] {
        if mode & bit != 0 {
            text[at] = if text[at] == 'x' { set } else { set.to_ascii_uppercase() };
        }
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::extract::tests::packed;
    use super::*;
    use std::fs::File;

    #[test]
    fn a_list_tells_as_much_as_was_asked() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar");
        packed(
            &archive,
            &[(tar::EntryType::Directory, "d", "", 0o1755), (tar::EntryType::Symlink, "l", "d", 0o4644)],
        );
        let lines = |long| {
            let mut archive = tar::Archive::new(File::open(&archive).unwrap());
            let entries = archive.entries().unwrap();
            entries.map(|e| String::from_utf8(line(&e.unwrap(), long)).unwrap()).collect::<String>()
        };
        assert_eq!(lines(false), "d/\nl\n");
        let owner = format!("{}/{}", nix::unistd::geteuid(), nix::unistd::getegid());
        let long = format!(
            "drwxr-xr-t {owner}         0 1970-01-12 13:46:40 d/\n\
             lrwSr--r-- {owner}         0 1970-01-12 13:46:40 l -> d\n"
        );
        assert_eq!(lines(true), long);
    }
}
