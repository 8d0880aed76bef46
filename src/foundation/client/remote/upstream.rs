//! An API server behind a kubeconfig, for code that passes the requests of other clients on to it:
//! the relay of a foreign cluster, and `kubectl proxy`.

use super::body::Body;
use super::dial::Dial;
use super::error::{Error, error_of};
use super::header::identity;
use super::pool::Http;
use crate::kubeconfig::{Env, Kubeconfig, Overrides, Target};
use bytes::Bytes;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longer answers to our own questions are refused.
const ANSWER_MAX: usize = 16 << 20;
/// How long an answer to our own question may take in real time, with its connection. An API server
/// ends a request itself after 60 s (`--request-timeout`).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);

/// One API server, as the user of the kubeconfig's current context.
pub struct Upstream {
    /// The server and the user as the kubeconfig names them. A credential plugin may decide who the
    /// user is.
    target: Target,
    /// The connections, as the user that the credential plugin named last.
    http: Mutex<Arc<Http>>,
    env: Env,
    /// The name of that context.
    pub context: String,
}

impl Upstream {
    /// Reads the file, and the certificates and keys that it names; nothing is connected yet.
    ///
    /// # Errors
    /// A sentence: the file cannot be read or names no cluster. Also as [`Kubeconfig::target`] and
    /// [`Http::new`].
    pub fn of(kubeconfig: &Path) -> Result<Upstream, String> {
        let env = Env { kubeconfig: Some(kubeconfig.into()), cwd: "/".into(), ..Env::default() };
        let files = Kubeconfig::load(&env, "").map_err(|e| e.to_string())?;
        if files.is_empty() {
            return Err("it names no cluster".into());
        }
        let target = files.target(&env, &Overrides::default()).map_err(|e| e.to_string())?;
        let http = Mutex::new(Arc::new(Http::new(target.clone()).map_err(|e| e.to_string())?));
        let env = Env { vars: Env::of_process().vars, ..env };
        Ok(Upstream { target, http, env, context: files.current })
    }

