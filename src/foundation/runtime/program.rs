//! The program of a container or of an exec: where it is, and whether the kernel may run it.

use super::words::reason;
use linux::beneath::{Kind, Root};
use linux::{Context, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::unistd::{AccessFlags, faccessat};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The result of a look at a path.
#[derive(Clone, Copy)]
pub(crate) enum Lookup {
    Runs,
    Denied,
    Directory,
    /// Nothing can be looked at there, for this reason: no such file, no directory on the way to
    /// it, one that the user may not search, or symbolic links that lead to each other.
    Absent(Errno),
}

/// Looks at a file inside the container, with the container's user and capabilities, without
/// following magic links.
pub(crate) fn executable(cwd: &Path, path: &Path) -> Lookup {
    let path = cwd.join(path);
    let found = Root::open(Path::new("/")).and_then(|root| {
        let file = root.open_in_root(&path, Kind::Place)?;
        let found = nix::sys::stat::fstat(&file).during(|| format!("cannot look at {}", path.display()))?;
        interpreters(&root, cwd, &path).map(|()| found)
    });
    match found {
        Ok(found) if found.st_mode & libc::S_IFMT == libc::S_IFDIR => Lookup::Directory,
        Ok(found) if found.st_mode & 0o111 == 0 || !may_run(&path) => Lookup::Denied,
        Ok(_) => Lookup::Runs,
        Err(e) => match e.cause.raw_os_error() {
            Some(libc::ELOOP) if is_loop(&path) => Lookup::Absent(Errno::ELOOP),
            Some(libc::ELOOP) => Lookup::Denied, // a magic link
            number => Lookup::Absent(number.map_or(Errno::ENOENT, Errno::from_raw)),
        },
    }
}

/// Returns whether the kernel itself finds too many symbolic links on a path. The look-up here
/// answers the same for one magic link, which the kernel would follow.
fn is_loop(path: &Path) -> bool {
    faccessat(AT_FDCWD, path, AccessFlags::F_OK, AtFlags::empty()) == Err(Errno::ELOOP)
}

/// Returns whether the kernel lets this process run a file: its mode may allow that to other users
/// alone, or its file system to none (`noexec`). The capabilities that it has count, as with Go's
/// `LookPath` (`AT_EACCESS`): without the flag access(2) leaves them out for other users than 0.
fn may_run(path: &Path) -> bool {
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS) != Err(Errno::EACCES)
}

/// Scripts that the kernel goes through until it reaches a program, at most.
const SCRIPTS_MAX: usize = 5;
/// Bytes in which the kernel looks for an interpreter's name.
const HEAD: u64 = 256;

/// Checks that a script does not make the kernel run what a magic link leads to: `/proc/self/exe`
/// is this program itself here (CVE-2019-5736). A script that cannot be read is not looked at: what
/// protects then is that the program lies on a read-only file system.
///
/// # Errors
/// `ELOOP`: an interpreter, or the interpreter of that, is behind a magic link.
fn interpreters(root: &Root, cwd: &Path, script: &Path) -> Result<()> {
    let mut path = script.to_path_buf();
    for _ in 0..SCRIPTS_MAX {
        let Ok(file) = root.open_in_root(&path, Kind::File) else { break };
        let mut head = Vec::new();
        let _ = fs::File::from(file).take(HEAD).read_to_end(&mut head);
        let Some(next) = interpreter(&head) else { break };
        path = cwd.join(next);
        if let Err(e) = root.open_in_root(&path, Kind::Place)
            && e.cause.raw_os_error() == Some(libc::ELOOP)
        {
            return Err(e);
        }
    }
    Ok(())
}

/// Returns the interpreter that the first line of a script names.
fn interpreter(head: &[u8]) -> Option<&Path> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0);
    let name = line.split(blank).find(|word| !word.is_empty())?;
    Some(Path::new(std::ffi::OsStr::from_bytes(name)))
}

/// Looks a program up as execvp(3) does. Its errors have the words of Go's `exec`, as runc's.
///
/// # Errors
/// There is no such program, or it is no executable file.
pub(crate) fn find_program(
    program: &str,
    env: &[(String, String)],
    look: impl Fn(&Path) -> Lookup,
) -> Result<PathBuf> {
    let fail = |text: String, kind: io::ErrorKind| {
        Err(Error::new(format!("exec: {program:?}"), io::Error::new(kind, text)))
    };
    if program.contains('/') {
        let path = PathBuf::from(program);
        return match look(&path) {
            Lookup::Runs => Ok(path),
            Lookup::Denied => fail("permission denied".into(), io::ErrorKind::PermissionDenied),
            Lookup::Directory => fail("is a directory".into(), io::ErrorKind::IsADirectory),
            Lookup::Absent(why) => fail(format!("stat {program}: {}", reason(why)), io::ErrorKind::NotFound),
        };
    }
    let list = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value.as_str());
    let directories = list.split(':').filter(|_| !list.is_empty() && !program.is_empty());
    let mut paths = directories.map(|directory| match directory {
        "" => Path::new(".").join(program),
        directory => Path::new(directory).join(program),
    });
    match paths.find(|path| matches!(look(path), Lookup::Runs)) {
        Some(path) if path.is_absolute() => Ok(path),
        // The working directory may be a volume, where other pods may leave programs.
        Some(_) => {
            let why = "cannot run executable found relative to current directory";
            fail(why.into(), io::ErrorKind::PermissionDenied)
        }
        None => fail("executable file not found in $PATH".into(), io::ErrorKind::NotFound),
    }
}

