//! A small shop of two programs, for lessons about services that need each other: `shop-page` shows
//! pages and asks `shop-logic`, which asks the key-value server of `kv`. Each says what it is, who
//! has answered, and, if something is missing, who has not. `/sold` of each is the number of its
//! sales since it started, which only a sale changes: a line in its log can be written by hand.

mod logic;
mod page;

pub(crate) use logic::main as logic;
pub(crate) use page::main as page;

use super::daemon::{self, FullRequest};
use super::http::Deadline;
use http::StatusCode;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PORT: u16 = 8080;
/// The error of a question that gets no answer before its time is over.
const LATE: &str = "no answer in time";
/// How much earlier than the patience with it a question ends, so that its own error is reported.
/// That error says more than [`LATE`], for example that a name was not found.
const MARGIN: Duration = Duration::from_millis(50);

/// Counts the sales of a program since it started.
#[derive(Default)]
struct Sales(AtomicU64);

impl Sales {
    fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the answer to `/sold`.
    fn answer(&self) -> daemon::Answer {
        daemon::new_answer(StatusCode::OK, "text/plain", format!("{}\n", self.0.load(Ordering::Relaxed)))
    }
}

/// Reads `$PORT` and serves until a signal ends it. `hello` says who it is.
fn serve<R: Future<Output = Result<(), String>>>(name: &str, hello: &str, run: impl FnOnce(u16) -> R) -> i32 {
    super::write_stdout(&format!("{name}: {hello}\n"));
    match daemon::parse_port(std::env::var("PORT").ok().as_deref(), PORT) {
        Ok(port) => daemon::serve(name, run(port)),
        Err(e) => {
            super::write_stderr(&format!("{name}: $PORT: {e}\n"));
            1
        }
    }
}

/// Returns the value of an environment variable, or `default` if it is not set or empty.
fn environment_or(name: &str, default: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| default.into())
}

/// `HOST` or `HOST:PORT`.
fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (text, default),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.chars().all(is_name)).then(|| (host.to_string(), port))
}

/// Returns the value of `item` in the query.
fn item_of_query(request: &FullRequest) -> Option<String> {
    let pairs = request.uri.query().unwrap_or_default().split('&');
    let value = pairs.filter_map(|pair| pair.strip_prefix("item=")).next()?.replace('+', " ");
    Some(percent_encoding::percent_decode_str(&value).decode_utf8_lossy().into_owned())
}

/// Runs a question, which blocks, on a thread of its own, and gives it up after `patience`. Its
/// deadline begins before it has a thread: a question that got none in time is not asked later.
async fn ask_within<T: Send + 'static>(
    patience: Duration,
    question: impl FnOnce(Deadline) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let deadline = Deadline::new(Some(patience.saturating_sub(MARGIN)));
    let asking = tokio::task::spawn_blocking(move || question(deadline));
    match tokio::time::timeout(patience, asking).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err("the question could not be asked".into()),
        Err(_) => Err(LATE.into()),
    }
}

#[cfg(test)]
fn request_of(method: &str, uri: &str) -> FullRequest {
    FullRequest {
        method: method.parse().unwrap(),
        uri: uri.parse().unwrap(),
        version: http::Version::HTTP_11,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::new(),
        peer: "10.244.1.9:4000".parse().unwrap(),
        local: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_ends_before_it_is_given_up() {
        let patience = Duration::from_secs(60);
        let limit = ask_within(patience, |deadline| Ok(deadline.limit)).await.unwrap();
        assert!(limit.is_some_and(|limit| limit < patience), "{limit:?}");
    }

    #[test]
    fn settings_and_queries_are_read() {
        assert_eq!(host_and_port("db", 6379), Some(("db".into(), 6379)));
        assert_eq!(host_and_port("db.shop.svc:7000", 6379), Some(("db.shop.svc".into(), 7000)));
        for bad in ["", ":80", "db:", "db:x", "tcp://10.0.0.1:80", "a b", "db:0"] {
            assert_eq!(host_and_port(bad, 1), None, "{bad}");
        }
        assert_eq!(item_of_query(&request_of("GET", "/buy?x=1&item=a+b%3C")), Some("a b<".into()));
        assert_eq!(
            (item_of_query(&request_of("GET", "/buy?items=a")), item_of_query(&request_of("GET", "/buy"))),
            (None, None)
        );
    }
}
