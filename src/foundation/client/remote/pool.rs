//! Pools of connections: HTTP/2 or HTTP/1.1.

use super::dial::{Dial, SILENT};
use super::ending::LastFailure;
use super::error::{Error, error_of};
use crate::kubeconfig::Target;
use bytes::Bytes;
use http::{Method, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

/// A server that was silent for [`SILENT`] on an HTTP/2 connection is asked for a sign of life, and
/// given up when it gives none within this time (client-go's).
const NO_SIGN: Duration = Duration::from_secs(15);

/// Requests that a chain of redirects has at most (Go's `http.Client`).
const REDIRECTS: usize = 10;

/// A pool of connections to one target.
pub struct Http {
    client: Client<Dial, Full<Bytes>>,
    last: LastFailure,
    /// The server, with the credentials that it is asked with.
    pub target: Arc<Target>,
}

impl Http {
    /// A pool without connections; the first request opens one.
    ///
    /// # Errors
    /// As [`Dial::new`].
    pub fn new(target: Target) -> Result<Http, Error> {
        Http::with_pings(target, SILENT, NO_SIGN)
    }

    /// A server that is silent for so long is asked for a sign of life, and given up without one.
    fn with_pings(target: Target, silent: Duration, no_sign: Duration) -> Result<Http, Error> {
        let target = Arc::new(target);
        let dial = Dial::new(target.clone(), &["h2", "http/1.1"])?;
        let last = dial.last_failure().clone();
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(silent)
            .http2_keep_alive_timeout(no_sign)
            .build(dial);
        Ok(Http { client, last, target })
    }

    /// Sends a request and returns when the head of the answer is there, whatever its status.
    ///
    /// # Errors
    /// [`Error::Refused`]: nothing listens there. [`Error::Transport`]: the connection cannot be
    /// made, or broke off.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await.map_err(|error| self.failure(&error))
    }

    /// Why a request has failed. Of one that the connection had not taken when it ended, hyper
    /// knows only that there is no connection.
    fn failure(&self, error: &legacy::Error) -> Error {
        let mut causes = std::iter::successors(error.source(), |cause| cause.source());
        let is_untaken =
            causes.any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled));
        match self.last.get().filter(|_| is_untaken) {
            Some(why) => Error::Transport(why),
            None => error_of(&self.target, error),
        }
    }

    /// As [`Http::send`]; a GET or HEAD that the server redirects to another path of its own is
    /// sent there, as Go's client does. A redirect to another server is returned as it is: the
    /// request has the user's credentials.
    ///
    /// Example: an API server redirects `…/services/web/proxy` to `…/services/web/proxy/`.
    ///
    /// # Errors
    /// As [`Http::send`]. [`Error::Transport`]: the redirects have no end.
    pub async fn send_following(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        for _ in 0..REDIRECTS {
            let answer = self.send(request.clone()).await?;
            match redirected(request.uri(), &answer).filter(|_| is_read) {
                Some(next) => *request.uri_mut() = next,
                None => return Ok(answer),
            }
        }
        Err(Error::Transport(format!("stopped after {REDIRECTS} redirects")))
    }
}

/// Returns the URI to which an answer redirects, if it is one of the same server.
fn redirected<B>(from: &Uri, answer: &Response<B>) -> Option<Uri> {
    let is_redirect = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let to = answer.headers().get(header::LOCATION).filter(|_| is_redirect)?.to_str().ok()?;
    if to.starts_with("//") {
        return None; // the name of another server
    }
    let to: Uri = to.split('#').next()?.parse().ok()?;
    let (scheme, authority) = (from.scheme()?, from.authority()?);
    let is_own = to.authority().is_none_or(|host| host == authority && to.scheme() == Some(scheme));
    let path = to.path_and_query().filter(|path| is_own && path.as_str().starts_with('/'))?;
    let next = Uri::builder().scheme(scheme.clone()).authority(authority.clone());
    next.path_and_query(path.clone()).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use pki::{Ca, Subject, server_config};
    use std::convert::Infallible;

    #[tokio::test]
    async fn a_read_is_redirected_within_its_server_alone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let own = format!("http://{host}/proxy/");
        let server = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let service = service_fn(|request: Request<Incoming>| {
                    let mut answer = Response::new(Full::<Bytes>::default());
                    let to = match request.uri().path() {
                        "/proxy" => "/proxy/?a=b",
                        "/whole" => own.as_str(),
                        "/round" => "/round",
                        "/away" => "http://192.0.2.1/",
                        "/beside" => "//192.0.2.1/",
                        _ => "",
                    };
                    if !to.is_empty() {
                        *answer.status_mut() = http::StatusCode::MOVED_PERMANENTLY;
                        answer.headers_mut().insert(header::LOCATION, to.parse().unwrap());
                    }
                    answer.headers_mut().insert("asked", request.uri().to_string().parse().unwrap());
                    std::future::ready(Ok::<_, Infallible>(answer))
                });
                let mut connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.keep_alive(false).serve_connection(TokioIo::new(tcp), service).await;
            }
        });
        let http = Http::new(Target::anybody("http", &host)).unwrap();
        let ask = async |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(format!("http://{host}{path}"));
            let answer = http.send_following(request.body(Full::default()).unwrap()).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let asked = answer.headers()["asked"].to_str().unwrap().to_string();
            Ok::<_, String>((answer.status().as_u16(), asked))
        };
        for (method, path, code, asked) in [
            (Method::GET, "/proxy", 200, "/proxy/?a=b"),
            (Method::HEAD, "/proxy", 200, "/proxy/?a=b"),
            (Method::POST, "/proxy", 301, "/proxy"),
            (Method::GET, "/whole", 200, "/proxy/"),
            (Method::GET, "/away", 301, "/away"),
            (Method::GET, "/beside", 301, "/beside"),
        ] {
            assert_eq!(ask(method, path).await, Ok((code, asked.to_string())), "{path}");
        }
        let endless = ask(Method::GET, "/round").await.unwrap_err();
        assert_eq!(endless, "Unable to connect to the server: stopped after 10 redirects");
        server.abort();
    }

    /// The machine of the server is gone: nothing comes any more, not even the end of the
    /// connection.
    #[tokio::test]
    async fn a_watch_on_a_server_that_is_gone_ends() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "test").unwrap();
        let identity = ca.issue(&Subject::server("silent", &["silent"])).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(server_config(&identity, ca.pem()).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            scheme: "https".into(),
            host: listener.local_addr().unwrap().to_string(),
            ca_pem: Some(ca.pem().as_bytes().to_vec()),
            server_name: Some("silent".into()),
            ..Target::default()
        };
        let server = tokio::spawn(async move {
            let tls = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (came, mut comes) = tokio::sync::mpsc::unbounded_channel();
            let service = service_fn(move |_: Request<Incoming>| {
                let _ = came.send(());
                std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
            });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let connection = http.serve_connection(TokioIo::new(tls), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = &mut connection => panic!("the client left"),
                _ = comes.recv() => {}
            }
            // The request has come, and from here on nobody reads or writes.
            std::future::pending::<()>().await;
        });
        let http = Http::with_pings(target, Duration::from_millis(200), Duration::from_millis(200)).unwrap();
        let url = format!("https://{}/api/v1/pods?watch=true", http.target.host);
        let sent = http.send(Request::get(url).body(Full::default()).unwrap());
        let sent = tokio::time::timeout(Duration::from_secs(20), sent).await.expect("an end");
        assert!(sent.is_err_and(|error| matches!(error, Error::Transport(_))));
        server.abort();
    }
}
