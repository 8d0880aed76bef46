//! DNS over TCP: the messages of a connection one after the other, each behind its length (RFC 7766).
//!
//! Every pod may connect. So one address has a part of the connections only, and a client that sends no question, or does not
//! read its answer, is sent away.

use crate::linux::tcp;
use crate::task::Crew;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A connection on which no question comes, or no answer is read, for this long is closed (RFC 7766 leaves the time to the server).
const IDLE: Duration = Duration::from_secs(10);
/// Connections at the same time, of all addresses and of one. What comes beyond is closed.
const CONNECTIONS_MAX: usize = 256;
const CONNECTIONS_OF_ONE: usize = 32;

/// Answers questions until the crew ends. A question without an answer ends its connection. `answer` is told who asks.
pub async fn serve<F, A>(listener: TcpListener, crew: Crew, answer: F)
where
    F: Fn(Vec<u8>, IpAddr) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Option<Vec<u8>>> + Send + 'static,
{
    let clients = Arc::new(Clients::new(CONNECTIONS_MAX, CONNECTIONS_OF_ONE));
    loop {
        let (stream, from) = tcp::accept(&listener).await;
        let Some(client) = Client::begin(&clients, from.ip()) else { continue }; // closed by the drop
        let answer = answer.clone();
        crew.spawn(async move {
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
        let question = tokio::time::timeout(IDLE, question(&mut stream)).await??;
        let Some(reply) = answer(question).await else { return Ok(()) };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?.to_be_bytes();
        tokio::time::timeout(IDLE, stream.write_all(&[&length[..], &reply[..]].concat())).await??;
    }
}

/// The next message: its length, then itself.
async fn question(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await.map(|_| bytes)
}

/// Asks a server one question and returns its answer.
pub(super) async fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?.to_be_bytes();
    stream.write_all(&[&length[..], question].concat()).await?;
    self::question(&mut stream).await
}

/// The places that are taken, by address: of connections, or of questions that are asked outside. Where all are taken, the address with
/// the most gives its oldest to one that would have fewer with it: many pods together keep no other out.
pub(super) struct Clients {
    held: Mutex<Held>,
    /// Places of all addresses, and of one.
    most: usize,
    of_one: usize,
}

#[derive(Default)]
struct Held {
    next: u64,
    /// By their numbers: the oldest is the first.
    by_address: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// One place; its end makes room for another.
pub(super) struct Client {
    of: Arc<Clients>,
    from: IpAddr,
    number: u64,
    /// Cancelled when another address gets the place.
    pub(super) end: CancellationToken,
}

impl Clients {
    pub(super) fn new(most: usize, of_one: usize) -> Clients {
        Clients { held: Mutex::default(), most, of_one }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn len_of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).map_or(0, BTreeMap::len)
    }

    /// Takes the oldest place of the address that has the most, if this one has fewer even with one more.
    fn make_room(&mut self, from: IpAddr) -> bool {
        let has = self.len_of(from);
        let largest = self.by_address.values_mut().max_by_key(|places| places.len());
        let largest = largest.filter(|places| places.len() > has + 1);
        let Some((_, end)) = largest.and_then(BTreeMap::pop_first) else { return false };
        end.cancel();
        true
    }
}

impl Client {
    /// `None`: there are too many, in all or from this address.
    pub(super) fn begin(of: &Arc<Clients>, from: IpAddr) -> Option<Client> {
        let mut held = of.lock();
        if held.len_of(from) >= of.of_one {
            return None;
        }
        let all: usize = held.by_address.values().map(BTreeMap::len).sum();
        if all >= of.most && !held.make_room(from) {
            return None;
        }
        let (number, end) = (held.next, CancellationToken::new());
        held.next += 1;
        held.by_address.entry(from).or_default().insert(number, end.clone());
        Some(Client { of: of.clone(), from, number, end })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        if let Some(places) = held.by_address.get_mut(&self.from) {
            places.remove(&self.number);
            if places.is_empty() {
                held.by_address.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pod_does_not_take_all_connections() {
        let clients = Arc::new(Clients::new(CONNECTIONS_MAX, CONNECTIONS_OF_ONE));
        let pod = |n: u8| IpAddr::from([10, 244, 1, n]);
        let mut held: Vec<Client> = (0..1000).map_while(|_| Client::begin(&clients, pod(2))).collect();
        assert_eq!(held.len(), CONNECTIONS_OF_ONE);
        for n in 3..100 {
            held.extend((0..1000).map_while(|_| Client::begin(&clients, pod(n))));
        }
        let open = |held: &[Client]| held.iter().filter(|one| !one.end.is_cancelled()).count();
        assert_eq!(open(&held), CONNECTIONS_MAX);
        // Eight pods and more have taken all: one that comes late has its place, and then has as many as the others.
        let late: Vec<Client> = (0..1000).map_while(|_| Client::begin(&clients, pod(200))).collect();
        assert_eq!(
            (late.is_empty(), open(&late), open(&held) + late.len()),
            (false, late.len(), CONNECTIONS_MAX)
        );
        drop((held, late));
        assert!(clients.lock().by_address.is_empty());
    }

    #[test]
    fn addresses_with_as_many_do_not_take_places_from_each_other() {
        let clients = Arc::new(Clients::new(4, 4));
        let pod = |n: u8| IpAddr::from([10, 244, 1, n]);
        let held: Vec<Client> = (0..4).map_while(|_| Client::begin(&clients, pod(1))).collect();
        let two: Vec<Client> = (0..4).map_while(|_| Client::begin(&clients, pod(2))).collect();
        let ended: Vec<bool> = held.iter().map(|one| one.end.is_cancelled()).collect();
        assert_eq!((two.len(), ended), (2, vec![true, true, false, false]), "the oldest of the largest");
        assert!(Client::begin(&clients, pod(1)).is_none() && two.iter().all(|one| !one.end.is_cancelled()));
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
}
