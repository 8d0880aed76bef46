//! Pipes for a container's standard streams.

use super::super::spec::Role;
use linux::{descriptors, fds};
use std::os::fd::OwnedFd;

/// Our ends of a container's standard streams.
#[derive(Default)]
pub(crate) struct Streams {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

impl Streams {
    /// Ours, and theirs for the zygote. A terminal is made by the process itself, so then there are
    /// none.
    ///
    /// # Errors
    /// `EMFILE`: only descriptors of the reserve are left, which is not for containers and commands
    /// in them.
    pub(crate) fn make(terminal: bool, stdin: bool) -> std::io::Result<(Streams, Vec<(Role, OwnedFd)>)> {
        if terminal {
            return Ok((Streams::default(), Vec::new()));
        }
        let (out_ours, out_theirs) = fds::pipe()?;
        let (err_ours, err_theirs) = fds::pipe()?;
        let (in_theirs, in_ours) = match stdin {
            true => fds::pipe().map(|(read, write)| (read, Some(write)))?,
            // At its end from the beginning. The machine's /dev/null would be a file of the host in
            // the hands of the container, whose root may change its mode and owner.
            false => (fds::pipe()?.0, None),
        };
        let all = [&out_ours, &out_theirs, &err_ours, &err_theirs, &in_theirs];
        if all.into_iter().chain(&in_ours).any(descriptors::is_reserved) {
            return Err(std::io::Error::from_raw_os_error(nix::libc::EMFILE)); // closed here
        }
        let ours = Streams { stdin: in_ours, stdout: Some(out_ours), stderr: Some(err_ours) };
        Ok((ours, vec![(Role::Stdin, in_theirs), (Role::Stdout, out_theirs), (Role::Stderr, err_theirs)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn an_input_that_was_not_asked_for_is_at_its_end() {
        let (ours, theirs) = Streams::make(false, false).unwrap();
        assert!(ours.stdin.is_none() && ours.stdout.is_some() && ours.stderr.is_some());
        let (_, stdin) = theirs.into_iter().find(|(role, _)| *role == Role::Stdin).unwrap();
        assert_eq!(std::fs::File::from(stdin).read(&mut [0]).unwrap(), 0);
        assert!(Streams::make(false, true).unwrap().0.stdin.is_some());
        let (ours, theirs) = Streams::make(true, true).unwrap();
        assert!(ours.stdin.is_none() && theirs.is_empty(), "a terminal is made inside");
    }
}
