//! The client's side of the protocol. Blocking: a client does one thing at a time.

use super::resp::{integer, write_request};
use crate::http::{self, Deadline};
use crate::resolve;
use std::io::{self, BufRead, BufReader, Read, Take, Write};
use std::net::TcpStream;

/// Bytes of a line of a reply.
const LINE_MAX: u64 = 64 << 10;
/// Arrays within arrays.
const DEPTH_MAX: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Option<Vec<Reply>>),
}

/// A stream that waits no longer than the deadline says.
struct Timed {
    stream: TcpStream,
    deadline: Deadline,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.deadline.left()?)?;
        self.stream.read(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => e,
        })
    }
}

pub(crate) struct Client {
    reader: BufReader<Take<Timed>>,
    /// Bytes of one reply.
    reply_max: u64,
}

impl Client {
    /// Connects to a host by its name or address.
    ///
    /// # Errors
    /// Why there is no connection, for people.
    pub(crate) fn connect(
        (host, port): (&str, u16),
        deadline: Deadline,
        reply_max: u64,
    ) -> Result<Client, String> {
        let addresses = resolve::addresses(host, deadline.at())
            .map_err(|e| format!("cannot find the name {host}: {e}"))?;
        let stream = http::connect(&addresses, port, &deadline, |_| {}).map_err(|e| match e.kind() {
            io::ErrorKind::TimedOut => "no answer in time".to_string(),
            _ => crate::reason(&e),
        })?;
        Ok(Client { reader: BufReader::new(Timed { stream, deadline }.take(reply_max)), reply_max })
    }

    /// Sets another deadline from now on.
    pub(crate) fn until(&mut self, deadline: Deadline) {
        self.reader.get_mut().get_mut().deadline = deadline;
    }

    /// Sends a command and reads its reply.
    ///
    /// # Errors
    /// The connection has broken, the deadline is over, or the server speaks something else. The
    /// command may have been run all the same.
    pub(crate) fn call(&mut self, words: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
        let mut request = Vec::new();
        write_request(words, &mut request);
        let timed = self.reader.get_mut().get_mut();
        timed.stream.set_write_timeout(timed.deadline.left()?)?;
        timed.stream.write_all(&request)?;
        self.reader.get_mut().set_limit(self.reply_max);
        read(&mut self.reader, DEPTH_MAX)
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// Reads a reply with at most `depth` arrays around its innermost value.
pub(super) fn read(reader: &mut impl BufRead, depth: usize) -> io::Result<Reply> {
    let mut line = Vec::new();
    reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\r\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.len() - 2);
    let (kind, text) = line.split_first().ok_or_else(|| invalid("a reply without a type"))?;
    let number = || integer(text).ok_or_else(|| invalid("a reply with a bad number"));
    Ok(match kind {
        b'+' => Reply::Status(text.to_vec()),
        b'-' => Reply::Error(text.to_vec()),
        b':' => Reply::Integer(number()?),
        b'$' => match u64::try_from(number()?) {
            Ok(length) => Reply::Bulk(Some(bulk(reader, length)?)),
            Err(_) => Reply::Bulk(None),
        },
        b'*' if depth == 0 => return Err(invalid("a reply with too many arrays in each other")),
        b'*' => match u64::try_from(number()?) {
            Ok(count) => {
                let mut all = Vec::new(); // it grows with what comes, not with what is announced
                for _ in 0..count {
                    all.push(read(reader, depth - 1)?);
                }
                Reply::Array(Some(all))
            }
            Err(_) => Reply::Array(None),
        },
        _ => return Err(invalid("this is not Redis' protocol")),
    })
}

fn bulk(reader: &mut impl BufRead, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut bytes)?;
    let mut end = [0; 2];
    reader.read_exact(&mut end)?;
    match end == *b"\r\n" {
        true => Ok(bytes),
        false => Err(invalid("a reply longer than it says")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_not_made_in_time_has_no_answer() {
        let over = Deadline::new(Some(std::time::Duration::ZERO));
        let client = Client::connect(("127.0.0.1", 1), over, 64);
        assert_eq!(client.err().as_deref(), Some("no answer in time"));
    }

    #[test]
    fn replies_are_read_and_nonsense_is_refused() {
        let got = |text: &str| read(&mut text.as_bytes(), DEPTH_MAX).map_err(|e| e.kind());
        assert_eq!(got("+OK\r\n"), Ok(Reply::Status(b"OK".to_vec())));
        assert_eq!(got("$2\r\na\n\r\n"), Ok(Reply::Bulk(Some(b"a\n".to_vec()))));
        assert_eq!(got("$-1\r\n"), Ok(Reply::Bulk(None)));
        let nested = Reply::Array(Some(vec![Reply::Integer(-3), Reply::Array(None)]));
        assert_eq!(got("*2\r\n:-3\r\n*-1\r\n"), Ok(nested));
        let (end, invalid) = (io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData);
        for (text, kind) in [
            ("", end),
            ("+OK", end),
            ("$9\r\nabc", end),
            ("$1\r\nabc", invalid),
            ("*99999999999\r\n", end),
            (":x\r\n", invalid),
            ("HTTP/1.1 400 Bad Request\r\n", invalid),
            ("\r\n", invalid),
        ] {
            assert_eq!(got(text), Err(kind), "{text:?}");
        }
        assert_eq!(got(&"*1\r\n".repeat(9)), Err(invalid));
    }
}
