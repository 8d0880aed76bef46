//! How a process becomes a program: execve(2) by itself, and what a command is started without.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// Replaces this process' program. Returns only on failure. Strings with a NUL byte are `EINVAL`.
pub fn exec<S: AsRef<std::ffi::OsStr>>(path: &std::path::Path, argv: &[String], env: &[(S, S)]) -> io::Error {
    let text = |s: &[u8]| CString::new(s).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    let pair = |k: &std::ffi::OsStr, v: &std::ffi::OsStr| [k.as_bytes(), b"=", v.as_bytes()].concat();
    let run = || -> io::Result<std::convert::Infallible> {
        let path = text(path.as_os_str().as_bytes())?;
        let argv: Vec<CString> = argv.iter().map(|a| text(a.as_bytes())).collect::<io::Result<_>>()?;
        let env: Vec<CString> =
            env.iter().map(|(k, v)| text(&pair(k.as_ref(), v.as_ref()))).collect::<io::Result<_>>()?;
        Ok(nix::unistd::execve(&path, &argv, &env)?)
    };
    match run() {
        Err(e) => e,
    }
}

/// Starts a command with its three streams and no other descriptor, for a program that lives on
/// when its session ends: what the session left open, e.g. a lock of a script or the end of a pipe,
/// would stay open with it. Descriptors are closed by the exec, so its failure is still seen.
/// Source: close_range(2), Linux 5.11. Where a filter refuses the call the command inherits them.
pub fn leave_descriptors(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let leave = || {
        // SAFETY: takes numbers only, and closes nothing before the exec.
        unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        Ok(())
    };
    // SAFETY: makes one system call, and allocates nothing.
    unsafe { command.pre_exec(leave) };
}

/// A program with its arguments and its whole environment, as execve(2) takes them.
struct Image {
    path: CString,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    /// What `argv` and `envp` lead to.
    _texts: Vec<CString>,
}

// SAFETY: the pointers lead into texts that belong to the same value and are never changed.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Image {
    /// Becomes the program; returns why that failed. It allocates nothing.
    fn execute(&self) -> io::Result<()> {
        // SAFETY: both arrays end with a null pointer, and all texts live as long as `self`.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        Err(io::Error::last_os_error())
    }
}

/// Lets execve(2) alone start a command, whose program is a path and whose environment are the
/// variables that were set. The standard library may call libc's `execvp`, which lets a shell read
/// a file that the kernel does not execute (`ENOEXEC`), e.g. a script without `#!`.
///
/// # Errors
/// `InvalidInput`: a word or a variable has a NUL in it.
pub fn start_by_execve(command: &mut std::process::Command) -> io::Result<()> {
    use std::os::unix::process::CommandExt;
    let text = |bytes: Vec<u8>| CString::new(bytes).map_err(io::Error::from);
    let program = text(command.get_program().as_bytes().to_vec())?;
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| text(word.as_bytes().to_vec())).collect::<io::Result<Vec<_>>>()?;
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let variables = set.map(|(name, value)| text([name.as_bytes(), b"=", value.as_bytes()].concat()));
    let variables = variables.collect::<io::Result<Vec<_>>>()?;
    let array = |texts: &[CString]| {
        let pointers = texts.iter().map(|text| text.as_ptr());
        pointers.chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (argv, envp) = (array(&words), array(&variables));
    let texts = words.into_iter().chain(variables).collect();
    let image = Image { path: program, argv, envp, _texts: texts };
    // SAFETY: makes one system call, and allocates nothing.
    unsafe { command.pre_exec(move || image.execute()) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;

    /// As `ropewalk up 9>lock` of a script hands it on.
    #[test]
    fn a_command_is_started_without_what_its_session_left_open() {
        use std::os::unix::process::CommandExt;
        let has_more = |leaves: bool| {
            let mut command = std::process::Command::new("/bin/ls");
            command.arg("/proc/self/fd");
            // SAFETY: makes a system call only.
            unsafe { command.pre_exec(|| check(libc::fcntl(0, libc::F_DUPFD, 100).into()).map(drop)) };
            if leaves {
                leave_descriptors(&mut command);
            }
            let numbers = String::from_utf8(command.output().unwrap().stdout).unwrap();
            numbers.lines().any(|number| number.parse::<i32>().unwrap() >= 100)
        };
        assert!(has_more(false) && !has_more(true));
    }
}
