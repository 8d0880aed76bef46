//! The directories and files of a user's clusters.

use super::error::Error;
use super::refusal::Refusal;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest path that fits a Unix socket's address (unix(7): 108 bytes with the final zero).
const SOCKET_PATH_MAX: usize = 107;

/// `$ROPEWALK_HOME`, else `$XDG_DATA_HOME/ropewalk` if that is absolute, else
/// `~/.local/share/ropewalk`.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// Finds the home of this process's user from the environment.
    ///
    /// # Errors
    /// [`Refusal::NoHome`]: none of the three variables is set; the user sets `ROPEWALK_HOME`.
    /// [`Error::File`]: the path is relative, and the current directory cannot be found out.
    pub fn find() -> Result<Home, Error> {
        let path = named(|name| std::env::var_os(name)).ok_or(Refusal::NoHome)?;
        let path = std::path::absolute(&path).map_err(|cause| Error::File { path, cause })?;
        Ok(Home(path))
    }

    /// Returns the home at a given place.
    pub fn at(path: impl Into<PathBuf>) -> Home {
        Home(path.into())
    }

    /// Returns the home's directory, which may not be there yet.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the directory of `kubectl` and its like, for a second terminal.
    pub fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }

    /// Returns the file with the settings of the learner, e.g. the language.
    pub fn settings(&self) -> PathBuf {
        self.0.join("settings.json")
    }

    /// Returns the directory of the cluster with this name, which may not be there yet.
    ///
    /// # Errors
    /// [`Refusal::BadName`]: the name is not 1 to 40 characters of `a-z`, `0-9` and inner `-`.
    /// [`Refusal::NotText`]: the home's path is not UTF-8. [`Refusal::LongPath`]: the path of the
    /// control socket would have more than [`SOCKET_PATH_MAX`] bytes. For the last two the user
    /// chooses another `ROPEWALK_HOME`.
    pub fn cluster(&self, name: &str) -> Result<Place, Error> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if name.len() > 40
            || !name.chars().all(good)
            || !ends(name.chars().next())
            || !ends(name.chars().last())
        {
            return Err(Refusal::BadName { name: name.into() }.into());
        }
        // It is in the supervisor's order and in records, which are text.
        if self.0.to_str().is_none() {
            return Err(Refusal::NotText { path: self.0.display().to_string() }.into());
        }
        let place = Place { name: name.into(), root: self.0.join("clusters").join(name), home: self.clone() };
        if place.socket().as_os_str().len() > SOCKET_PATH_MAX {
            return Err(Refusal::LongPath { path: place.socket().display().to_string() }.into());
        }
        Ok(place)
    }

    /// Lists the names of the clusters that have a directory here.
    pub fn clusters(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("clusters")).into_iter().flatten().flatten();
        let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
        // One with a dot is being removed.
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }
}

/// Returns the home that these variables name. Pure. An empty variable counts as not set. So does a
/// relative `XDG_DATA_HOME`, as the XDG Base Directory Specification asks for: the home would be
/// another one in each working directory.
fn named(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = || path("XDG_DATA_HOME").filter(|data| data.is_absolute());
    path("ROPEWALK_HOME")
        .or_else(|| data().map(|data| data.join("ropewalk")))
        .or_else(|| path("HOME").map(|home| home.join(".local/share/ropewalk")))
}

/// One cluster's directory.
#[derive(Clone, Debug)]
pub struct Place {
    /// The cluster's name: 1 to 40 characters of `a-z`, `0-9` and inner `-`.
    pub name: String,
    /// `HOME/clusters/NAME`, which may not be there yet.
    pub root: PathBuf,
    /// The home that the directory is in.
    pub home: Home,
}

