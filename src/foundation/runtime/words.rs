//! Errors of the kernel in the words of Go, where runc would write them.

use linux::Error;
use nix::errno::Errno;
use std::io;

/// Returns an error of the kernel as Go, and so runc, writes it.
pub(crate) fn in_words_of_go(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| reason(Errno::from_raw(number)))
}

/// Returns on one line why a process was not made, for the status of its container.
///
/// ```text
/// cannot mount a volume on /etc/passwd: not a directory
/// ```
pub(crate) fn line_of(error: &Error) -> String {
    format!("{}: {}", error.what, in_words_of_go(&error.cause))
}

/// Returns a reason in Go's words, which are the C library's with a small letter.
pub(crate) fn reason(why: Errno) -> String {
    match why {
        Errno::ELOOP => "too many levels of symbolic links".into(),
        why => why.desc().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_has_the_words_of_go_and_no_number() {
        let line = |cause: io::Error| line_of(&Error::new("cannot mount a volume on /data", cause));
        let of_kernel = line(io::Error::from_raw_os_error(nix::libc::EROFS));
        assert_eq!(of_kernel, "cannot mount a volume on /data: read-only file system");
        let own = line(io::Error::other("it is the container's root"));
        assert_eq!(own, "cannot mount a volume on /data: it is the container's root");
    }
}
