//! A connection to a member, and the calls that verbs make.

mod renewals;

use super::fail::{CONNECTION, FAILED, Fail};
use super::given::Given;
use super::preset::Preset;
use api::gostr::io_error;
use etcd::grpc::client::{Channel, ConnectError, Endpoint, KeepAlive};
use etcd::pb;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use pki::{Identity, client_config};
use prost::Message;
use renewals::Renewals;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status, Streaming};

/// The pause before a lost connection is made again (etcd: `retryConnWait`).
const RETRY_WAIT: Duration = Duration::from_millis(500);
/// As of etcdctl's connections: gRPC raises its `--keepalive-time` of 2 s to 10 s.
const KEEP_ALIVE: KeepAlive = KeepAlive { every: Duration::from_secs(10), wait: Duration::from_secs(6) };
/// A call that may be made twice is made again at most so often (etcd: `defaultUnaryMaxRetries`).
const REPEATS_MAX: u32 = 100;
/// The words of a member that has no lease of this number.
pub(crate) const LEASE_NOT_FOUND: &str = "etcdserver: requested lease not found";
/// How the words begin of a member that cannot answer now (those of code `Unavailable` in etcd's
/// `rpctypes`). The services for locks and elections answer them without that code.
const NOT_NOW: [&str; 4] = [
    "etcdserver: no leader",
    "etcdserver: leader changed",
    "etcdserver: request timed out",
    "etcdserver: unhealthy cluster",
];

/// Where the members are, and who we are.
#[derive(Clone, Default)]
pub(crate) struct Target {
    pub endpoints: Vec<String>,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// Zero: a connection has the time of a call.
    dial_timeout: Duration,
}

impl Target {
    /// Flags, and the environment in their stead, go before the preset, that before etcd's usual
    /// port.
    ///
    /// # Errors
    /// A file of `--cacert`, `--cert` or `--key` cannot be read or used, one of these flags is
    /// empty, or only one of `--cert` and `--key` was given (as of [`Fail::arguments`]); both were
    /// given without `--cacert`, `--insecure-skip-tls-verify` was given, or `--dial-timeout` is no
    /// duration ([`FAILED`]).
    pub(crate) fn of(given: &Given, preset: Preset) -> Result<Target, Fail> {
        let said = |name: &str| Some(given.text(name)).filter(|v| !v.is_empty());
        let file = |name: &str, preset: Option<PathBuf>| said(name).map(PathBuf::from).or(preset);
        let endpoints = match said("endpoints") {
            Some(list) => list.split(',').map(|e| e.trim().to_string()).filter(|e| !e.is_empty()).collect(),
            // As etcdctl: an empty list is not the default, which may be another cluster.
            None if given.was_set("endpoints") => vec![],
            None if preset.endpoints.is_empty() => vec!["127.0.0.1:2379".into()],
            None => preset.endpoints,
        };
        if given.on("insecure-skip-tls-verify") {
            return Err(Fail::new(FAILED, "--insecure-skip-tls-verify is not supported; give --cacert"));
        }
        let is_empty = |name: &&str| given.was_set(name) && given.text(name).is_empty();
        if let Some(name) = ["cert", "key", "cacert"].iter().find(|name| is_empty(name)) {
            return Err(Fail::arguments(format!("empty string is passed to --{name} option")));
        }
        let identity = match (file("cert", preset.cert), file("key", preset.key)) {
            (Some(cert), Some(key)) => Some(Identity { cert_pem: read(&cert)?, key_pem: read(&key)? }),
            (None, None) => None,
            _ => return Err(Fail::arguments("--cert and --key belong together: give both")),
        };
        let tls = match file("cacert", preset.cacert) {
            Some(authority) => {
                let config = client_config(identity.as_ref(), &read(&authority)?, &["h2"]);
                Some(config.map_err(|e| Fail::arguments(e.to_string()))?)
            }
            // etcdctl would trust the authorities of the system; plain text would surprise.
            None if identity.is_some() => {
                return Err(Fail::new(FAILED, "--cert and --key need --cacert, the servers' authority"));
            }
            None => None,
        };
        Ok(Target { endpoints, tls, dial_timeout: given.duration("dial-timeout")? })
    }

    /// The same with one endpoint.
    pub(crate) fn only(&self, endpoint: &str) -> Target {
        Target { endpoints: vec![endpoint.into()], ..self.clone() }
    }
}

