//! The connections of `kv-server`.

use super::commands::{self, Facts, Session};
use super::log::Log;
use super::resp::{Replies, Requests};
use super::store::Database;
use crate::daemon::{self, Stopping};
use linux::tcp;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// The most clients at once.
const CLIENTS_MAX: usize = 256;
/// Bytes of requests and replies of all clients together.
const BUFFERS_MAX: usize = 64 << 20;
/// Bytes that a client may have, whatever the others have.
const BUFFER: usize = 256 << 10;
/// Replies, or records of the log, of one batch.
const BATCH: usize = 1 << 20;
/// Bytes that are read at once.
const INPUT: usize = 16 << 10;
/// How long a client may take to read its replies.
const PATIENCE: Duration = Duration::from_secs(60);

struct Server {
    db: Database,
    log: Option<Log>,
    started: Instant,
    port: u16,
    clients: usize,
    buffers: usize,
    /// Why the server cannot go on.
    failure: mpsc::Sender<String>,
}

/// What a connection does after a batch.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// More requests have come already.
    Run,
    Read,
    Close,
}

/// Serves until TERM or INT, or until the disk refuses.
pub(super) async fn run(port: u16, db: Database, log: Option<Log>) -> Result<(), String> {
    let (failure, mut failed) = mpsc::channel(1);
    let server = Server { db, log, started: Instant::now(), port, clients: 0, buffers: 0, failure };
    let server = Rc::new(RefCell::new(server));
    let failed = async move {
        match failed.recv().await {
            Some(why) => why,
            None => std::future::pending().await, // the server itself holds a sender
        }
    };
    let serve = |stream, _, stopping| serve_connection(stream, server.clone(), stopping);
    daemon::listen(port, failed, serve).await
}

/// Returns the milliseconds since 1970.
fn unix_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Server {
    /// Runs requests that have come, keeps what they changed, and returns the replies.
    fn run_requests(&mut self, requests: &mut Requests, session: &mut Session) -> (Vec<u8>, Next) {
        let (mut replies, mut records, mut recorded, mut saves) = (Replies::default(), Vec::new(), 0, false);
        let facts = Facts {
            port: self.port,
            uptime_seconds: self.started.elapsed().as_secs(),
            clients: self.clients,
            log_size: self.log.as_ref().map(Log::size),
        };
        let next = loop {
            if replies.bytes.len() > BATCH || recorded > BATCH {
                break Next::Run;
            }
            let words = match requests.next() {
                Ok(Some(words)) => words,
                Ok(None) => break Next::Read,
                Err(fault) => {
                    replies.finish(Err(format!("ERR {fault}")));
                    break Next::Close;
                }
            };
            let done = commands::run(&mut self.db, session, words, (unix_millis(), &facts), &mut replies);
            recorded += done.records.iter().flatten().map(Vec::len).sum::<usize>();
            records.extend(done.records);
            saves |= done.saves;
            if done.closes {
                break Next::Close;
            }
        };
        match self.write_to_log(&records, saves) {
            Ok(()) => (replies.take_finished(), next),
            Err(why) => {
                // No client gets a reply for what the disk does not have.
                let _ = self.failure.try_send(why); // one reason is enough
                (Vec::new(), Next::Close)
            }
        }
    }

    /// Puts commands on the disk, and rewrites the log if it should be.
    fn write_to_log(&mut self, records: &[super::resp::Words], saves: bool) -> Result<(), String> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let refused = |e| format!("the disk refuses, so the server ends: {}", crate::reason(&e));
        // Other connections may still be served until the server has ended.
        log.check().map_err(refused)?;
        if !records.is_empty() {
            log.append(records).map_err(refused)?;
        }
        if saves || log.is_long() {
            log.rewrite(&self.db).map_err(refused)?;
        }
        Ok(())
    }
}

/// A client's place, and its share of the memory for requests and replies.
struct Share {
    server: Rc<RefCell<Server>>,
    bytes: usize,
}

impl Share {
    /// `None` if there are too many clients.
    fn claim(server: &Rc<RefCell<Server>>) -> Option<Share> {
        let mut inner = server.borrow_mut();
        if inner.clients >= CLIENTS_MAX {
            return None;
        }
        inner.clients += 1;
        Some(Share { server: server.clone(), bytes: 0 })
    }

    /// Notes that the client now has so many bytes. Returns false if that is too much.
    fn set_bytes(&mut self, bytes: usize) -> bool {
        let mut server = self.server.borrow_mut();
        server.buffers = server.buffers - self.bytes + bytes;
        self.bytes = bytes;
        bytes <= BUFFER || server.buffers <= BUFFERS_MAX
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set_bytes(0);
        self.server.borrow_mut().clients -= 1;
    }
}

