//! Descriptors that a shell script names by number.
//!
//! The numbers 0 to 9 belong to the script. The shell moves what it owns itself [`above`] them. A
//! file of the shell that has a low number for a moment is safe, too: every descriptor with an
//! owner in this program is close-on-exec; a script's are not, since its children inherit them.
//! [`assign`], [`assign_null`], [`close`], [`save`] and [`duplicate`] refuse a number whose
//! descriptor is close-on-exec.

use super::check;
use super::fds::is_close_on_exec;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// How many numbers belong to the script.
pub const COUNT: RawFd = 10;

/// Returns the number if it is one of the script's: from 0 to 9, and closed or without an owner in
/// this program. A standard stream can have one, too: after `exec <&-` the next file that the shell
/// opens has the number 0 until it is moved.
fn of_script(number: RawFd) -> io::Result<RawFd> {
    let has_owner = |number| is_close_on_exec(number).unwrap_or(false); // closed: none
    match (0..COUNT).contains(&number) && !has_owner(number) {
        true => Ok(number),
        false => Err(io::Error::from_raw_os_error(libc::EBADF)),
    }
}

/// Moves a descriptor to a number that no script can name, if it has another one.
///
/// # Errors
/// `EMFILE`: no descriptor is left; the given one is closed then.
pub fn above(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= COUNT { Ok(fd) } else { copy(fd.as_raw_fd()) }
}

/// Copies a descriptor to a number above the script's.
///
/// # Errors
/// `EBADF`: it is closed. `EMFILE`: no descriptor is left, also where the limit allows none above
/// the script's (`ulimit -n 10`), for which the kernel's word is `EINVAL`; fcntl(2).
fn copy(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes no pointers; a non-negative answer is a new descriptor.
    let copied = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, COUNT) }.into());
    let fd = copied.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => io::Error::from_raw_os_error(libc::EMFILE),
        _ => error,
    })?;
    // SAFETY: new, and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Copies what the script has under `number`; `None` if that is closed.
