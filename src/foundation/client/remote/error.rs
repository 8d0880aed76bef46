//! Why a server cannot be asked.

use super::alert;
use crate::kubeconfig::{PluginError, Target};
use std::error::Error as Cause;
use std::io;

/// Why a server that a kubeconfig names cannot be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens at this `HOST:PORT`.
    #[error("The connection to the server {0} was refused - did you specify the right host or port?")]
    Refused(String),
    /// No connection came about, or it broke off, or the credential plugin failed, or a header that
    /// says who the user is cannot be sent; in Go's words.
    #[error("Unable to connect to the server: {0}")]
    Transport(String),
    /// A certificate or a key that the kubeconfig names is of no use; in Go's words.
    #[error("{0}")]
    Unusable(String),
}

impl From<PluginError> for Error {
    fn from(error: PluginError) -> Error {
        Error::Transport(error.to_string())
    }
}

/// What a failed connection is called: hyper's errors have the kernel's, or that of [`Dial`], among
/// their causes.
///
/// [`Dial`]: super::Dial
pub fn error_of(target: &Target, error: &(dyn Cause + 'static)) -> Error {
    let mut cause: Option<&(dyn Cause + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(here) = cause {
        if let Some(io) = here.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Error::Refused(target.host.clone());
            }
            if io.kind() == io::ErrorKind::UnexpectedEof {
                return Error::Transport("EOF".into());
            }
            if io.kind() == io::ErrorKind::ConnectionReset {
                return Error::Transport("read: connection reset by peer".into());
            }
            // In TLS 1.3 a server refuses a client's certificate after the greeting.
            let tls = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            if let Some(told) = tls.and_then(alert::told) {
                return Error::Transport(told);
            }
        }
        // The server closed the connection instead of an answer.
        if here.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return Error::Transport("EOF".into());
        }
        deepest = here.to_string();
        cause = here.source();
    }
    Error::Transport(deepest)
}

#[cfg(test)]
mod tests {
    use super::super::Http;
    use super::*;
    use http::Request;
    use http_body_util::Full;
    use tokio::io::AsyncReadExt;

    /// As an API server does that ends, or that another program takes the connection from.
    #[tokio::test]
    async fn a_connection_that_ends_without_an_answer_is_told_in_gos_words() {
        for (is_reset, why) in [(false, "EOF"), (true, "read: connection reset by peer")] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let host = listener.local_addr().unwrap().to_string();
            let http = Http::new(Target::anybody("http", &host)).unwrap();
            let request = Request::get(format!("http://{host}/api")).body(Full::default()).unwrap();
            let server = async {
                let (mut tcp, _) = listener.accept().await.unwrap();
                assert!(tcp.read(&mut [0; 1024]).await.unwrap() > 0);
                if is_reset {
                    tcp.set_zero_linger().unwrap();
                }
            };
            let (_, answer) = tokio::join!(server, http.send(request));
            let told = answer.err().unwrap().to_string();
            assert_eq!(told, format!("Unable to connect to the server: {why}"));
        }
    }
}