/// Returns what an error says, without the kernel's number, which means nothing to people.
fn without_number(error: &ConnectError) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

fn read(path: &Path) -> Result<String, Fail> {
    let unread = |e: std::io::Error| Fail::arguments(format!("open {}: {}", path.display(), io_error(&e)));
    std::fs::read_to_string(path).map_err(unread)
}

/// A member that answers.
#[derive(Clone)]
pub(crate) struct Etcd {
    channel: Channel,
    timeout: Duration,
    target: Target,
    /// The place of the member's endpoint in the list.
    at: usize,
}

/// Returns what an error on this side was caused by. A member's own status has no cause.
fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(status), |cause| cause.source())
}

/// Returns whether a call failed because the connection was lost, or because the member cannot
/// answer now: another member may.
pub(crate) fn is_lost(status: &Status) -> bool {
    causes(status).next().is_some()
        || status.code() == Code::Unavailable
        || status.message().starts_with("etcdserver: server stopped")
}

/// Returns whether a call failed because the cluster has no leader now, or because something went
/// wrong within the member, such as its disk. The same call may succeed a little later, or at
/// another member: etcd's client, too, goes on after these (`isHaltErr`).
pub(crate) fn is_unready(status: &Status) -> bool {
    status.code() == Code::Internal || NOT_NOW.iter().any(|words| status.message().starts_with(words))
}

/// Returns the error of a call in the words of etcd's client library. What was wrong with the
/// connection is told with all its causes.
pub(crate) fn told(status: &Status) -> Fail {
    let words = status.message();
    let text = match (words.starts_with("etcdserver:"), status.code()) {
        (true, _) => words.to_string(),
        (false, _) if causes(status).next().is_some() => {
            let mut why = words.strip_prefix("the connection is lost: ").unwrap_or(words).to_string();
            for cause in causes(status).map(ToString::to_string) {
                if !why.ends_with(&cause) {
                    why = format!("{why}: {cause}");
                }
            }
            format!("rpc error: code = Unavailable desc = the connection is lost: {why}")
        }
        (false, Code::Cancelled) => format!("rpc error: code = Canceled desc = {words}"), // Go's spelling
        (false, code) => format!("rpc error: code = {code:?} desc = {words}"),
    };
    Fail::new(FAILED, text)
}

/// As [`told`], for the services of locks and elections. They answer in the words of etcd's client
/// library, without a code. etcdctl, which waits in the client itself, prints just these words.
fn told_by_library(status: &Status) -> Fail {
    match status.code() {
        Code::Unknown if causes(status).next().is_none() => Fail::new(FAILED, status.message()),
        _ => told(status),
    }
}

impl Etcd {
    /// Connects to the first endpoint that can be reached. `timeout` bounds each later
    /// [`Etcd::call`].
    ///
    /// # Errors
    /// No endpoint was given ([`CONNECTION`]), or none can be reached within `--dial-timeout` each
    /// ([`FAILED`]): the text is about the last one.
    pub(crate) async fn connect(target: &Target, timeout: Duration) -> Result<Etcd, Fail> {
        Etcd::connect_from(target, timeout, 0).await
    }

    /// Tries all endpoints, beginning with the one at `first`.
    async fn connect_from(target: &Target, timeout: Duration, first: usize) -> Result<Etcd, Fail> {
        let mut last = Fail::new(CONNECTION, "etcdclient: no available endpoints");
        let count = target.endpoints.len();
        for at in (0..count).map(|n| first.wrapping_add(n) % count) {
            let endpoint = &target.endpoints[at];
            let attempt = async {
                let endpoint = Endpoint::parse(endpoint, target.tls.is_some())?;
                let channel = Channel::connect_with(&endpoint, target.tls.clone(), KEEP_ALIVE).await?;
                // As with etcd's client, a member that is stopped is passed over.
                channel.wait_for_server().await?;
                Ok::<_, ConnectError>(channel)
            };
            let limit = if target.dial_timeout.is_zero() { timeout } else { target.dial_timeout };
            match clock::limit(limit, attempt).await {
                Some(Ok(channel)) => return Ok(Etcd { channel, timeout, target: target.clone(), at }),
                Some(Err(error @ ConnectError::NoTls(_))) => {
                    last = Fail::new(FAILED, format!("{error}: give --cacert, --cert and --key"));
                }
                Some(Err(error)) => last = Fail::new(FAILED, without_number(&error)),
                None => last = Fail::new(FAILED, format!("{endpoint} does not answer")),
            }
        }
        Err(last)
    }

