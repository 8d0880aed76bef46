//! File descriptors: a share for connections, a reserve for everything else.
//!
//! Every room of this program lives in one process, so a flood of connections could take the
//! descriptors that the store needs for its next segment. The kernel gives out the lowest free
//! number. A connection whose number lies in the topmost [`reserve`] is closed at once; so
//! connections never hold a number of the reserve, and code that opens a file finds one there.

use clock::Instant;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Numbers that connections leave free, at most; a fourth of the limit where that is less.
const RESERVE_MAX: u64 = 1024;
/// Connections that a listener may have however low the limit is: a small cluster's own.
const CONNECTIONS_LEAST: u64 = 64;
/// After a failed accept(2) the next try waits this long, twice as long after each further failure.
const AGAIN_FIRST: Duration = Duration::from_millis(10);
const AGAIN_MOST: Duration = Duration::from_millis(200);
/// A listener logs that it cannot accept at most this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Returns how many descriptors this process may have (`RLIMIT_NOFILE`, soft).
pub fn limit() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// Returns how many of `limit` descriptors connections leave free.
pub fn reserve(limit: u64) -> u64 {
    RESERVE_MAX.min(limit / 4)
}

/// Returns how many connections a listener may have if they may use one part in `parts` of the
/// descriptors, and each needs `each`.
pub fn connections(limit: u64, parts: u64, each: u64) -> usize {
    let most = limit.saturating_sub(reserve(limit)) / (parts * each).max(1);
    usize::try_from(most.max(CONNECTIONS_LEAST)).unwrap_or(usize::MAX)
}

/// Returns whether this descriptor's number belongs to the reserve: a connection that has it must
/// be closed.
pub fn is_reserved(fd: &impl AsRawFd) -> bool {
    is_in_reserve(fd.as_raw_fd(), limit())
}

/// Returns the socket of a connection, if it leaves the reserve alone.
///
/// # Errors
/// `EMFILE`: its number belongs to the reserve, so it was closed.
pub fn unreserved<T: AsRawFd>(socket: T) -> io::Result<T> {
    match is_reserved(&socket) {
        true => Err(io::Error::from_raw_os_error(libc::EMFILE)), // closed here
        false => Ok(socket),
    }
}

/// True if a socket could not be made or used because this process or the machine lacks descriptors
/// or memory. Such an error says nothing about the other side.
pub fn is_shortage(error: &io::Error) -> bool {
    let lacks = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|number| lacks.contains(&number))
}

fn is_in_reserve(number: i32, limit: u64) -> bool {
    u64::try_from(number).is_ok_and(|n| n >= limit.saturating_sub(reserve(limit)))
}

/// When it was last logged that a listener cannot accept.
#[derive(Default)]
pub(super) struct Complaint(Option<Instant>);

impl Complaint {
    /// Returns whether the failure is to be logged: the first one, and again after [`LOG_EVERY`].
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.0.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}

