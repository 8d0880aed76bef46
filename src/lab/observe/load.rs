//! The load of a step: requests to a Service, sent from every node while the step is open, and
//! counted.
//!
//! Example: a step declares `load: {service: site}`. Two workers and a control plane ask
//! `http://site` ten times a second each. After 20 s `load()` is `{sent: 600, failed: 2, ...}`: two
//! of the requests met a pod that had just ended.

use super::probe::LIMIT;
use super::visit;
use crate::cel::value;
use crate::format::Load;
use cel::Value;
use client::Client;
use cluster::guest::Host;
use parking_lot::Mutex;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use task::{Crew, Owned};
use tokio::net::TcpStream;

/// How often the Service's address is read.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Names of pods that are counted each for itself; later ones are not.
const PODS_MAX: usize = 200;

/// Which load it is: lesson, step, and the revision at which the step began. A step that begins
/// anew has another one.
pub(crate) type Key = (String, String, i64);

/// What became of a request: its status and the pod that answered, or why there is no answer.
type Outcome = Result<(i64, String), String>;

/// What was sent, and what came of it.
#[derive(Debug, Default)]
struct Counts {
    sent: i64,
    failed: i64,
    /// Why the newest of them failed.
    error: String,
    by: BTreeMap<String, i64>,
}

impl Counts {
    /// Counts a request. The Service may still be on its way when the step begins, so counting
    /// begins with the first request that succeeds.
    fn note(&mut self, outcome: Outcome) {
        let (by, why) = match outcome {
            Ok((status, by)) if status < 400 => (by, String::new()),
            Ok((status, by)) => (by, format!("status {status}")),
            Err(why) => (String::new(), why),
        };
        if self.sent == 0 && !why.is_empty() {
            return;
        }
        self.sent += 1;
        if !why.is_empty() {
            self.failed += 1;
            self.error = why;
        }
        if !by.is_empty() && (self.by.len() < PODS_MAX || self.by.contains_key(&by)) {
            *self.by.entry(by).or_default() += 1;
        }
    }

    /// The counts as expressions see them.
    fn value(&self) -> Value {
        value::map([
            ("sent", Value::Int(self.sent)),
            ("failed", Value::Int(self.failed)),
            ("error", value::text(&self.error)),
            ("by", value::map(self.by.iter().map(|(pod, count)| (pod.as_str(), Value::Int(*count))))),
        ])
    }
}

/// A load that is being sent, until it is stopped or dropped. Its counts stay.
pub(crate) struct Running {
    pub key: Key,
    counts: Arc<Mutex<Counts>>,
    crew: Owned,
}

impl Running {
    /// Begins to send. `crew`: of which the senders are a part.
    pub(crate) fn start(key: Key, load: Load, host: Host, client: Client, crew: &Crew) -> Running {
        let (counts, crew) = (Arc::<Mutex<Counts>>::default(), crew.part());
        let noted = counts.clone();
        crew.spawn(async move { send(load, host, client, noted).await });
        Running { key, counts, crew }
    }

    /// Ends the senders.
    pub(crate) fn stop(&self) {
        self.crew.kill();
    }

    /// What `load()` is now.
    pub(crate) fn value(&self) -> Value {
        self.counts.lock().value()
    }
}

async fn send(load: Load, host: Host, client: Client, counts: Arc<Mutex<Counts>>) {
    let url = format!("http://{}.{}:{}{}", load.service, load.namespace, load.port, load.path);
    let request = |ip: IpAddr| {
        let (url, host, counts) = (&url, &host, &counts);
        let to = SocketAddr::new(ip, load.port);
        async move {
            let outcomes = ask(url, host.dial(to, LIMIT).await).await;
            let mut counts = counts.lock();
            outcomes.into_iter().for_each(|outcome| counts.note(outcome));
        }
    };
    let address = Mutex::new(None);
    // Side by side: an API server that is silent holds no request up.
    let reads = keep_reading(|| service_ip(&client, &load), &address);
    futures::future::join(reads, keep_asking(load.every, request, &address)).await;
}

/// Reads the Service's address every [`LOOK_EVERY`], for ever.
async fn keep_reading<F>(look: impl Fn() -> F, address: &Mutex<Option<IpAddr>>)
where
    F: Future<Output = Option<IpAddr>>,
{
    loop {
        // A Service that is gone has failed requests, as it has for its clients.
        if let Some(ip) = look().await {
            *address.lock() = Some(ip);
        }
        clock::pause(LOOK_EVERY).await;
    }
}

