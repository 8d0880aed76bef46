//! DNS over TCP: the messages of a connection one after the other, each behind its length (RFC
//! 7766).
//!
//! Every pod may connect. So one address has a part of the connections only, and a client that
//! sends no question, or does not read its answer, is sent away.

use super::places::{Place, Places};
use linux::descriptors::{self, unreserved};
use linux::tcp;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// A connection on which no question comes, or no answer is read, for this long is closed (RFC 7766
/// leaves the time to the server).
const IDLE: Duration = Duration::from_secs(10);
/// Connections at the same time, of all addresses and of one; fewer where the limit of descriptors
/// is low. What comes beyond is closed. A resolver that uses TCP alone (`use-vc` in resolv.conf)
/// makes a connection for each question, and a busy pod has hundreds at once.
const CONNECTIONS_MAX: usize = 1024;
const CONNECTIONS_OF_ONE: usize = 256;
/// Bytes of a question: a name has 255, and the options behind it are short. A longer one ends its
/// connection, so all connections together hold 4 MiB of questions.
const QUESTION_MAX: usize = 4 << 10;

/// Returns the places of connections in a process that may have `limit` descriptors. One address
/// never has more than half of them, so another one finds a place at once.
fn places(limit: u64) -> Places {
    let most = descriptors::connections(limit, 8, 1).min(CONNECTIONS_MAX);
    Places::new(most, CONNECTIONS_OF_ONE.min(most / 2))
}

/// Answers questions until the crew ends. A question without an answer ends its connection.
/// `answer` gets the question and the client's address.
pub(crate) async fn serve<F, A>(listener: TcpListener, crew: Crew, answer: F)
where
    F: Fn(Vec<u8>, IpAddr) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Option<Vec<u8>>> + Send + 'static,
{
    let clients = Arc::new(places(descriptors::limit()));
    loop {
        let (stream, from) = tcp::accept(&listener).await;
        let Some(client) = Place::begin(&clients, from.ip()) else { continue }; // closed by the drop
        let answer = answer.clone();
        crew.spawn(async move {
            let _ = tcp::bound_unread(&stream); // used as it is if it refuses
            let answer = |question| answer(question, from.ip());
            let _ = client.end.run_until_cancelled(talk(stream, answer)).await; // either side may hang up
        });
    }
}

async fn talk<A>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(Vec<u8>) -> A,
) -> io::Result<()>
where
    A: Future<Output = Option<Vec<u8>>>,
{
    loop {
        let question = tokio::time::timeout(IDLE, message(&mut stream, QUESTION_MAX)).await??;
        let Some(reply) = answer(question).await else { return Ok(()) };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?.to_be_bytes();
        tokio::time::timeout(IDLE, stream.write_all(&[&length[..], &reply[..]].concat())).await??;
    }
}

/// Reads the next message: its length, then itself.
///
/// # Errors
/// `InvalidData`: it is longer than `most` bytes. Others: the connection broke.
async fn message(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map(|_| bytes)
}

/// Asks a server one question and returns its answer.
///
/// # Errors
/// `EMFILE`: only descriptors of the reserve are left, which is not for questions of pods.
pub(super) async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    let mut stream = unreserved(socket)?.connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?.to_be_bytes();
    stream.write_all(&[&length[..], question].concat()).await?;
    message(&mut stream, usize::from(u16::MAX)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_hundreds_of_connections_and_leaves_some_to_others() {
        for (limit, all, of_one) in [(20_000, 1024, 256), (1024, 96, 48), (0, 64, 32)] {
            let places = Arc::new(places(limit));
            let pod = |n: u8| IpAddr::from([10, 244, 1, n]);
            let mut held: Vec<Place> = (0..2000).map_while(|_| Place::begin(&places, pod(2))).collect();
            assert_eq!(held.len(), of_one, "{limit}");
            for n in 3..100 {
                held.extend((0..2000).map_while(|_| Place::begin(&places, pod(n))));
            }
            let open = held.iter().filter(|place| !place.end.is_cancelled()).count();
            assert_eq!(open, all, "{limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_nothing_or_does_not_read_its_answer_is_sent_away() {
        let echo = |question: Vec<u8>| async move { Some(question.repeat(100)) };
        let (mut client, server) = tokio::io::duplex(64);
        let talking = tokio::spawn(talk(server, echo));
        client.write_all(&[0, 2, 7, 7]).await.unwrap();
        let start = tokio::time::Instant::now();
        // 200 bytes do not fit into the pipe, and the client reads none of them.
        assert!(talking.await.unwrap().is_err());
        assert_eq!(start.elapsed(), IDLE);
        let (mut client, server) = tokio::io::duplex(1024);
        let talking = tokio::spawn(talk(server, echo));
        client.write_all(&[0, 2, 7, 7]).await.unwrap();
        let mut reply = [0; 202];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!((reply[..2].to_vec(), reply[201]), (vec![0, 200], 7));
        let start = tokio::time::Instant::now();
        assert!(talking.await.unwrap().is_err());
        assert_eq!(start.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_is_too_long_is_not_waited_for() {
        let (mut client, server) = tokio::io::duplex(64);
        let talking = tokio::spawn(talk(server, |question: Vec<u8>| async move { Some(question) }));
        let start = tokio::time::Instant::now();
        client.write_all(&[0xff, 0xff, 7]).await.unwrap();
        assert_eq!(talking.await.unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
