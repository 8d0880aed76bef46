//! Bodies of answers that end with the time limit of their request.

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
    /// A body that fails at `until`; `None`: it has no time limit.
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers one connection after another with these texts, and ends it. Later ones, and those of
    /// an empty text, end without an answer. Returns the address, the number of connections so far
    /// and the task.
    async fn answering(
        answers: &'static [&'static str],
    ) -> (String, Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let came = Arc::new(AtomicUsize::new(0));
        let counted = came.clone();
        let task = tokio::spawn(async move {
            for answer in answers.iter().chain(std::iter::repeat(&"")) {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (address, came, task)
    }

    /// The connection breaks as when the API server is killed and its kubelet starts it anew.
    #[tokio::test]
    async fn a_read_whose_connection_is_lost_is_sent_again() {
        let mut server = Server::start().await;
        let answers = &["", "HTTP/1.1 200 OK\r\ncontent-length: 23\r\n\r\n{\"gitVersion\":\"v1.2.3\"}"];
        let (address, came, task) = answering(answers).await;
        server.address = address;
        let result = server.kubectl(&["version"]).await;
        assert!(result.code == 0 && result.out.contains("Server Version: v1.2.3\n"), "{result:?}");
        assert_eq!(came.load(Ordering::SeqCst), 2);
        task.abort();
    }

    /// A request whose answer is passed on as it comes is not sent again; other reads are, within
    /// their time limit.
    #[tokio::test]
    async fn a_read_is_not_sent_again_for_ever() {
        let mut server = Server::start().await;
        let (address, came, task) = answering(&[]).await;
        server.address = address;
        for (words, requests) in
            [(&["get", "--raw", "/x"][..], 1), (&["version", "--request-timeout=1900ms"], 2)]
        {
            came.store(0, Ordering::SeqCst);
            let result = server.kubectl(words).await;
            assert!(result.code == 1 && result.err.ends_with(": EOF\n"), "{result:?}");
            assert_eq!(came.load(Ordering::SeqCst), requests, "{words:?}");
        }
        task.abort();
    }

    /// A server that wants a longer pause than there is time.
    #[tokio::test]
    async fn no_pause_is_longer_than_the_time_limit() {
        let mut server = Server::start().await;
        let busy = &["HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\ncontent-length: 0\r\n\r\n"];
        let (address, came, task) = answering(busy).await;
        server.address = address;
        let result = server.kubectl(&["get", "--raw", "/x", "--request-timeout=20s"]);
        let result =
            tokio::time::timeout(std::time::Duration::from_secs(15), result).await.expect("no pause");
        assert!(result.code == 1 && result.err.contains("too many requests"), "{result:?}");
        assert_eq!(came.load(Ordering::SeqCst), 1);
        task.abort();
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
        let result = server.kubectl(&["get", "--raw", "/x", "--request-timeout=300ms"]);
        let result = tokio::time::timeout(std::time::Duration::from_secs(20), result).await.expect("an end");
        assert!(result.code == 1 && result.err.contains("while reading body"), "{result:?}");
        silent.abort();
    }
}