/// Sends a request to the address that was read last, and after each one waits for `every`.
async fn keep_asking<F>(every: Duration, request: impl Fn(IpAddr) -> F, address: &Mutex<Option<IpAddr>>)
where
    F: Future<Output = ()>,
{
    loop {
        let known = *address.lock();
        if let Some(ip) = known {
            request(ip).await;
        }
        clock::pause(every).await; // people wait for it, whatever the cluster's clock
    }
}

/// Asks on each of these connections, side by side.
async fn ask(url: &str, dialled: Vec<(String, std::io::Result<TcpStream>)>) -> Vec<Outcome> {
    let asked = dialled.into_iter().map(|(_, stream)| async move {
        match stream {
            Ok(stream) => visit::get(url, stream).await,
            Err(error) => Err(error.to_string()),
        }
    });
    futures::future::join_all(asked).await
}

/// The cluster IP of the Service; `None` if it has none, or cannot be read now.
async fn service_ip(client: &Client, load: &Load) -> Option<IpAddr> {
    let path = format!("/api/v1/namespaces/{}/services/{}", load.namespace, load.service);
    let request = http::Request::get(path).body(vec![]).ok()?;
    let answer = tokio::time::timeout(LIMIT, client.kube().request::<Json>(request)).await.ok()?;
    api::cidr::canonical_ip(answer.ok()?["spec"]["clusterIP"].as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::{Expr, Facts, Probe, Use};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn holds(counts: &Counts, source: &str) -> bool {
        let answers = [(Probe::Load, counts.value())].into();
        let facts = Arc::new(Facts { answers, ..Facts::default() });
        Expr::compile(source, Use::Check, &[]).unwrap().holds(&facts)
    }

    #[test]
    fn a_check_reads_how_many_requests_failed() {
        let mut counts = Counts::default();
        counts.note(Err("refused".into()));
        assert!(holds(&counts, "load().sent == 0 && load().failed == 0"), "nothing was there yet");
        for _ in 0..500 {
            counts.note(Ok((200, "site-1".into())));
        }
        assert!(holds(&counts, "load().failed == 0 && load().sent >= 500"));
        assert!(holds(&counts, "load().by['site-1'] == 500 && load().error == ''"));
        counts.note(Ok((503, "site-2".into())));
        counts.note(Err("refused".into()));
        assert!(!holds(&counts, "load().failed == 0"));
        assert!(holds(&counts, "load().failed == 2 && load().sent == 502 && load().error == 'refused'"));
        let none = Arc::new(Facts::default());
        let expr = Expr::compile("load().failed == 0", Use::Check, &[]).unwrap();
        assert!(!expr.holds(&none) && expr.is_level(), "it is asked for, and may turn false again");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_go_on_while_the_api_server_is_silent() {
        let (address, looks, requests) = (Mutex::new(None), Mutex::new(0), Mutex::new(0));
        let look = || {
            *looks.lock() += 1;
            let is_first = *looks.lock() == 1;
            async move {
                match is_first {
                    true => Some(IpAddr::from([10, 96, 0, 8])),
                    false => std::future::pending().await,
                }
            }
        };
        let request = |_| {
            *requests.lock() += 1;
            std::future::ready(())
        };
        let asks = keep_asking(Duration::from_millis(100), request, &address);
        let both = futures::future::join(keep_reading(look, &address), asks);
        assert!(clock::limit(Duration::from_secs(20), both).await.is_none(), "it never ends");
        assert_eq!(*looks.lock(), 2);
        let sent = *requests.lock();
        assert!(sent > 100, "{sent} requests in 20 s");
    }

    #[tokio::test]
    async fn each_connection_is_asked_and_one_that_is_refused_has_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = TcpStream::connect(address).await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 512];
            let n = stream.read(&mut buffer).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\nHostname: site-1\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&buffer[..n]).into_owned()
        });
        let refused = Err(std::io::ErrorKind::ConnectionRefused.into());
        let dialled = vec![("worker".to_string(), open), ("worker2".to_string(), refused)];
        let outcomes = ask("http://site.default:80/a", dialled).await;
        assert_eq!(outcomes[0], Ok((200, "site-1".to_string())));
        assert!(outcomes[1].is_err());
        let sent = server.await.unwrap();
        assert!(sent.starts_with("GET /a HTTP/1.1") && sent.contains("site.default:80"), "{sent}");
    }
}
