//! Answers that have to be whole within the time of their request.

use crate::error::Fail;
use bytes::Bytes;
use client::kubeconfig::Target;
use client::remote::{self, error_of};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};

/// The body of an answer. It fails when the time of its request is over.
pub(crate) struct Body {
    inner: remote::Body,
    over: Option<Pin<Box<Sleep>>>,
    target: Arc<Target>,
}

impl Body {
    /// A body that fails at `until`; `None`: it has all the time.
    pub(crate) fn new(inner: remote::Body, until: Option<Instant>, target: &Arc<Target>) -> Body {
        let over = until.map(|until| Box::pin(tokio::time::sleep_until(until)));
        Body { inner, over, target: target.clone() }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fail;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Fail>>> {
        let body = self.get_mut();
        if body.over.as_mut().is_some_and(|over| over.as_mut().poll(cx).is_ready()) {
            let why = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
            return Poll::Ready(Some(Err(Fail::Transport(why.into()))));
        }
        let frame = Pin::new(&mut body.inner).poll_frame(cx);
        frame
            .map(|frame| frame.map(|frame| frame.map_err(|error| Fail::from(error_of(&body.target, &error)))))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// As that of an API server that is killed, and started anew by its kubelet.
    #[tokio::test]
    async fn a_read_whose_connection_is_lost_is_sent_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Server::start().await;
        server.address = listener.local_addr().unwrap().to_string();
        let dying = tokio::spawn(async move {
            for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let said = server.kubectl(&["get", "--raw", "/x"]).await;
        assert_eq!((said.code, said.out.as_str()), (0, "ok"), "{said:?}");
        dying.await.unwrap();
    }

    #[tokio::test]
    async fn the_time_limit_of_a_request_is_also_of_its_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Server::start().await;
        server.address = listener.local_addr().unwrap().to_string();
        let silent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun";
            stream.write_all(begun).await.unwrap();
            let _ = stream.read_to_end(&mut request).await; // until the client leaves
        });
        let said = server.kubectl(&["get", "--raw", "/x", "--request-timeout=300ms"]);
        let said = tokio::time::timeout(std::time::Duration::from_secs(20), said).await.expect("an end");
        assert!(said.code == 1 && said.err.contains("while reading body"), "{said:?}");
        silent.abort();
    }
}