///
/// # Errors
/// `EBADF`: the number is none of the script's. `EMFILE`: no descriptor is left.
pub fn save(number: RawFd) -> io::Result<Option<OwnedFd>> {
    match copy(of_script(number)?) {
        Ok(fd) => Ok(Some(fd)),
        Err(e) if e.raw_os_error() == Some(libc::EBADF) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Gives the script `source` under `number`, which children inherit.
///
/// # Errors
/// `EBADF`: the number is none of the script's.
pub fn assign(number: RawFd, source: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes numbers only. `number` is one of the script's, which was checked to have no
    // owner in this program; a standard stream may mean any open file.
    check(unsafe { libc::dup2(source.as_raw_fd(), of_script(number)?) }.into()).map(drop)
}

/// Gives the script /dev/null as its standard input, which children inherit. What it had there is
/// closed first, and /dev/null gets the lowest free number, 0 (open(2)): this works also where the
/// limit leaves no number above the script's. Only for a process with one thread: another thread
/// could take the number in between.
///
/// # Errors
/// `EBADF`: the number 0 has an owner in this program. An error of open(2), such as `EMFILE` if the
/// limit allows no descriptor at all (`ulimit -n 0`): the standard input stays closed.
pub fn assign_null() -> io::Result<()> {
    close(0)?;
    let null = open("/dev/null", OFlag::O_RDONLY, Mode::empty())?; // children inherit it
    match null.as_raw_fd() {
        0 => {
            let _ = null.into_raw_fd(); // the script's, which has no owner in this program
            Ok(())
        }
        _ => Err(io::Error::from_raw_os_error(libc::EBADF)),
    }
}

/// Makes `number` mean what the script has under `from`.
///
/// # Errors
/// `EBADF`: that is closed, or a number is none of the script's. `EMFILE`: no descriptor is left.
pub fn duplicate(from: RawFd, number: RawFd) -> io::Result<()> {
    match save(from)? {
        Some(source) => assign(number, source.as_fd()),
        None => Err(io::Error::from_raw_os_error(libc::EBADF)),
    }
}

/// Closes what the script has under `number`; fine if it is closed already.
///
/// # Errors
/// `EBADF`: the number is none of the script's.
pub fn close(number: RawFd) -> io::Result<()> {
    let number = of_script(number)?;
    // SAFETY: takes a number only, which was checked to have no owner in this program.
    unsafe { libc::close(number) };
    Ok(())
}

/// Returns whether `number` is a terminal.
pub fn is_terminal(number: RawFd) -> bool {
    // SAFETY: takes a number only and changes nothing.
    number >= 0 && unsafe { libc::isatty(number) } == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_script_cannot_name_the_shells_descriptors() {
        let ours = above(File::open("/dev/null").unwrap().into()).unwrap();
        assert!(ours.as_raw_fd() >= COUNT);
        for refused in [assign(10, ours.as_fd()), close(10), duplicate(0, -1), duplicate(77, 3)] {
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EBADF));
        }
    }

    /// Runs a test of this module in a process of its own, which inherits no descriptor: here other
    /// tests may have all low numbers. Returns true in that process.
    fn runs_alone(test: &str) -> bool {
        const INSIDE: &str = "ROPEWALK_TEST_SCRIPT_FDS";
        if std::env::var_os(INSIDE).is_some() {
            return true;
        }
        let mut inside = std::process::Command::new(std::env::current_exe().unwrap());
        let test = format!("script_fds::tests::{test}");
        inside.args(["--exact", &test, "--nocapture"]).env(INSIDE, "1");
        crate::process::leave_descriptors(&mut inside);
        let ended = inside.output().unwrap();
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{output}{}", String::from_utf8_lossy(&ended.stderr));
        assert!(output.contains("1 passed"), "{output}");
        false
    }

    /// The kernel calls a number that the limit does not allow an invalid argument.
    #[test]
    fn a_limit_of_ten_descriptors_leaves_none_above_those_of_the_script() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        if !runs_alone("a_limit_of_ten_descriptors_leaves_none_above_those_of_the_script") {
            return;
        }
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, COUNT.unsigned_abs().into(), hard).unwrap();
        assert_eq!(save(0).unwrap_err().raw_os_error(), Some(libc::EMFILE));
        assert_eq!(duplicate(0, 1).unwrap_err().raw_os_error(), Some(libc::EMFILE));
        let low = File::open("/dev/null").unwrap();
        assert!(low.as_raw_fd() < COUNT);
        assert_eq!(above(low.into()).unwrap_err().raw_os_error(), Some(libc::EMFILE));
    }

    #[test]
    fn the_null_device_needs_no_number_but_0() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        if !runs_alone("the_null_device_needs_no_number_but_0") {
            return;
        }
        let input = || std::fs::read_link("/proc/self/fd/0").ok();
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 1, hard).unwrap();
        close(0).unwrap();
        assert_eq!(input(), None);
        for _ in 0..2 {
            assign_null().unwrap(); // whether the input was closed or not
            assert_eq!(input(), Some("/dev/null".into()));
        }
        assert!(!is_close_on_exec(0).unwrap(), "children inherit it");
        setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
        assert_eq!(assign_null().unwrap_err().raw_os_error(), Some(libc::EMFILE));
        assert_eq!(input(), None, "it does not keep the input of before");
    }

    #[test]
    fn a_file_of_the_shell_that_has_a_number_of_the_script_for_a_moment_is_left_alone() {
        if !runs_alone("a_file_of_the_shell_that_has_a_number_of_the_script_for_a_moment_is_left_alone") {
            return;
        }
        let files: Vec<File> = (0..COUNT).map(|_| File::open("/dev/null").unwrap()).collect();
        let low = files.iter().find(|file| file.as_raw_fd() < COUNT).expect("a low number is free");
        let number = low.as_raw_fd();
        for refused in
            [assign(number, low.as_fd()), close(number), duplicate(0, number), duplicate(number, 1)]
        {
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EBADF));
        }
        assert!(low.metadata().is_ok());
        close(0).unwrap(); // as `exec <&-`
        let own = File::open("/dev/null").unwrap();
        assert_eq!(own.as_raw_fd(), 0);
        for refused in [assign(0, low.as_fd()), assign_null()] {
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EBADF));
        }
        drop(own);
        assign(0, low.as_fd()).unwrap();
    }
}