impl Place {
    /// Returns the path of the learner's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }
    /// Returns the path of the Unix socket on which the running cluster answers
    /// ([`super::control`]).
    pub fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }
    /// Returns the path of the cluster's lock file. It is outside of the directory and never
    /// removed: so all processes lock the same file, even while the directory is removed and made
    /// anew.
    pub fn lock(&self) -> PathBuf {
        self.home.0.join("locks").join(&self.name).join("lock")
    }
    /// Returns the path of a directory while it is removed.
    pub(crate) fn gone(&self, number: usize) -> PathBuf {
        self.home.0.join("clusters").join(format!(".{}.gone-{number}", self.name))
    }
    /// Returns the path of the file with the cluster's [`Spec`](super::spec::Spec).
    pub(crate) fn spec(&self) -> PathBuf {
        self.root.join("cluster.json")
    }
    /// Returns the path of the ledger of the namespaces on a foreign cluster; its presence says
    /// that this is one's directory.
    pub fn foreign(&self) -> PathBuf {
        self.root.join("foreign.json")
    }
    /// Returns the directory with the certificates and keys of the cluster's authorities.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }
    /// Returns the directory with the store's own authority, and the certificate of its clients.
    pub(crate) fn etcd_pki(&self) -> PathBuf {
        self.pki().join("etcd")
    }
    /// Returns the directory where the cluster's processes mount their file systems in memory; all
    /// others see it empty.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.root.join("run")
    }
    /// Returns the path of the log of the cluster's processes.
    pub fn log(&self) -> PathBuf {
        self.root.join("log").join("ropewalk.log")
    }
    /// Returns the directory that the faults of a session's own shell lead to; `pid` is the
    /// session's process, which makes and removes it.
    pub fn shell(&self, pid: u32) -> PathBuf {
        self.root.join(format!("shell-{pid}"))
    }
    /// Returns `data/<node>`, the directory of a node.
    pub(crate) fn node(&self, node: &str) -> PathBuf {
        self.root.join("data").join(node)
    }

    /// Makes the directories, readable by their owner alone.
    ///
    /// # Errors
    /// [`Error::File`] with the directory that cannot be made or whose mode cannot be set. The
    /// others may have been made; a second call continues.
    pub fn make(&self) -> Result<(), Error> {
        self.make_lock()?;
        for dir in [
            self.root.clone(),
            self.pki(),
            self.etcd_pki(),
            self.root.join("data"),
            self.root.join("log"),
            self.home.bin(),
        ] {
            make_private(&dir)?;
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&self.root, private)
            .map_err(|cause| Error::File { path: self.root.clone(), cause })
    }

    /// Removes the directories of [`Place::shell`] whose session has ended and left them: it was
    /// killed, or its terminal was closed. The next call tries again what cannot be removed.
    pub fn sweep_shells(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix("shell-")?.parse::<u32>().ok());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                let _ = fs::remove_dir_all(entry.path()); // it follows no link
            }
        }
    }

    /// Makes the directory of the lock.
    pub(crate) fn make_lock(&self) -> Result<(), Error> {
        self.lock().parent().map_or(Ok(()), make_private)
    }
}

fn make_private(dir: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|cause| Error::File { path: dir.to_path_buf(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_climb_out_or_do_not_fit_are_refused() {
        let home = Home("/h".into());
        assert_eq!(home.cluster("main").unwrap().socket(), PathBuf::from("/h/clusters/main/control.sock"));
        for bad in ["", "..", "a/b", "Main", "-a", "a-", &"x".repeat(41)] {
            assert!(home.cluster(bad).is_err(), "{bad:?}");
        }
        let deep = Home(PathBuf::from("/").join("d".repeat(120)));
        assert!(deep.cluster("main").unwrap_err().to_string().contains("ROPEWALK_HOME"));
    }

    #[test]
    fn a_home_does_not_change_with_the_working_directory() {
        let of = |set: &[(&str, &str)]| {
            let value = |name: &str| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(*value))
            };
            named(value).map(|path| path.display().to_string())
        };
        let home = ("HOME", "/home/ann");
        assert_eq!(of(&[home, ("XDG_DATA_HOME", "/data")]).as_deref(), Some("/data/ropewalk"));
        for data in ["data", "./data", ""] {
            let found = of(&[home, ("XDG_DATA_HOME", data)]);
            assert_eq!(found.as_deref(), Some("/home/ann/.local/share/ropewalk"), "{data:?}");
        }
        assert_eq!(of(&[home, ("ROPEWALK_HOME", "/r"), ("XDG_DATA_HOME", "/data")]).as_deref(), Some("/r"));
        assert_eq!(of(&[("XDG_DATA_HOME", "data"), ("HOME", "")]), None);
    }

    #[test]
    fn only_what_ended_sessions_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.sweep_shells(); // there is no directory yet
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let (left, own) = (place.shell(ended.id()), place.shell(std::process::id()));
        for made in [&left, &own, &place.root.join("shell-x"), &place.root.join("data")] {
            fs::create_dir_all(made.join("path-0")).unwrap();
        }
        std::os::unix::fs::symlink(place.root.join("data"), left.join("path-0/data")).unwrap();
        place.sweep_shells();
        assert!(!left.exists());
        let kept = [own, place.root.join("shell-x"), place.root.join("data/path-0")];
        assert!(kept.iter().all(|kept| kept.exists()));
    }

    /// The supervisor would find no order, and say that it is damaged.
    #[test]
    fn a_home_whose_path_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/h\xff"));
        let refused = Home(path).cluster("main").unwrap_err().to_string();
        assert!(refused.contains("UTF-8") && refused.contains("ROPEWALK_HOME"), "{refused}");
        assert!(Home("/오늘".into()).cluster("main").is_ok());
    }
}
