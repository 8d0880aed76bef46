//! Requests to the API server: headers, retries, credentials, warnings, and the reading of answers.

use super::http::Body;
use super::refusal::refusal;
use crate::Env;
use crate::error::Fail;
use crate::output::Output;
use api::value;
use bytes::{Bytes, BytesMut};
use client::kubeconfig::Target;
use client::remote::{Http, identity};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Content type of JSON, for bodies and for `Accept`.
pub(crate) const JSON: &str = "application/json";
/// `Accept` for a list as a `Table`, or as plain JSON from a server that has no tables.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// How often a request is sent again: after an answer with `Retry-After`, or a read whose
/// connection was lost, and the pause before that read (client-go's).
const RETRIES: u32 = 10;
const LOST_PAUSE: Duration = Duration::from_secs(1);

/// One query parameter after another, in alphabetical order.
pub(crate) type Query<'a> = &'a [(&'a str, &'a str)];

/// Headers with facts that no request shows, e.g. how a table is printed. Readers of the tap
/// explain the command with them afterwards. At most [`MANNER_MAX`] characters of each.
pub(crate) type Manner<'a> = &'a [(&'a str, Option<&'a str>)];
/// Characters of such a header; the rest of a longer one is cut off.
pub const MANNER_MAX: usize = 1_000;

/// A client of one API server for one command, as the user of the kubeconfig.
pub(crate) struct Api {
    /// Server and user as the files and flags say; a plugin may provide the credentials.
    target: Target,
    env: Env,
    user: Mutex<Arc<User>>,
    /// Headers of every request, without the user's.
    headers: HeaderMap,
    output: Arc<Output>,
    warned: Mutex<BTreeSet<String>>,
    timeout: Option<Duration>,
}

/// How a request is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Sent again, if the connection is lost before the answer.
    Again,
    Once,
    /// Sent once. A refusal without a `Status` names no resource, since `--raw` names none.
    Raw,
}

/// Connections as one user.
pub(crate) struct User {
    http: Http,
    authorization: Option<(HeaderName, HeaderValue)>,
}

impl User {
    fn of(target: Target) -> Result<User, Fail> {
        let authorization = target.authorization.as_deref();
        let authorization = authorization.map(|text| identity("Authorization", text)).transpose()?;
        Ok(User { http: Http::new(target)?, authorization })
    }

    /// The server, with this user's credentials.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.http.target
    }
}

impl Api {
    /// A client of `target` for the verb `command` (`kubectl get`). `timeout` bounds each request
    /// with its whole answer; `None`: no bound. A credential plugin runs here; nothing is sent to
    /// the server yet.
    ///
    /// # Errors
    /// [`Fail::Transport`]: the credential plugin fails, or a token or the name of a user to
    /// impersonate cannot be sent. [`Fail::Text`]: a certificate or key cannot be used.
    pub(crate) async fn new(
        target: Target,
        env: &Env,
        command: &str,
        manner: Manner<'_>,
        output: Arc<Output>,
        timeout: Option<Duration>,
    ) -> Result<Api, Fail> {
        let mut headers = HeaderMap::new();
        let mut put = |name: &str, text: &str| {
            if let (Ok(name), Ok(text)) = (HeaderName::try_from(name), HeaderValue::from_str(text)) {
                headers.append(name, text);
            }
        };
        put("user-agent", &format!("kubectl/{} (linux/amd64) ropewalk", api::VERSION));
        put("kubectl-command", command);
        put("kubectl-session", &uuid::Uuid::new_v4().to_string());
        for (name, text) in manner.iter().filter_map(|(name, text)| Some((name, (*text)?))) {
            // A header has no line breaks: those of a template become spaces.
            let printable = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
            put(name, &printable.filter(|c| (' '..='~').contains(c)).take(MANNER_MAX).collect::<String>());
        }
        for (name, text) in &target.impersonate {
            let (name, text) = identity(name, text)?;
            headers.append(name, text);
        }
        let user = Mutex::new(Arc::new(User::of(target.clone().authenticated(env).await?)?));
        let env = env.clone();
        Ok(Api { target, env, user, headers, output, warned: Mutex::default(), timeout })
    }

    /// The user that requests are sent as now.
    pub(crate) fn user(&self) -> Arc<User> {
        self.user.lock().clone()
    }

    /// The server, with the credentials that requests are sent with now.
    pub(crate) fn target(&self) -> Arc<Target> {
        self.user().target().clone()
    }