/// Refuses an environment that execve(2) cannot take: with a NUL byte, which a Secret of any bytes
/// may have. As runc (`prepareEnv`), before the container has started.
///
/// # Errors
/// In runc's words, without the value, which may be a secret.
pub(crate) fn check_environment(env: &[(String, String)]) -> Result<()> {
    match env.iter().find(|(name, value)| name.contains('\0') || value.contains('\0')) {
        Some((name, _)) => {
            let why = io::Error::new(io::ErrorKind::InvalidInput, "contains nul byte (\\x00)");
            Err(Error::new(format!("invalid environment variable {name:?}"), why))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn no_script_makes_the_kernel_run_this_program() {
        let tmp = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            let path = tmp.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let looked = |path: &Path| match executable(tmp.path(), path) {
            Lookup::Runs => "runs",
            Lookup::Denied => "denied",
            Lookup::Directory => "directory",
            Lookup::Absent(why) => why.desc(),
        };
        symlink("/proc/self/exe", tmp.path().join("link")).unwrap();
        for text in [
            "#!/proc/self/exe\n".to_string(),
            "#! \t/proc/self/exe with an argument\n".to_string(),
            "#!/proc/thread-self/exe".to_string(),
            "#!/proc/self/../self/exe\n".to_string(),
            "#!/proc/self/fd/0\n".to_string(),
            format!("#!{}/link\n", tmp.path().display()),
            "#!link\n".to_string(),
        ] {
            assert_eq!(looked(&script("bad", &text)), "denied", "{text:?}");
        }
        // The interpreter is a script whose own interpreter is this program.
        script("inner", "#!/proc/self/exe\n");
        let outer = script("outer", &format!("#!{}/inner\n", tmp.path().display()));
        assert_eq!(looked(&outer), "denied");
        assert_eq!(looked(Path::new("inner")), "denied");
        for text in ["#!/bin/sh\necho /proc/self/exe\n", "#!/nowhere/at/all\n", "#!\n", "echo\n", ""] {
            assert_eq!(looked(&script("good", text)), "runs", "{text:?}");
        }
        assert_eq!(looked(Path::new("/proc/self/exe")), "denied");
        assert_eq!(looked(Path::new("nothing")), "No such file or directory");
        assert_eq!(looked(Path::new("good/below")), "Not a directory");
        assert_eq!(looked(tmp.path()), "directory");
    }

    #[test]
    fn a_variable_with_a_nul_byte_is_named_without_its_value() {
        let env = |value: &str| [("A", "1"), ("KEY", value)].map(|(n, v)| (n.to_string(), v.to_string()));
        assert!(check_environment(&env("plain")).is_ok());
        let refused = check_environment(&env("secret\0bytes")).unwrap_err().line();
        assert_eq!(refused, "invalid environment variable \"KEY\": contains nul byte (\\x00)");
    }

    #[test]
    fn links_that_lead_to_each_other_differ_from_a_magic_link() {
        let tmp = tempfile::tempdir().unwrap();
        for (link, to) in [("a", "b"), ("b", "a"), ("exe", "/proc/self/exe")] {
            symlink(to, tmp.path().join(link)).unwrap();
        }
        let line = |path: PathBuf| {
            let path = path.display().to_string();
            let found = find_program(&path, &[], |file| executable(tmp.path(), file)).unwrap_err().line();
            found.replace(&path, "PATH")
        };
        for path in ["a", "b", "a/below"] {
            let refused = line(tmp.path().join(path));
            assert_eq!(refused, "exec: \"PATH\": stat PATH: too many levels of symbolic links", "{path}");
        }
        assert_eq!(line(tmp.path().join("exe")), "exec: \"PATH\": permission denied");
    }

    #[test]
    fn a_program_is_looked_up_as_runc_would() {
        let look = |path: &Path| match path.to_str() {
            Some("/bin/sh") => Lookup::Runs,
            Some("/usr/bin/sh" | "/etc/passwd") => Lookup::Denied,
            Some("/etc") => Lookup::Directory,
            Some("/root/run.sh") => Lookup::Absent(Errno::EACCES), // the user may not search /root
            Some("/etc/passwd/x") => Lookup::Absent(Errno::ENOTDIR),
            _ => Lookup::Absent(Errno::ENOENT),
        };
        let env = [("PATH".to_string(), "/usr/bin:/bin".to_string())];
        let line = |program| find_program(program, &env, look).map_err(|e| e.line());
        assert_eq!(line("sh"), Ok("/bin/sh".into()));
        for path in [":", "bin:.", "./usr/bin:", "bin:/bin"] {
            let env = [("PATH".to_string(), path.to_string())];
            let found = find_program("sh", &env, |_| Lookup::Runs).map_err(|e| e.line());
            let why = "exec: \"sh\": cannot run executable found relative to current directory";
            assert_eq!(found, Err(why.into()), "{path}");
        }
        let relative = [("PATH".to_string(), "bin:/bin".to_string())];
        assert_eq!(find_program("sh", &relative, look).map_err(|e| e.line()), Ok("/bin/sh".into()));
        let none = [("PATH".to_string(), String::new())];
        let found = find_program("sh", &none, |_| Lookup::Runs).map_err(|e| e.line());
        assert_eq!(found, Err("exec: \"sh\": executable file not found in $PATH".into()));
        assert_eq!(line("nope"), Err("exec: \"nope\": executable file not found in $PATH".into()));
        assert_eq!(line("/nope"), Err("exec: \"/nope\": stat /nope: no such file or directory".into()));
        assert_eq!(line("/etc/passwd"), Err("exec: \"/etc/passwd\": permission denied".into()));
        assert_eq!(line("/etc"), Err("exec: \"/etc\": is a directory".into()));
        for (path, why) in [("/root/run.sh", "permission denied"), ("/etc/passwd/x", "not a directory")] {
            assert_eq!(line(path), Err(format!("exec: {path:?}: stat {path}: {why}")));
        }
    }
}
