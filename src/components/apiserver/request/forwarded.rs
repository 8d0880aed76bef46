//! Connections that the balancer of this process makes: whose client each one serves.
//!
//! A balancer passes bytes, so all of its connections come from its own address. For the API server
//! they would be one client: `curl` in a pod would be taken for the learner's, and the bounds for
//! each source would hold for all clients together. Upstream's balancers say in a PROXY header for
//! whom they connect; this one lies in the same process, and calls [`Server::forwards`].
//!
//! ```text
//! 10.244.1.2:40000 ──▶ balancer ── 172.30.0.1:51000 ──▶ API server
//!                         └─ forwards(172.30.0.1:51000, 10.244.1.2:40000), before the first byte
//! ```
//!
//! The API server may have accepted the connection before that, so it asks when the first byte has
//! come, and once only: a client that leaves early is still the client of what it has sent.

use crate::request::sources::Known;
use crate::server::Server;
use std::collections::HashMap;
use std::net::SocketAddr;

/// The clients of forwarded connections, by the address and port that the API server sees. The
/// balancer bounds their number: each is a connection that it has open.
pub(crate) type Clients = HashMap<SocketAddr, SocketAddr>;

/// A connection that a balancer makes for a client. Dropped before the connection is closed.
pub struct Forwarded {
    known: Known,
    from: SocketAddr,
    client: SocketAddr,
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        // The kernel gives the port of a connection that was reset to the next one before the
        // balancer has closed the first: the note may be the next one's by now.
        let mut known = self.known.lock();
        if known.clients.get(&self.from) == Some(&self.client) {
            known.clients.remove(&self.from);
        }
    }
}

impl Server {
    /// Notes that the connection which this server sees from `from` is made for `client`. The
    /// caller passes no byte of the client on before, and keeps the note while the connection
    /// lasts.
    pub fn forwards(&self, from: SocketAddr, client: SocketAddr) -> Forwarded {
        let known = self.state.known.clone();
        known.lock().clients.insert(from, client);
        Forwarded { known, from, client }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{self, Fixture};
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_rustls::client::TlsStream;

    async fn handshake(fixture: &Fixture, tcp: TcpStream) -> TlsStream<TcpStream> {
        let tls = pki::client_config(None, fixture.ca.pem(), &["http/1.1"]).unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap()
    }

    /// Asks as curl does. Returns whether the API server takes the request for one from inside the
    /// cluster.
    async fn is_inside(fixture: &Fixture, stream: &mut TlsStream<TcpStream>) -> bool {
        let before = fixture.tap.last();
        let ask = b"GET /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.5.0\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 403"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
        let records = fixture.tap.since(before);
        let mut requests = records.iter().filter_map(|record| record.request.as_ref());
        let curl = requests.find(|request| request.user_agent == "curl/8.5.0");
        let curl = curl.expect("its answer is recorded");
        assert_eq!(curl.by_hand().is_none(), curl.inside);
        curl.inside
    }

    #[tokio::test]
    async fn the_end_of_a_connection_removes_no_note_of_the_next_one_from_its_port() {
        let dir = tempfile::tempdir().unwrap();
        let server = testing::start(dir.path()).await.server;
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let noted = || server.state.known.lock().clients.get(&at("172.30.0.1:51000")).copied();
        let reset = server.forwards(at("172.30.0.1:51000"), at("127.0.0.1:40000"));
        let next = server.forwards(at("172.30.0.1:51000"), at("10.244.1.2:40000"));
        drop(reset);
        assert_eq!(noted(), Some(at("10.244.1.2:40000")));
        drop(next);
        assert_eq!(noted(), None);
    }

    /// `curl` in a pod asks through the balancer. Its last request may be read when the pod, and
    /// with it the note, has gone.
    #[tokio::test]
    async fn a_request_of_a_pod_through_the_balancer_is_one_from_inside() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let address = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
        let pod = SocketAddr::new(testing::INSIDE, 40_000);
        let person = SocketAddr::from(([127, 0, 0, 1], 40_000));
        for (client, wanted) in [(Some(pod), true), (Some(person), false), (None, false)] {
            let tcp = TcpStream::connect(address).await.unwrap();
            let from = tcp.local_addr().unwrap();
            // The API server accepts it, and learns of its client later.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let note = client.map(|client| fixture.server.forwards(from, client));
            let mut stream = handshake(&fixture, tcp).await;
            assert_eq!(is_inside(&fixture, &mut stream).await, wanted, "{client:?}");
            drop(note);
            assert!(fixture.server.state.known.lock().clients.is_empty());
            assert_eq!(is_inside(&fixture, &mut stream).await, wanted, "{client:?}, which has left");
        }
    }
}
