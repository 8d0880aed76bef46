//! The handshake of TLS, and clients that begin with something else.
//!
//! `curl http://127.0.0.1:6443` speaks HTTP to a port of HTTPS. The answer says so in HTTP, as that
//! of every server in Go (`net/http`) does: an alert of TLS makes curl say `Received HTTP/0.9 when
//! not allowed`.

use crate::request::connections::Counted;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

const ANSWER: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Makes a connection one of TLS. `None` if its client has too many connections, or did not come to
/// the end of the handshake within [`HANDSHAKE_TIMEOUT`].
pub(super) async fn shake_hands(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    counted: &Counted,
) -> Option<TlsStream<TcpStream>> {
    let handshake = async {
        // A balancer names the client of a connection before it sends anything on it.
        let mut begin = [0; 5];
        let _ = tcp.peek(&mut begin).await;
        if !counted.find_client() {
            return Err(io::Error::other("the client has too many connections"));
        }
        if looks_like_http(begin) {
            refuse(tcp).await;
            return Err(io::Error::other("the client sent an HTTP request to an HTTPS server"));
        }
        acceptor.accept(tcp).await
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.ok()? {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%error, "TLS handshake failed");
            None
        }
    }
}

/// Returns whether the first bytes of a connection are those of a request. No record of TLS begins
/// so (Go: `tlsRecordHeaderLooksLikeHTTP`).
fn looks_like_http(begin: [u8; 5]) -> bool {
    matches!(&begin, b"GET /" | b"HEAD " | b"POST " | b"PUT /" | b"OPTIO")
}

/// Answers a request that came without TLS, and closes its connection.
async fn refuse(mut tcp: TcpStream) {
    // Bytes that are unread when it closes would reset it, and the answer might be lost.
    let _ = tcp.read_buf(&mut Vec::<u8>::with_capacity(4 << 10)).await;
    let _ = tcp.write_all(ANSWER).await;
    let _ = tcp.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_request_without_tls_gets_an_answer_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let address = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
        let mut tcp = TcpStream::connect(address).await.unwrap();
        tcp.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = vec![];
        tcp.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, ANSWER, "{}", answer.escape_ascii());
        assert!(!looks_like_http([0x16, 3, 1, 2, 0]), "a handshake");
    }
}