    /// Connects again after the connection was lost, to the same member last of all. Tries until a
    /// member can be reached: the caller sets the limit.
    pub(crate) async fn reconnect(&mut self) {
        loop {
            clock::pause(RETRY_WAIT).await;
            let next = self.at.wrapping_add(1);
            if let Ok(etcd) = Etcd::connect_from(&self.target, self.timeout, next).await {
                *self = etcd;
                return;
            }
        }
    }

    /// One call, answered within the command's time.
    ///
    /// # Errors
    /// [`FAILED`]: the member refused, in the words of etcd's client library; the connection broke;
    /// or the time is over. A call that was not answered may still have been carried out.
    pub(crate) async fn call<Q, A>(&self, path: &'static str, ask: Q) -> Result<A, Fail>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        match clock::limit(self.timeout, self.channel.unary(path, ask)).await {
            Some(answer) => answer.map_err(|s| told(&s)),
            None => Err(Fail::new(FAILED, "context deadline exceeded")),
        }
    }

    /// One call that may be made twice, answered within the command's time: as
    /// [`Etcd::repeat_without_limit`].
    ///
    /// # Errors
    /// As [`Etcd::call`].
    pub(crate) async fn repeat<Q, A>(&self, path: &'static str, ask: Q) -> Result<A, Fail>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        let late = || Err(Fail::new(FAILED, "context deadline exceeded"));
        clock::limit(self.timeout, self.repeat_without_limit(path, ask)).await.unwrap_or_else(late)
    }

    /// One call that may be made twice. As etcd's client does (`withRepeatablePolicy`), it is made
    /// again at the next member when the connection is lost, and after a pause when a member cannot
    /// answer now. When the connection to each member was lost, it ends at once.
    ///
    /// # Errors
    /// As [`Etcd::call`], but for the time.
    pub(crate) async fn repeat_without_limit<Q, A>(&self, path: &'static str, ask: Q) -> Result<A, Fail>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        let (mut etcd, mut lost, mut repeats) = (self.clone(), 0, 0);
        loop {
            let status = match etcd.channel.unary(path, ask.clone()).await {
                Err(status) if is_lost(&status) => status,
                answer => return answer.map_err(|s| told(&s)),
            };
            let has_no_connection = causes(&status).next().is_some();
            match has_no_connection {
                true => lost += 1,
                false => clock::pause(RETRY_WAIT).await,
            }
            if lost == self.target.endpoints.len() || repeats == REPEATS_MAX {
                return Err(told(&status));
            }
            repeats += 1;
            let next = etcd.at.wrapping_add(1);
            let connected = Etcd::connect_from(&self.target, self.timeout, next).await;
            etcd = connected.map_err(|_| told(&status))?;
        }
    }

    /// One call, answered whenever the member answers, for verbs that do not heed
    /// `--command-timeout`.
    ///
    /// # Errors
    /// As [`Etcd::call`], but for the time.
    pub(crate) async fn call_without_limit<Q, A>(&self, path: &'static str, ask: Q) -> Result<A, Fail>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.channel.unary(path, ask).await.map_err(|s| told(&s))
    }

    /// Makes one call to the services of locks and elections, however long it takes. It is made
    /// again at another member when the connection is lost or the cluster has no leader, so a
    /// second call must do nothing that the first one has done.
    ///
    /// # Errors
    /// As [`Etcd::call`], but for the time, for a lost connection and for a missing leader.
    pub(crate) async fn wait_on_any<Q, A>(&mut self, path: &'static str, ask: Q) -> Result<A, Fail>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        loop {
            match self.channel.unary(path, ask.clone()).await {
                Err(status) if is_lost(&status) || is_unready(&status) => self.reconnect().await,
                answer => return answer.map_err(|s| told_by_library(&s)),
            }
        }
    }

    /// One call that is answered with a stream.
    ///
    /// # Errors
    /// The member's status, until the stream begins; later ones are in the stream.
    pub(crate) async fn answers<Q, A>(&self, path: &'static str, ask: Q) -> Result<Streaming<A>, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.channel.answers(path, ask).await
    }

    /// A stream of calls that is answered with a stream, e.g. a watch.
    ///
    /// # Errors
    /// As [`Etcd::answers`].
    pub(crate) async fn stream<Q, A>(
        &self,
        path: &'static str,
        asks: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.channel.stream(path, asks).await
    }

    /// Reads keys.
    ///
    /// # Errors
    /// As [`Etcd::repeat`].
    pub(crate) async fn range(&self, r: pb::RangeRequest) -> Result<pb::RangeResponse, Fail> {
        self.repeat("/etcdserverpb.KV/Range", r).await
    }

    /// The members of the cluster as of now (a linearizable read).
    ///
    /// # Errors
    /// As [`Etcd::repeat`], also if the cluster has no leader.
    pub(crate) async fn members(&self) -> Result<Vec<pb::Member>, Fail> {
        let ask = pb::MemberListRequest { linearizable: true };
        let answer: pb::MemberListResponse = self.repeat("/etcdserverpb.Cluster/MemberList", ask).await?;
        Ok(answer.members)
    }

    /// Makes a lease of `ttl` seconds; the server chooses its number.
    ///
    /// # Errors
    /// As [`Etcd::repeat`].
    pub(crate) async fn grant(&self, ttl: i64) -> Result<pb::LeaseGrantResponse, Fail> {
        self.repeat("/etcdserverpb.Lease/LeaseGrant", pb::LeaseGrantRequest { ttl, id: 0 }).await
    }

    /// Ends a lease; the server deletes its keys.
    ///
    /// # Errors
    /// As [`Etcd::repeat`], also if there is no such lease.
    pub(crate) async fn revoke(&self, id: i64) -> Result<pb::LeaseRevokeResponse, Fail> {
        self.repeat("/etcdserverpb.Lease/LeaseRevoke", pb::LeaseRevokeRequest { id }).await
    }

    /// Renews a lease three times within its TTL; returns the answers. When the connection is
    /// lost, another member renews it. A TTL of 0 ends the renewals: a member said that the lease
    /// is gone, or, if the answer has no header, none has renewed it within its TTL (`patience`
    /// for the first renewal).
    ///
    /// # Errors
    /// In the stream: a member refuses to renew.
    pub(crate) fn keep_alive(
        self,
        id: i64,
        patience: Duration,
    ) -> BoxStream<'static, Result<pb::LeaseKeepAliveResponse, Fail>> {
        let renewals = Renewals::new(self, id, patience);
        let next = |mut renewals: Renewals| async move { Some((renewals.next().await, renewals)) };
        futures::stream::unfold(renewals, next).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(code: Code, words: &str, cause: &'static str) -> Status {
        let mut status = Status::new(code, words);
        status.set_source(Arc::new(std::io::Error::other(cause)));
        status
    }

    #[test]
    fn a_lost_connection_is_told_with_its_causes() {
        let text = |status: &Status| told(status).text;
        let lost = broken(Code::Unknown, "operation was canceled", "connection closed");
        let want = "rpc error: code = Unavailable desc = the connection is lost: \
                    operation was canceled: connection closed";
        assert_eq!(text(&lost), want);
        let lost = broken(Code::Unavailable, "the connection is lost: broken pipe", "broken pipe");
        let want = "rpc error: code = Unavailable desc = the connection is lost: broken pipe";
        assert_eq!(text(&lost), want, "a cause is told once");
        assert_eq!(text(&Status::cancelled("x")), "rpc error: code = Canceled desc = x");
        assert_eq!(text(&Status::unknown("etcdserver: no leader")), "etcdserver: no leader");
    }

    /// As etcdctl, which waits in the queue by itself: reads are tried again, and the errors are
    /// those of its own library.
    #[test]
    fn a_queue_outlives_what_passes() {
        for words in [
            "etcdserver: no leader",
            "etcdserver: leader changed",
            "etcdserver: request timed out, possibly due to previous leader failure",
        ] {
            assert!(is_unready(&Status::unknown(words)), "{words}");
        }
        assert!(is_unready(&Status::internal("etcdserver: the disk is broken")));
        let expired = Status::unknown("mutex: session is expired");
        assert!(!is_unready(&expired) && !is_lost(&expired));
        assert_eq!(told_by_library(&expired), Fail::new(FAILED, "mutex: session is expired"));
        let refused = Status::invalid_argument("x");
        assert_eq!(told_by_library(&refused), told(&refused));
    }
}