async fn serve_connection(mut stream: TcpStream, server: Rc<RefCell<Server>>, mut stopping: Stopping) {
    // Failures are ignored: these two only make replies faster, and find clients that vanished.
    let _ = stream.set_nodelay(true);
    let _ = tcp::keep_alive(&stream, PATIENCE);
    let Some(mut share) = Share::claim(&server) else {
        send_replies(&mut stream, b"-ERR max number of clients reached\r\n").await;
        return;
    };
    let (mut requests, mut session) = (Requests::default(), Session::default());
    let mut input = vec![0; INPUT];
    loop {
        let (replies, next) = server.borrow_mut().run_requests(&mut requests, &mut session);
        if !share.set_bytes(requests.held_bytes() + replies.len()) {
            send_replies(&mut stream, b"-ERR the server has no memory for so much at once\r\n").await;
            return;
        }
        if !send_replies(&mut stream, &replies).await {
            return;
        }
        drop(replies);
        share.set_bytes(requests.held_bytes());
        match next {
            Next::Close => return,
            Next::Run => {
                tokio::task::yield_now().await; // others wait, too
                continue;
            }
            Next::Read => {}
        }
        let read = tokio::select! {
            read = stream.read(&mut input) => read,
            () = stopping.wait() => return,
        };
        match read {
            Ok(count) if count > 0 => requests.push(&input[..count]),
            _ => return,
        }
    }
}

/// Sends replies. Returns false if the client does not take them in time.
async fn send_replies(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    bytes.is_empty() || matches!(tokio::time::timeout(PATIENCE, stream.write_all(bytes)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(log: Option<Log>) -> (Server, mpsc::Receiver<String>) {
        let (failure, failed) = mpsc::channel(1);
        let db = Database::default();
        (Server { db, log, started: Instant::now(), port: 0, clients: 0, buffers: 0, failure }, failed)
    }

    fn ask(server: &mut Server, text: &str) -> (String, Next) {
        let mut requests = Requests::default();
        requests.push(text.as_bytes());
        let (replies, next) = server.run_requests(&mut requests, &mut Session::default());
        (String::from_utf8(replies).unwrap(), next)
    }

    #[test]
    fn requests_are_answered_in_their_order_until_one_is_broken() {
        let (mut server, _failed) = server(None);
        let (replies, next) = ask(&mut server, "set a 1\nincr a\nget a\nget");
        assert_eq!((replies.as_str(), next), ("+OK\r\n:2\r\n$1\r\n2\r\n", Next::Read));
        let (replies, next) = ask(&mut server, "ping\n*1\r\nx\r\nping\n");
        let want = "+PONG\r\n-ERR Protocol error: expected '$', got 'x'\r\n";
        assert_eq!((replies.as_str(), next), (want, Next::Close));
        let (replies, next) = ask(&mut server, "quit\nping\n");
        assert_eq!((replies.as_str(), next), ("+OK\r\n", Next::Close));
    }

    #[test]
    fn a_reply_means_that_the_change_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), &mut Database::default(), |_| {}).unwrap();
        let (mut server, mut failed) = server(Some(log));
        assert_eq!(ask(&mut server, "set a 1\n").0, "+OK\r\n");
        assert_eq!(ask(&mut server, "save\n").0, "+OK\r\n");
        // A full device refuses every byte.
        let full = std::fs::File::options().append(true).open("/dev/full").unwrap();
        server.log.as_mut().unwrap().write_to(full);
        assert_eq!(ask(&mut server, "get a\n").0, "$1\r\n1\r\n");
        assert_eq!(ask(&mut server, "set b 1\n"), (String::new(), Next::Close));
        let why = failed.try_recv().unwrap();
        assert_eq!(why, "the disk refuses, so the server ends: No space left on device");
        // There is room again, but the file may end with a part of a record.
        let path = dir.path().join("kv.log");
        let size = std::fs::metadata(&path).unwrap().len();
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        server.log.as_mut().unwrap().write_to(file);
        for line in ["set c 1\n", "get b\n", "save\n"] {
            assert_eq!(ask(&mut server, line), (String::new(), Next::Close), "{line}");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size);
    }

    #[test]
    fn a_log_of_the_longest_requests_is_read_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path(), &mut Database::default(), |_| {}).unwrap();
        let (mut server, _failed) = server(Some(log));
        let (mut accepted, mut refused) = (0, 0);
        // All of it is in the log: a rewrite would hide what cannot be read.
        for elements in [20_000, 16_382, 16_383] {
            let line = format!("rpush l{}\n", " x".repeat(elements));
            match ask(&mut server, &line) {
                (reply, Next::Read) if reply.starts_with(':') => accepted += elements,
                (reply, Next::Close) => {
                    assert!(reply.contains("words in an inline request"), "{reply}");
                    refused += elements;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((accepted, refused), (16_382, 36_383));
        drop(server);
        let mut db = Database::default();
        Log::open(dir.path(), &mut db, |_| {}).unwrap();
        assert_eq!(db.len(), 1);
    }

    #[test]
    fn clients_share_the_memory_for_what_is_on_its_way() {
        let (server, _failed) = server(None);
        let server = Rc::new(RefCell::new(server));
        let mut shares: Vec<Share> = (0..CLIENTS_MAX).map(|_| Share::claim(&server).unwrap()).collect();
        assert!(Share::claim(&server).is_none());
        assert!(
            shares[0].set_bytes(BUFFERS_MAX)
                && !shares[1].set_bytes(BUFFER + 1)
                && shares[2].set_bytes(BUFFER)
        );
        shares.truncate(2);
        assert_eq!((server.borrow().clients, server.borrow().buffers), (2, BUFFERS_MAX + BUFFER + 1));
        shares.clear();
        assert_eq!((server.borrow().clients, server.borrow().buffers), (0, 0));
    }
}