    /// Makes the upstream of a server that a command line and files name.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn over(target: Target, env: &Env) -> Result<Upstream, Error> {
        let http = Mutex::new(Arc::new(Http::new(target.clone())?));
        Ok(Upstream { target, http, env: env.clone(), context: String::new() })
    }

    /// Returns connections as the user. What a plugin said may have expired: then it is asked
    /// again.
    async fn http(&self) -> Result<Arc<Http>, Error> {
        let target = self.target.clone().authenticated(&self.env).await?;
        let mut http = self.http.lock();
        let last = &http.target;
        if (&last.authorization, &last.certificate) != (&target.authorization, &target.certificate) {
            *http = Arc::new(Http::new(target)?);
        }
        Ok(http.clone())
    }

    /// Returns the URL of the server, e.g. `https://10.0.0.1:6443`.
    pub fn url(&self) -> String {
        self.target.url()
    }

    /// Returns host and port of the server, e.g. `10.0.0.1:6443`.
    pub fn host(&self) -> &str {
        &self.target.host
    }

    /// Adds the headers that say who the user is, and as whom the user acts.
    ///
    /// # Errors
    /// A header that says who the user is cannot be sent.
    fn put_own_headers(target: &Target, headers: &mut HeaderMap) -> Result<(), Error> {
        if let Some(text) = &target.authorization
            && !has_own_user(headers)
        {
            headers.insert(header::AUTHORIZATION, identity("Authorization", text)?.1);
        }
        // A request that impersonates a user itself does not impersonate that of the kubeconfig.
        if !headers.contains_key("impersonate-user") {
            for (name, value) in &target.impersonate {
                let (name, value) = identity(name, value)?;
                headers.append(name, value);
            }
        }
        Ok(())
    }

    /// Sends a request; its URI is a path and a query. An answer of any status is `Ok`.
    ///
    /// # Errors
    /// A sentence: the server does not answer, the credential plugin fails, or the path or the
    /// user's credentials cannot be sent.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, String> {
        let http = self.http().await.map_err(sentence)?;
        let has_own = has_own_user(request.headers());
        let answer = self.send_over(&http, request).await?;
        if !has_own {
            self.ask_plugin_again(answer.status(), &http.target).await;
        }
        Ok(answer)
    }

    /// Sends a request over these connections, as their user.
    async fn send_over(
        &self,
        http: &Http,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Body>, String> {
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
        *request.uri_mut() =
            format!("{}{path}", self.url()).parse().map_err(|e| format!("{path:?} is no path: {e}"))?;
        *request.version_mut() = http::Version::HTTP_11;
        Upstream::put_own_headers(&http.target, request.headers_mut()).map_err(sentence)?;
        http.send(request).await.map_err(sentence)
    }

    /// Asks the credential plugin once more after a 401, for the requests that follow. If the
    /// plugin fails then, the next request reports it.
    async fn ask_plugin_again(&self, status: StatusCode, sent_as: &Target) {
        if status == StatusCode::UNAUTHORIZED {
            let _ = self.target.reauthenticated(&self.env, sent_as).await; // its answer is kept, see `http`
        }
    }

    /// Sends a request that may change protocols, on a connection of its own, HTTP/1.1. An answer
    /// of any status is `Ok`.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub fn upgrade(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> BoxFuture<'_, Result<Response<Body>, String>> {
        Box::pin(async move {
            let target: Arc<Target> = self.http().await.map_err(sentence)?.target.clone();
            let dial = Dial::new(target.clone(), &[]).map_err(sentence)?;
            let (io, _) = dial.connect().await.map_err(|e| sentence(error_of(&target, &e)))?;
            let broken = |e: hyper::Error| sentence(error_of(&target, &e));
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(broken)?;
            tokio::spawn(connection.with_upgrades()); // ends with either side of the connection
            let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
            *request.uri_mut() =
                format!("{}{path}", target.base).parse().map_err(|e| format!("{path:?} is no path: {e}"))?;
            *request.version_mut() = http::Version::HTTP_11;
            if let Ok(host) = HeaderValue::from_str(&target.host) {
                request.headers_mut().insert(header::HOST, host);
            }
            let has_own = has_own_user(request.headers());
            Upstream::put_own_headers(&target, request.headers_mut()).map_err(sentence)?;
            let answer = sender.send_request(request).await.map_err(broken)?;
            if !has_own {
                self.ask_plugin_again(answer.status(), &target).await;
            }
            Ok(answer.map(|body| Body::new(body, None)))
        })
    }

    /// Sends a request of Ropewalk's own; returns the HTTP status code and the answer.
    ///
    /// # Errors
    /// A sentence: as [`Upstream::send`], or the answer is no JSON, longer than [`ANSWER_MAX`], or
    /// not complete within [`ANSWER_TIMEOUT`].
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept", "application/json")
            .header("user-agent", concat!("ropewalk/", env!("CARGO_PKG_VERSION")));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let bytes = body.map_or(Bytes::new(), |b| b.to_string().into());
        let request = request.body(Full::new(bytes)).map_err(|e| e.to_string())?;
        // Outside the limit: for a credential plugin the user may have to log in first.
        let http = self.http().await.map_err(sentence)?;
        let exchange = async {
            let answer = self.send_over(&http, request).await?;
            let status = answer.status();
            let read = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            let bytes = read.map_err(|e| format!("{path}: {e}"))?.to_bytes();
            Ok::<_, String>((status, bytes))
        };
        let (status, bytes) = self.in_time(ANSWER_TIMEOUT, path, exchange).await?;
        self.ask_plugin_again(status, &http.target).await;
        let code = status.as_u16();
        let value = serde_json::from_slice(&bytes)
            .map_err(|_| format!("{} does not answer like an API server (HTTP {code})", self.url()))?;
        Ok((code, value))
    }

    /// Runs an exchange about a path, for at most a duration of real time.
    async fn in_time<T>(
        &self,
        limit: Duration,
        path: &str,
        exchange: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        clock::limit(limit, exchange).await.unwrap_or_else(|| {
            Err(format!("{} did not answer {path} within {} s", self.url(), limit.as_secs()))
        })
    }

    /// Reads the lines of an answer, one JSON document each, until `enough` of one is true. Returns
    /// false if the server ends the answer before, or does not answer with 200. A server that is
    /// asked to end the answer in time (`timeoutSeconds`) is given [`ANSWER_TIMEOUT`] beyond that.
    ///
    /// # Errors
    /// As [`Upstream::send`], also while the answer is read, if one line is longer than
    /// [`ANSWER_MAX`], and if the answer does not end in time.
    pub async fn lines(
        &self,
        path: &str,
        timeout: Duration,
        enough: impl FnMut(&Value) -> bool,
    ) -> Result<bool, String> {
        self.in_time(timeout + ANSWER_TIMEOUT, path, self.read_lines(path, enough)).await
    }

    async fn read_lines(&self, path: &str, mut enough: impl FnMut(&Value) -> bool) -> Result<bool, String> {
        let request = Request::get(path).header("accept", "application/json").body(Full::default());
        let answer = self.send(request.map_err(|e| e.to_string())?).await?;
        if answer.status() != http::StatusCode::OK {
            return Ok(false);
        }
        let (mut body, mut lines) = (answer.into_body(), Lines::default());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| e.to_string())?;
            for line in lines.add(frame.data_ref().map_or(&[], |d| d)) {
                if serde_json::from_slice(&line).is_ok_and(|value| enough(&value)) {
                    return Ok(true);
                }
            }
            if lines.begun.len() > ANSWER_MAX {
                return Err(format!("{path}: a line is longer than {ANSWER_MAX} bytes"));
            }
        }
        Ok(serde_json::from_slice(&lines.begun).is_ok_and(|value| enough(&value)))
    }
}

