//! Which failed requests may be retried: a write must not be done twice.

use crate::conn::Answered;
use bytes::Bytes;
use http::{Extensions, Method, Request};
use http_body_util::Full;
use hyper::body::Body as _;
use hyper_util::client::legacy::Error;
use std::error::Error as _;
use std::sync::atomic::Ordering;

/// Returns true for a request that changes nothing.
pub(super) fn is_read<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Returns true for an error of a connection of HTTP/1.1 that has answered an earlier request.
pub(super) fn was_kept(error: &Error) -> bool {
    let Some(connection) = error.connect_info().filter(|connection| !connection.is_negotiated_h2()) else {
        return false;
    };
    let mut extensions = Extensions::new();
    connection.get_extras(&mut extensions);
    extensions.get::<Answered>().is_some_and(|Answered(answered)| answered.load(Ordering::Relaxed))
}

/// Returns true for a request that the server says it did not take: it refused the stream, or ends
/// the connection behind earlier ones (RFC 9113, 8.7). It may be sent again, also if it is a write.
///
/// hyper also returns the error of an ending connection for a request whose headers it has just
/// sent, before it sends the body. The server may carry out such a request if it has no body, so a
/// write without one is not sent again then.
pub(super) fn was_not_taken(request: &Request<Full<Bytes>>, error: &Error) -> bool {
    // To carry it out twice does no harm, or the server has not got all of it.
    let is_harmless = is_read(request) || !request.body().is_end_stream();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let mut of_http2 = causes.filter_map(|cause| cause.downcast_ref::<h2::Error>());
    of_http2.any(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let is_behind = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (is_refused || (is_behind && is_harmless))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Http;
    use super::*;
    use crate::kubeconfig::Target;
    use http::Response;
    use pki::{Ca, Subject, server_config};
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    /// Starts a server that gives `serve` one connection after the other, counted from 0. Returns
    /// how a POST to it ends, and how many connections there were.
    async fn posted<S: Future<Output = ()> + Send + 'static>(
        body: &'static str,
        serve: impl Fn(usize, TlsStream<TcpStream>) -> S + Send + Sync + 'static,
    ) -> (Result<u16, String>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "test").unwrap();
        let identity = ca.issue(&Subject::server("m", &["127.0.0.1"])).unwrap();
        let acceptor = TlsAcceptor::from(server_config(&identity, ca.pem()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let server = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, Ordering::Relaxed);
                let tls = acceptor.accept(tcp).await.unwrap();
                serve(number, tls).await;
            }
        });
        let ca_pem = Some(ca.pem().as_bytes().to_vec());
        let http = Http::new(Target { ca_pem, ..Target::anybody("https", &host) }).unwrap();
        let request = Request::post(format!("https://{host}/")).body(Full::from(body)).unwrap();
        let sent = tokio::time::timeout(Duration::from_secs(20), http.send(request)).await;
        server.abort();
        let sent = sent.expect("an answer").map(|answer| answer.status().as_u16());
        (sent.map_err(|error| error.to_string()), connections.load(Ordering::Relaxed))
    }

    /// Answers the requests of a connection with 200, but refuses the first ones.
    async fn answer(refused: usize, tls: TlsStream<TcpStream>) {
        let mut connection = h2::server::handshake(tls).await.unwrap();
        let mut asked = 0;
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            asked += 1;
            if asked <= refused {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                drop(respond.send_response(Response::new(()), true).unwrap());
            }
        }
    }

    /// As a server with no room for a further stream just now.
    #[tokio::test]
    async fn a_write_whose_stream_was_refused_is_sent_again() {
        for body in ["x", ""] {
            let (sent, connections) = posted(body, |_, tls| answer(1, tls)).await;
            assert_eq!((sent, connections), (Ok(200), 1), "{body:?}");
        }
    }

    /// Reads until the headers of a request have come, then ends the connection as a server that
    /// has taken the requests up to the stream `last`. Source: RFC 9113, 4.1 and 6.8.
    async fn end_behind(last: u8, mut tls: TlsStream<TcpStream>) {
        const HEADERS: u8 = 1;
        tls.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap(); // SETTINGS without any
        tls.read_exact(&mut [0; 24]).await.unwrap(); // the preface of the client
        let mut kind = None;
        while kind != Some(HEADERS) {
            let mut head = [0; 9];
            tls.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            tls.read_exact(&mut vec![0; length as usize]).await.unwrap();
            kind = Some(head[3]);
        }
        let go_away = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0];
        tls.write_all(&go_away).await.unwrap();
        tls.shutdown().await.unwrap();
        let _ = tokio::io::copy(&mut tls, &mut tokio::io::sink()).await; // the client may hang up
    }

    #[tokio::test]
    async fn a_write_is_sent_on_another_connection_only_if_the_first_has_not_taken_it() {
        for (last, body, sent_again) in [(0, "x", true), (1, "x", false), (0, "", false)] {
            let (sent, connections) = posted(body, move |number, tls| async move {
                match number {
                    0 => end_behind(last, tls).await,
                    _ => answer(0, tls).await,
                }
            })
            .await;
            let expected = if sent_again { 2 } else { 1 };
            assert_eq!((sent.is_ok(), connections), (sent_again, expected), "{last} {body:?} {sent:?}");
        }
    }
}
