//! Why a connection could not be made: what checks tell apart in the answers of `http`, `fetch` and
//! `exec`.
//!
//! ```text
//! refused   the machine answers that nothing takes connections there: a closed port, or a Service
//!           without endpoints, whose connections the nodes reject
//! timeout   nothing answers in time: packets are dropped, as by a NetworkPolicy
//! name      the name of the host leads to no address
//! other     anything else, e.g. a connection that is closed without an answer
//! ```

use std::io::{Error, ErrorKind};

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Refused,
    Timeout,
    Name,
    Other,
}

/// What `wget` (GNU's and busybox's), `curl` and `nc` say on standard error, in small letters. Of
/// an unknown name also what the resolvers of glibc and musl have to say (`gai_strerror`).
const SAID: [(Failure, &[&str]); 3] = [
    (
        Failure::Name,
        &[
            "bad address",
            "could not resolve",
            "unable to resolve",
            "name or service not known",
            "temporary failure in name resolution",
            "name does not resolve",
        ],
    ),
    (Failure::Refused, &["connection refused"]),
    (Failure::Timeout, &["timed out"]),
];

/// The exit codes of curl for the same (curl(1)): with `-s` it says nothing. Its code for a refused
/// connection also means other failures to connect, so that one does not count.
const CURL: [(i32, Failure); 2] = [(6, Failure::Name), (28, Failure::Timeout)];

impl Failure {
    /// The kind of an error of a connection.
    pub(super) fn of(error: &Error) -> Failure {
        match error.kind() {
            ErrorKind::ConnectionRefused => Failure::Refused,
            ErrorKind::TimedOut => Failure::Timeout,
            _ => Failure::Other,
        }
    }

    /// The kind of failure of a command in a container; `None`: it has not failed. `command` is
    /// what ran, with its exit code and its standard error. The last thing that the program said
    /// counts: it may have tried several addresses.
    pub(super) fn of_command(command: &str, code: i32, stderr: &str) -> Option<Failure> {
        if code == 0 {
            return None;
        }
        let said = |line: &str| {
            let line = line.to_lowercase();
            SAID.iter().find(|(_, words)| words.iter().any(|word| line.contains(word))).map(|(kind, _)| *kind)
        };
        let by_code = || {
            let is_curl = command.split_whitespace().next() == Some("curl");
            CURL.iter().find(|(own, _)| is_curl && *own == code).map(|(_, kind)| *kind)
        };
        Some(stderr.lines().rev().find_map(said).or_else(by_code).unwrap_or(Failure::Other))
    }

    /// The word for it in an answer.
    pub(super) fn word(self) -> &'static str {
        match self {
            Failure::Refused => "refused",
            Failure::Timeout => "timeout",
            Failure::Name => "name",
            Failure::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_silence_and_from_an_unknown_name() {
        let of = |command: &str, code, stderr: &str| {
            Failure::of_command(command, code, stderr).map_or("", Failure::word)
        };
        let wget = "wget -qO- http://web";
        for (stderr, kind) in [
            ("wget: can't connect to remote host (10.96.0.9): Connection refused\n", "refused"),
            ("wget: download timed out\n", "timeout"),
            ("wget: bad address 'web'\n", "name"),
            ("nc: getaddrinfo for host \"web\" port 80: Temporary failure in name resolution\n", "name"),
            ("nc: getaddrinfo for host \"web\" port 80: Name does not resolve\n", "name"),
            ("wget: server returned error: HTTP/1.1 404 Not Found\n", "other"),
            ("", "other"),
        ] {
            assert_eq!(of(wget, 1, stderr), kind, "{stderr}");
        }
        let refused = "curl: (7) Failed to connect to web port 80: Connection refused";
        assert_eq!(of("curl -sS http://web", 7, refused), "refused");
        assert_eq!([of("curl -s http://web", 6, ""), of("curl -s http://web", 28, "")], ["name", "timeout"]);
        assert_eq!(of(wget, 28, ""), "other", "the codes are curl's alone");
        assert_eq!(of(wget, 0, refused), "", "it has not failed");
        // Tried twice: how it ended counts.
        assert_eq!(of(wget, 1, &format!("{refused}\nwget: download timed out\n")), "timeout");
        assert_eq!(Failure::of(&ErrorKind::ConnectionRefused.into()), Failure::Refused);
        assert_eq!(Failure::of(&ErrorKind::ConnectionReset.into()), Failure::Other);
    }
}