    /// Headers of every request.
    pub(crate) fn headers(&self, user: &User) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.extend(user.authorization.clone());
        headers
    }

    /// Runs the user's credential plugin once more, if there is one: the server answered 401. A
    /// failure of the plugin is printed, and does not replace the server's refusal.
    pub(crate) async fn reauthenticate(&self, user: &User) {
        let again = self.target.reauthenticated(&self.env, user.target()).await.map_err(Fail::from);
        match again.and_then(|target| target.map(User::of).transpose()) {
            Ok(None) => {}
            Ok(Some(user)) => *self.user.lock() = Arc::new(user),
            Err(fail) => self.output.err(&format!("refreshing credentials: {}\n", fail.report().0.trim())),
        }
    }

    /// Sends a request. An answer 429 or 5xx with `Retry-After` is retried, [`RETRIES`] times at
    /// most, and so is a GET whose connection ends without an answer; `--request-timeout` bounds
    /// all of it. A redirect of the server is followed.
    ///
    /// # Errors
    /// [`Fail::Api`]: the server refused, with its `Status` or, without one, client-go's words.
    /// [`Fail::Refused`]: no server listens there. [`Fail::Transport`]: the connection failed, or
    /// `--request-timeout` is over. [`Fail::Text`]: the path cannot be sent. After a 401 the
    /// credential plugin has run once more, so the caller may try again.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        accept: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<Response<Body>, Fail> {
        let way = if method == Method::GET { Way::Again } else { Way::Once };
        self.exchange(method, path, query, accept, body, way).await
    }

    /// Reads a log, which is passed on as it comes. A lost connection is a failure at once
    /// (client-go's `Request.Stream`).
    ///
    /// # Errors
    /// As [`Api::send`].
    pub(crate) async fn stream(&self, path: &str, query: Query<'_>) -> Result<Response<Body>, Fail> {
        self.exchange(Method::GET, path, query, "application/json, */*", None, Way::Once).await
    }

    /// Sends the request of `--raw`, whose answer is passed on as it comes.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub(crate) async fn raw(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Body>, Fail> {
        self.exchange(method, path, &[], "application/json, */*", Some(("", body)), Way::Raw).await
    }

    /// Sends a request, as [`Api::send`] says.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        accept: &str,
        body: Option<(&str, Bytes)>,
        way: Way,
    ) -> Result<Response<Body>, Fail> {
        let url = format!("{}{path}{}", self.target.url(), encode(path, query));
        let (reads_again, named) = (way == Way::Again, if way == Way::Raw { "" } else { path });
        // The limit is of all attempts and of the whole answer, so also of a watch.
        let until = self.timeout.map(clock::deadline);
        let may_pause = |attempt: u32, pause: Duration| {
            attempt < RETRIES && until.is_none_or(|until| clock::deadline(pause) < until)
        };
        for attempt in 0.. {
            let user = self.user();
            self.output.flush().await;
            let mut request = Request::builder().method(method.clone()).uri(&url).header("accept", accept);
            if let Some((kind, _)) = &body
                && !kind.is_empty()
            {
                request = request.header("content-type", *kind);
            }
            let bytes = body.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
            let mut request =
                request.body(Full::new(bytes)).map_err(|e| Fail::Text(format!("parse {url:?}: {e}")))?;
            for (name, value) in &self.headers(&user) {
                request.headers_mut().append(name, value.clone());
            }
            let sent = user.http.send_following(request);
            let answered = match until {
                None => sent.await,
                Some(until) => tokio::time::timeout_at(until, sent).await.map_err(|_| {
                    Fail::Transport(
                        "net/http: request canceled (Client.Timeout exceeded while awaiting headers)".into(),
                    )
                })?,
            };
            let response = match answered {
                Err(error) if reads_again && error.is_lost_connection() && may_pause(attempt, LOST_PAUSE) => {
                    clock::pause(LOST_PAUSE).await;
                    continue;
                }
                answered => answered?,
            };
            let response = response.map(|body| Body::new(body, until, user.target()));
            self.warn(response.headers());
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED {
                self.reauthenticate(&user).await;
            }
            let again =
                response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
            if let Some(pause) = again.map(Duration::from_secs)
                && may_pause(attempt, pause)
                && (status.as_u16() == 429 || status.is_server_error())
            {
                clock::pause(pause).await;
                continue;
            }
            return Err(refusal(&method, named, response).await);
        }
        Err(Fail::Exit(1))
    }

    /// Warnings of the server, each once.
    fn warn(&self, headers: &HeaderMap) {
        for header in headers.get_all("warning") {
            let Some(text) = warning_text(header) else { continue };
            let mut warned = self.warned.lock();
            if warned.insert(text.clone()) {
                self.output.err(&format!("Warning: {text}\n"));
            }
        }
    }

    /// How many warnings the server sent.
    pub(crate) fn warnings(&self) -> usize {
        self.warned.lock().len()
    }

    /// Sends a request and returns the whole answer as bytes.
    ///
    /// # Errors
    /// As [`Api::send`], also while the answer is read.
    pub(crate) async fn bytes(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        accept: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<Bytes, Fail> {
        let response = self.send(method, path, query, accept, body).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    async fn value(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        accept: &str,
        body: Option<(&str, Bytes)>,
    ) -> Result<Value, Fail> {
        super::paths::checked(path).map_err(Fail::Text)?;
        let bytes = self.bytes(method, path, query, accept, body).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Fail::Text(format!("the server's answer to {path} cannot be read: {e}")))
    }

    /// Reads an object or a list. The items of a list get the list's kind.
    ///
    /// # Errors
    /// As [`Api::send`]; [`Fail::Text`]: a name in the path is empty or invalid (nothing was sent
    /// then), or the answer is no JSON.
    pub(crate) async fn get(&self, path: &str, query: Query<'_>) -> Result<Value, Fail> {
        let mut got = self.value(Method::GET, path, query, JSON, None).await?;
        type_items(&mut got);
        Ok(got)
    }

    pub(crate) async fn get_as(&self, path: &str, query: Query<'_>, accept: &str) -> Result<Value, Fail> {
        self.value(Method::GET, path, query, accept, None).await
    }

    /// Creates an object, or calls a subresource; returns the answer.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub(crate) async fn post(&self, path: &str, query: Query<'_>, body: &Value) -> Result<Value, Fail> {
        self.value(Method::POST, path, query, JSON, Some((JSON, encoded(body)))).await
    }

    /// Creates an object from a manifest; returns the answer. The manifest's resource version is
    /// left out, as an object that was read from the cluster has one and the API server refuses it.
    /// Source: cli-runtime, `resource/helper.go`, `CreateWithOptions`.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub(crate) async fn create(&self, path: &str, query: Query<'_>, object: &Value) -> Result<Value, Fail> {
        if value::empty(object, "metadata.resourceVersion") {
            return self.post(path, query, object).await;
        }
        let mut object = object.clone();
        value::remove(&mut object, "metadata.resourceVersion");
        self.post(path, query, &object).await
    }

    /// Replaces an object; returns the new one.
    ///
    /// # Errors
    /// As [`Api::get`]. The code is 409 if another client wrote the object since it was read.
    pub(crate) async fn put(&self, path: &str, query: Query<'_>, body: &Value) -> Result<Value, Fail> {
        self.value(Method::PUT, path, query, JSON, Some((JSON, encoded(body)))).await
    }

    /// Patches an object; returns the new one. `kind` is the patch's content type.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub(crate) async fn patch(
        &self,
        path: &str,
        query: Query<'_>,
        kind: &str,
        patch: Bytes,
    ) -> Result<Value, Fail> {
        self.value(Method::PATCH, path, query, JSON, Some((kind, patch))).await
    }

    /// Deletes an object or a collection, with these `DeleteOptions`; returns the answer.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub(crate) async fn delete(&self, path: &str, query: Query<'_>, options: &Value) -> Result<Value, Fail> {
        self.value(Method::DELETE, path, query, JSON, Some((JSON, encoded(options)))).await
    }

    /// Begins a watch and returns its events; the query must say `watch=true`.
    ///
    /// # Errors
    /// As [`Api::send`], until the answer begins. Later failures end the events.
    pub(crate) async fn watch(&self, path: &str, query: Query<'_>, accept: &str) -> Result<Lines, Fail> {
        let response = self.send(Method::GET, path, query, accept, None).await?;
        Ok(Lines { body: response.into_body(), buffer: BytesMut::new() })
    }
}