/// Accepts the next connection, and closes those that would take a descriptor of the reserve.
///
/// No error ends it: without a descriptor or memory (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`) it
/// waits and tries again; a client that has gone already (`ECONNABORTED`) is passed over.
pub(super) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (mut again, mut complaint) = (AGAIN_FIRST, Complaint::default());
    loop {
        let error = match listener.accept().await {
            Ok((stream, from)) if !is_reserved(&stream) => return (stream, from),
            Ok(_) => io::Error::from_raw_os_error(libc::EMFILE), // closed here: the reserve is not for connections
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => error,
        };
        if complaint.is_due() {
            tracing::warn!(%error, limit = limit(), "cannot accept connections; close some, or raise the limit of open files");
        }
        clock::pause(again).await;
        again = (again * 2).min(AGAIN_MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_cannot_accept_says_so_now_and_then() {
        let mut complaint = Complaint::default();
        assert_eq!([(); 3].map(|()| complaint.is_due()), [true, false, false]);
    }

    #[test]
    fn the_reserve_is_the_top_of_the_numbers_and_listeners_share_the_rest() {
        assert_eq!((reserve(20_000), reserve(700), reserve(0)), (1024, 175, 0));
        assert!(!is_in_reserve(18_975, 20_000) && is_in_reserve(18_976, 20_000));
        assert!(!is_in_reserve(524, 700) && is_in_reserve(525, 700));
        assert!(!is_in_reserve(-1, 700));
        assert_eq!(connections(20_000, 4, 3), 1581);
        assert_eq!(connections(256, 4, 3), 64, "a small limit leaves the cluster's own connections");
        // Two kinds of listeners, a half and a fourth, and the servers behind them fit below the
        // reserve.
        let limit = 20_000;
        let used = 6 * connections(limit, 2, 6) + 3 * connections(limit, 4, 3);
        assert!(used as u64 <= limit - reserve(limit));
    }

    #[test]
    fn a_socket_of_the_reserve_is_a_shortage_and_a_refusal_is_none() {
        struct Numbered(i32);
        impl AsRawFd for Numbered {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.0
            }
        }
        assert!(unreserved(Numbered(3)).is_ok());
        let error = unreserved(Numbered(i32::MAX)).err().unwrap();
        assert!(is_shortage(&error), "{error}");
        assert!(!is_shortage(&io::Error::from_raw_os_error(libc::ECONNREFUSED)));
        assert!(!is_shortage(&io::ErrorKind::UnexpectedEof.into()));
    }

    /// A flood takes every number below the reserve, and a file can still be opened: in a process
    /// of its own, whose limit is low.
    #[test]
    fn a_flood_of_connections_leaves_files_their_descriptors() {
        const INSIDE: &str = "ROPEWALK_TEST_DESCRIPTORS";
        if std::env::var_os(INSIDE).is_none() {
            let test = "descriptors::tests::a_flood_of_connections_leaves_files_their_descriptors";
            let ended = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", test, "--nocapture"])
                .env(INSIDE, "1")
                .output()
                .unwrap();
            let output = String::from_utf8_lossy(&ended.stdout).into_owned();
            assert!(ended.status.success(), "{output}{}", String::from_utf8_lossy(&ended.stderr));
            assert!(output.contains("1 passed"), "{output}");
            return;
        }
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 200, hard).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            // The clients are the kernel's: connections wait in the backlog, each costs one
            // descriptor here for the dialling half.
            let (mut dialled, mut accepted) = (vec![], vec![]);
            while let Ok(socket) = TcpStream::connect(address).await {
                match tokio::time::timeout(Duration::from_millis(300), accept(&listener)).await {
                    Ok((stream, _)) => accepted.push(stream),
                    Err(_) => break,
                }
                dialled.push(socket);
            }
            assert!(accepted.len() >= 50, "{}", accepted.len());
            assert!(accepted.iter().all(|s| (s.as_raw_fd() as u64) < 200 - reserve(200)));
            drop(dialled);
            let files: Vec<_> = (0..reserve(200) - 5).map(|_| std::fs::File::open("/dev/null")).collect();
            assert!(files.iter().all(Result::is_ok), "the store's files find their descriptors");
            // No descriptor at all is left for accept(2): it waits, and goes on when there is one.
            let first = TcpStream::connect(address).await.unwrap();
            let mut filled = vec![];
            while let Ok(file) = std::fs::File::open("/dev/null") {
                filled.push(file);
            }
            let start = std::time::Instant::now();
            let waited = tokio::time::timeout(Duration::from_millis(100), accept(&listener)).await;
            assert!(waited.is_err() && start.elapsed() >= Duration::from_millis(100));
            drop((filled, files, accepted));
            let taken = tokio::time::timeout(Duration::from_secs(5), accept(&listener)).await;
            assert_eq!(taken.unwrap().1, first.local_addr().unwrap());
        });
    }
}
