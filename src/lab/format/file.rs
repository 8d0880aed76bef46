//! Files of authors, as they come: whatever lies where a lesson should lie is read, or it is said
//! why not.

use super::text::Fault;
use nix::fcntl::OFlag;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes of a lesson's file, at most. A longer file is no lesson and was put there by mistake.
const LENGTH_MAX: u64 = 1 << 20;

/// Reads the text of a file, with its line ends as they are; `None` if there is no such file.
///
/// # Errors
/// It is there and cannot be read: it is no regular file, too long or no UTF-8, or the system
/// refuses it.
pub(crate) fn text(path: &Path) -> Result<Option<String>, Fault> {
    let fault = |line, what: String| Fault { file: path.into(), line, what };
    let of_system = |e: std::io::Error| fault(1, format!("cannot be read: {e}"));
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(e) if e.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(None),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(fault(1, "is a symbolic link that leads nowhere".into()));
        }
        Err(e) => return Err(of_system(e)),
    };
    // Opening a named pipe would wait for its writer.
    if !about.is_file() {
        return Err(fault(1, "is no regular file".into()));
    }
    if about.len() > LENGTH_MAX {
        return Err(fault(1, format!("is longer than {LENGTH_MAX} bytes")));
    }
    // By now another file may be there, or more in this one.
    let quiet = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = File::options().read(true).custom_flags(quiet.bits()).open(path).map_err(of_system)?;
    if !opened.metadata().map_err(of_system)?.is_file() {
        return Err(fault(1, "is no regular file".into()));
    }
    let Some(bytes) = bounded(opened).map_err(of_system)? else {
        return Err(fault(1, format!("is longer than {LENGTH_MAX} bytes")));
    };
    String::from_utf8(bytes).map(Some).map_err(|e| {
        let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        fault(line, "is not UTF-8 from here on; save the file as UTF-8".into())
    })
}

/// Everything that can be read; `None`: that is more than [`LENGTH_MAX`] bytes.
fn bounded(from: impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(LENGTH_MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= LENGTH_MAX).then_some(bytes))
}

/// The text without a byte order mark, every line ended by a line feed alone: editors on Windows
/// write both.
pub(crate) fn plain(text: &str) -> String {
    text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("good.md"), "한글\r\n").unwrap();
        std::fs::write(path("latin.md"), b"---\ntitle: caf\xe9\n").unwrap();
        std::fs::write(path("long.md"), vec![b' '; LENGTH_MAX as usize + 1]).unwrap();
        std::os::unix::fs::symlink("nowhere", path("link.md")).unwrap();
        nix::unistd::mkfifo(&path("pipe.md"), Mode::S_IRWXU).unwrap();
        let told = |name: &str| text(&path(name)).map_err(|f| (f.line, f.what));
        assert_eq!(told("good.md").as_ref().map(Option::as_deref), Ok(Some("한글\r\n")));
        assert_eq!(told("none.md"), Ok(None));
        for (name, line, what) in [
            ("latin.md", 2, "not UTF-8"),
            ("long.md", 1, "longer than"),
            ("link.md", 1, "leads nowhere"),
            ("pipe.md", 1, "no regular file"),
            (".", 1, "no regular file"),
        ] {
            let (at, why) = told(name).unwrap_err();
            assert!(at == line && why.contains(what), "{name}: {at}: {why}");
        }
    }

    /// A file of `/proc` says that it is empty, and one that grows says what it was.
    #[test]
    fn what_never_ends_is_not_read_to_its_end() {
        assert_eq!(bounded(std::io::repeat(b' ')).unwrap(), None);
        assert_eq!(bounded(&b"ab"[..]).unwrap(), Some(b"ab".to_vec()));
    }

    #[test]
    fn marks_of_other_systems_are_no_part_of_a_text() {
        assert_eq!(plain("\u{feff}---\r\na: 1\r\n"), "---\na: 1\n");
        assert_eq!(plain("a\rb\n"), "a\rb\n");
    }
}