/// The items of a list are of the list's kind; those of a typed list do not say so.
fn type_items(list: &mut Value) {
    let Some(kind) = value::text(list, "kind").strip_suffix("List").map(String::from) else { return };
    let version = value::text(list, "apiVersion").to_string();
    for item in value::list_mut(list, "items").iter_mut().filter(|item| value::empty(item, "kind")) {
        value::put(item, "apiVersion", version.as_str());
        value::put(item, "kind", kind.as_str());
    }
}

/// An object as the JSON body of a request.
pub(crate) fn encoded(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn encode(path: &str, query: Query<'_>) -> String {
    if query.is_empty() {
        return String::new();
    }
    let mut pairs: Vec<_> = query.to_vec();
    pairs.sort();
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{}{text}", if path.contains('?') { '&' } else { '?' })
}

/// The events of a watch: a body with one JSON document in each line.
pub(crate) struct Lines {
    body: Body,
    buffer: BytesMut,
}

impl Lines {
    /// The next event; `None` when the server closed the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(end + 1);
                match serde_json::from_slice(&line) {
                    Ok(event) => return Some(event),
                    Err(_) if line.iter().all(u8::is_ascii_whitespace) => continue,
                    Err(_) => return None,
                }
            }
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Err(_) => return None,
            }
        }
    }
}

/// The text of a `Warning` header. Servers send it in UTF-8.
fn warning_text(header: &http::HeaderValue) -> Option<String> {
    let text = std::str::from_utf8(header.as_bytes()).ok()?.splitn(3, ' ').nth(2)?.trim();
    let Some(quoted) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return Some(text.into());
    };
    let (mut plain, mut chars) = (String::with_capacity(quoted.len()), quoted.chars());
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_read_in_any_language_and_unquoted() {
        let of = |header: &str| warning_text(&http::HeaderValue::from_bytes(header.as_bytes()).unwrap());
        assert_eq!(of(r#"299 - "unknown field \"a\\b\"""#), Some(r#"unknown field "a\b""#.into()));
        assert_eq!(of("299 - \"\u{ac00} \u{b098}\""), Some("\u{ac00} \u{b098}".into()));
        assert_eq!((of("299 - plain"), of("299")), (Some("plain".into()), None));
    }
}
