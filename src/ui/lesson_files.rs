//! Files of a lesson in the learner's folder: placed when the lesson is opened, never over a file
//! that is there.

use super::texts::{Lang, Say};
use lab::view::File;
use nix::fcntl::OFlag;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Editors that are looked for, in this order, where the environment names none.
const EDITORS: [&str; 4] = ["nano", "vim", "vi", "emacs"];

/// How a file stands after it was to be placed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It was not there, and is now.
    New,
    /// It was there, as the lesson has it.
    Same,
    /// Another text is there: the learner's work, or a file of something else.
    Other,
    /// It cannot be written, and why.
    Failed(String),
}

/// Places a file of a lesson in a folder.
pub(crate) fn place(file: &File, folder: &Path) -> Placed {
    let path = folder.join(&file.name);
    match fs::File::options().write(true).create_new(true).open(&path) {
        Ok(mut new) => match new.write_all(file.text.as_bytes()) {
            Ok(()) => Placed::New,
            Err(error) => {
                let _ = fs::remove_file(&path); // half of a file would pass for the learner's work
                Placed::Failed(error.to_string())
            }
        },
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let is_same = holds(&path, file.text.as_bytes()).unwrap_or(false);
            if is_same { Placed::Same } else { Placed::Other }
        }
        Err(error) => Placed::Failed(error.to_string()),
    }
}

/// Whether a regular file has just this text. In a folder like `/tmp` another user may have put a
/// pipe there, which would be waited for, or a link to what never ends.
///
/// # Errors
/// It cannot be read.
fn holds(path: &Path, text: &[u8]) -> std::io::Result<bool> {
    let quiet = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = fs::File::options().read(true).custom_flags(quiet.bits()).open(path)?;
    let (about, length) = (file.metadata()?, text.len() as u64);
    if !about.is_file() || about.len() != length {
        return Ok(false);
    }
    let mut there = Vec::new();
    file.take(length + 1).read_to_end(&mut there)?; // it may have grown
    Ok(there == text)
}

/// Places the files of a lesson in the folder, and says what the learner has to know: what is new
/// and how it is opened, what could not be placed; `others`: and what was left as it is. Empty: all
/// were there.
pub(crate) fn place_all(lang: Lang, files: &[File], folder: &Path, others: bool) -> String {
    let mut told = String::new();
    for file in files {
        let line = match place(file, folder) {
            Placed::New => {
                let open = format!("{} {}", editor(), file.name);
                lang.say(Say::FilePlaced, &[&file.name, &folder.display().to_string(), &open])
            }
            Placed::Other if others => lang.say(Say::FileKept, &[&file.name]),
            Placed::Same | Placed::Other => continue,
            Placed::Failed(why) => lang.say(Say::FileFailed, &[&file.name, &why]),
        };
        told.push_str(&line);
        told.push('\n');
    }
    told
}

/// The learner's editor: the one that the environment names, else one that is installed.
fn editor() -> String {
    let named = ["VISUAL", "EDITOR"].iter().filter_map(|name| std::env::var(name).ok());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |editor: &&str| std::env::split_paths(&path).any(|dir| dir.join(editor).is_file());
    let found = || EDITORS.iter().copied().find(is_there).unwrap_or("vi").to_string();
    named.map(|name| name.trim().to_string()).find(|name| !name.is_empty()).unwrap_or_else(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_lesson_is_placed_once_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| File { name: name.into(), text: text.into() };
        let web = file("web.yaml", "kind: Pod\n");
        let all = |others| place_all(Lang::En, std::slice::from_ref(&web), folder.path(), others);
        let told = all(true);
        assert!(told.contains("web.yaml") && told.contains(&folder.path().display().to_string()), "{told}");
        assert_eq!(fs::read_to_string(folder.path().join("web.yaml")).unwrap(), "kind: Pod\n");
        assert_eq!((all(true), place(&web, folder.path())), (String::new(), Placed::Same));
        // The learner's work stays.
        fs::write(folder.path().join("web.yaml"), "kind: Service\n").unwrap();
        assert!(all(true).contains("web.yaml") && all(false).is_empty());
        assert_eq!(fs::read_to_string(folder.path().join("web.yaml")).unwrap(), "kind: Service\n");
        // A link that leads nowhere is a file that is there, too: nothing is written behind it.
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        assert_eq!(place(&file("link", "a"), folder.path()), Placed::Other);
        assert!(!folder.path().join("nowhere").exists());
        let gone = folder.path().join("gone");
        assert!(matches!(place(&web, &gone), Placed::Failed(_)));
        assert!(place_all(Lang::Ko, std::slice::from_ref(&web), &gone, false).contains("web.yaml"));
    }

    /// Another user has put them into a folder in which every user may write.
    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&folder.path().join("pipe"), mode).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero")).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let place_in = folder.path().to_path_buf();
        std::thread::spawn(move || {
            for name in ["pipe", "zero"] {
                let file = File { name: name.into(), text: "a".into() };
                drop(tell.send(place(&file, &place_in)));
            }
        });
        let wait = std::time::Duration::from_secs(20);
        assert_eq!(told.recv_timeout(wait), Ok(Placed::Other));
        assert_eq!(told.recv_timeout(wait), Ok(Placed::Other));
    }
}
