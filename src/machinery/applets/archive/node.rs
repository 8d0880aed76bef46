//! Named pipes and devices in archives.

use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Returns whether a file is of a kind that no archive holds: a socket.
pub(super) fn is_left_out(found: &Metadata) -> bool {
    found.file_type().is_socket()
}

/// Adds a named pipe or a device under the name `stored`.
pub(super) fn add(builder: &mut tar::Builder<impl Write>, found: &Metadata, stored: &[u8]) -> io::Result<()> {
    use nix::sys::stat::{major, minor};
    let number = |part: u64| u32::try_from(part).map_err(io::Error::other);
    let mut header = tar::Header::new_gnu();
    header.set_metadata(found);
    header.set_size(0);
    header.set_device_major(number(major(found.rdev()))?)?;
    header.set_device_minor(number(minor(found.rdev()))?)?;
    super::member::append(builder, &mut header, stored, None, io::empty())
}

#[cfg(test)]
mod tests {
    use super::super::{create, parse};

    #[test]
    fn a_pipe_has_the_name_that_a_file_would_have() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("p"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let archive = dir.path().join("a.tar");
        let (file, directory) = (archive.display(), dir.path().display());
        let absolute = dir.path().strip_prefix("/").unwrap().join("p");
        for (line, name) in [
            (format!("cf {file} -C {directory} p"), "p".into()),
            (format!("cf {file} {directory}/p"), absolute),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_string).collect();
            assert_eq!(create(&parse(&words).unwrap()).unwrap(), 0, "{line}");
            let mut archive = tar::Archive::new(std::fs::File::open(&archive).unwrap());
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            assert_eq!(entry.header().entry_type(), tar::EntryType::Fifo);
            assert_eq!(entry.path().unwrap(), name, "{line}");
        }
    }
}