/// Returns true if a request says itself who its user is, as one that comes through `kubectl proxy`
/// may. It is not sent as the user of the kubeconfig then (client-go's `bearerAuthRoundTripper`).
fn has_own_user(headers: &HeaderMap) -> bool {
    headers.get(header::AUTHORIZATION).is_some_and(|value| !value.is_empty())
}

/// Returns an error as a sentence.
fn sentence(error: Error) -> String {
    error.to_string().trim().to_string()
}

/// An answer in pieces, cut into its lines.
#[derive(Default)]
struct Lines {
    /// The beginning of the line whose end has not come. Only new bytes are searched for that end:
    /// the cost of a long line that comes in many pieces is that of its length.
    begun: Vec<u8>,
}

impl Lines {
    /// Takes a piece and returns the lines that are complete now, without their line breaks.
    fn add(&mut self, piece: &[u8]) -> Vec<Vec<u8>> {
        let mut complete = vec![];
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(&rest[..end]);
            complete.push(std::mem::take(&mut self.begun));
            rest = &rest[end + 1..];
        }
        self.begun.extend_from_slice(rest);
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use std::convert::Infallible;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        assert!(lines.add(b"{\"a\"").is_empty());
        assert_eq!(lines.add(b":1}\n{}\n[").concat(), b"{\"a\":1}{}");
        assert_eq!(lines.begun, b"[");
    }

    #[test]
    fn a_request_with_a_token_of_its_own_keeps_that() {
        let target = Target { authorization: Some("Bearer files".into()), ..Target::default() };
        for (given, sent) in
            [(Some("Bearer own"), "Bearer own"), (Some(""), "Bearer files"), (None, "Bearer files")]
        {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(given));
            }
            Upstream::put_own_headers(&target, &mut headers).unwrap();
            assert_eq!(headers[header::AUTHORIZATION], sent);
        }
    }

    /// Serves plain HTTP: answers 200 to requests with the token `t2`, and 401 to all others.
    async fn guarded() -> (String, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let service = service_fn(|request: Request<Incoming>| {
                    let sent = request.headers().get(header::AUTHORIZATION);
                    let is_known = sent.is_some_and(|sent| sent == "Bearer t2");
                    let mut answer = Response::new(Full::<Bytes>::from("{}"));
                    if !is_known {
                        *answer.status_mut() = StatusCode::UNAUTHORIZED;
                    }
                    std::future::ready(Ok::<_, Infallible>(answer))
                });
                let mut connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.keep_alive(false).serve_connection(TokioIo::new(tcp), service).await;
            }
        });
        (host, server)
    }

    /// As the browser behind `kubectl proxy` that sends a token of its own: what the server says of
    /// that one is no reason to log in anew.
    #[tokio::test]
    async fn a_plugin_is_asked_again_after_a_401_to_what_it_answered_and_not_to_another_token() {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"echo x >> count; printf '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t%s"}}' $(grep -c x count)"#;
        let config = serde_json::json!({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://a:1"}}],
            "users": [{"name": "u", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1",
                "command": "sh", "args": ["-c", script], "interactiveMode": "Never"}}}],
        });
        let file = dir.path().join("config");
        std::fs::write(&file, config.to_string()).unwrap();
        let env = Env { kubeconfig: Some(file), cwd: dir.path().into(), ..Env::of_process() };
        let named = Kubeconfig::load(&env, "").unwrap().target(&env, &Overrides::default()).unwrap();
        let (host, server) = guarded().await;
        let upstream = Upstream::over(Target { scheme: "http".into(), host, ..named }, &env).unwrap();
        let send = async |own: Option<&str>| {
            let mut request = Request::get("/api").body(Full::<Bytes>::default()).unwrap();
            if let Some(own) = own {
                request.headers_mut().insert(header::AUTHORIZATION, own.parse().unwrap());
            }
            let code = upstream.send(request).await.unwrap().status().as_u16();
            (code, std::fs::read_to_string(dir.path().join("count")).unwrap().lines().count())
        };
        assert_eq!(send(Some("Bearer own")).await, (401, 1));
        assert_eq!(send(None).await, (401, 2), "the request that was refused is not sent again");
        assert_eq!(send(None).await, (200, 2));
        server.abort();
    }

    /// Serves one connection over plain HTTP with this answer to every request.
    async fn serving(body: Vec<u8>) -> (Upstream, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let body = Bytes::from(body);
            let service = service_fn(move |_: Request<Incoming>| {
                std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(body.clone()))))
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(tcp), service).await; // the client may hang up
        });
        (Upstream::over(Target::anybody("http", &host), &Env::default()).unwrap(), server)
    }

    #[tokio::test]
    async fn a_line_that_does_not_end_is_given_up_and_the_last_one_needs_no_line_break() {
        let (upstream, server) = serving(vec![b'x'; ANSWER_MAX + (1 << 20)]).await;
        let why = upstream.lines("/", Duration::from_secs(60), |_| true).await.unwrap_err();
        assert!(why.contains("a line is longer than"), "{why}");
        server.abort();
        for (wanted, is_found) in [(2, true), (3, false)] {
            let (upstream, server) = serving(b"1\n2".to_vec()).await;
            let found =
                upstream.lines("/", Duration::from_secs(60), |value| value.as_i64() == Some(wanted)).await;
            assert_eq!(found, Ok(is_found));
            server.abort();
        }
    }

    /// It takes the connection and says nothing, so the learner would wait without end.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_given_up() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = silent.local_addr().unwrap().to_string();
        let upstream = Upstream::over(Target::anybody("http", &host), &Env::default()).unwrap();
        let asked = clock::limit(2 * ANSWER_TIMEOUT, upstream.ask(Method::GET, "/api", None)).await;
        let why = asked.expect("an end").unwrap_err();
        assert_eq!(why, format!("http://{host} did not answer /api within 75 s"));
        let read = upstream.lines("/api", Duration::from_secs(5), |_| true);
        let why = clock::limit(2 * ANSWER_TIMEOUT, read).await.expect("an end").unwrap_err();
        assert_eq!(why, format!("http://{host} did not answer /api within 80 s"));
    }
}
