//! A store that another program keeps: any etcd v3, through its messages.

use super::super::api::{
    Error, RangeRequest, RangeResponse, Revision, TxnRequest, TxnResponse, WatchRequest, WatchResponse,
};
use super::super::pb;
use super::super::storage::{Changes, Storage};
use super::client::{Channel, ConnectError, Endpoint, was_not_sent};
use super::convert::{error_of, event_of, range_of, to_range, to_txn, txn_of};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use futures::stream;
use lang::chain;
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tonic::{Code, Status};

/// A server that does not take a connection in this time is passed over.
const DIAL: Duration = Duration::from_secs(2);
/// How long a call may take, all attempts together.
const CALL: Duration = Duration::from_secs(6);
/// How long one attempt to read may take, if there is another server that can be asked.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Pause before a call is repeated: a server that takes connections and breaks them is not to be
/// asked in a circle.
const AGAIN: Duration = Duration::from_millis(20);

/// A client of an etcd's servers: one connection at a time, to the next server when it breaks.
pub struct Remote {
    endpoints: Vec<Endpoint>,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// The connection, and which one of those that were made it is.
    channel: Mutex<(u64, Option<Channel>)>,
    /// The place in `endpoints` of the next connection.
    next: AtomicUsize,
    seen: Arc<Seen>,
    /// What broke a connection last; `None` since a call was answered.
    broken: parking_lot::Mutex<Option<String>>,
}

/// What the store's answers, those of watches included, have shown of its revisions.
#[derive(Default)]
struct Seen {
    revision: AtomicI64,
    compacted: AtomicI64,
}

impl Seen {
    /// Returns the revision of the header.
    fn header(&self, header: Option<&pb::ResponseHeader>) -> Revision {
        let revision = header.map_or(0, |h| h.revision);
        self.revision.fetch_max(revision, Ordering::AcqRel);
        revision
    }

    fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    fn compacted(&self) -> Revision {
        self.compacted.load(Ordering::Acquire)
    }

    fn error(&self, status: &Status) -> Error {
        error_of(status, self.revision(), self.compacted())
    }

    /// Notes what a refused read at revision `asked` shows. etcd does not say at which revision it
    /// was compacted, by `etcdctl compact` for example: at a later one than that.
    fn read_error(&self, asked: Revision, error: Error) -> Error {
        match error {
            Error::Compacted { .. } if asked > 0 => {
                self.compacted.fetch_max(asked + 1, Ordering::AcqRel);
                Error::Compacted { compact_revision: self.compacted() }
            }
            other => other,
        }
    }

    /// Returns what the reader of a watch gets for one message; `None` if nothing.
    fn watch_response(
        &self,
        answer: Result<pb::WatchResponse, Status>,
    ) -> Option<Result<WatchResponse, Error>> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) => return Some(Err(self.error(&status))),
        };
        self.header(answer.header.as_ref());
        self.compacted.fetch_max(answer.compact_revision, Ordering::AcqRel);
        changes(answer)
    }
}

impl Remote {
    /// Connects, and learns the store's revision. `tls` is for `https` endpoints.
    ///
    /// # Errors
    /// - The error of the last endpoint that was tried, if none takes a connection (see
    ///   [`Channel::connect`]); each has 2 s.
    /// - `NoAnswer` with the names of all if no linearizable read is answered, for which there are
    ///   6 s. A server that wants TLS, or a client's certificate, takes connections and breaks
    ///   them.
    pub fn connect(
        endpoints: Vec<Endpoint>,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> BoxFuture<'static, Result<Remote, ConnectError>> {
        Box::pin(async move {
            let remote = Remote {
                endpoints,
                tls,
                channel: Mutex::default(),
                next: AtomicUsize::new(0),
                seen: Arc::default(),
                broken: parking_lot::Mutex::default(),
            };
            remote.channel().await?;
            match remote.read_barrier().await {
                Ok(()) => Ok(remote),
                Err(error) => Err(remote.unanswered(&error)),
            }
        })
    }

    /// Returns why the first read was not answered. After `Timeout` that is what broke the
    /// connections, if something did: no etcd has said that the time is over.
    fn unanswered(&self, error: &Error) -> ConnectError {
        let names: Vec<String> = self.endpoints.iter().map(|e| format!("{}:{}", e.host, e.port)).collect();
        let broken = self.broken.lock().clone();
        let cause = match (error, broken) {
            (Error::Timeout, Some(broken)) => broken,
            (Error::Unavailable { cause }, _) => cause.clone(),
            (error, _) => error.to_string(),
        };
        ConnectError::NoAnswer { endpoint: names.join(","), cause }
    }

    /// Returns the connection, or a new one to the first server that takes it.
    async fn channel(&self) -> Result<(u64, Channel), ConnectError> {
        let mut kept = self.channel.lock().await;
        if let (number, Some(channel)) = &*kept {
            return Ok((*number, channel.clone()));
        }
        let mut last = ConnectError::Endpoint(String::new());
        for _ in 0..self.endpoints.len() {
            let at = self.next.load(Ordering::Relaxed) % self.endpoints.len();
            let endpoint = &self.endpoints[at];
            match tokio::time::timeout(DIAL, Channel::connect(endpoint, self.tls.clone())).await {
                Ok(Ok(channel)) => {
                    *kept = (kept.0 + 1, Some(channel.clone()));
                    return Ok((kept.0, channel));
                }
                Ok(Err(error)) => last = error,
                Err(_) => {
                    let endpoint = format!("{}:{}", endpoint.host, endpoint.port);
                    last = ConnectError::Dial { endpoint, cause: "it does not answer".into() };
                }
            }
            self.next.store(at + 1, Ordering::Relaxed);
        }
        Err(last)
    }

    /// Forgets a connection that broke: the next call looks for another server. Of several calls
    /// that it broke for, the others find a new one already, which is to stay.
    async fn forget(&self, number: u64) {
        let mut kept = self.channel.lock().await;
        if kept.0 == number && kept.1.take().is_some() {
            self.next.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes one call, which is repeated by the rules of etcd's own client (`retry.go` in
    /// client/v3):
    ///
    /// - any call that was not sent, on another connection;
    /// - a read at another server when the connection breaks or the server cannot serve;
    /// - a read at the same server when it says `Unavailable` for another reason, such as an
    ///   election that goes on.
    ///
    /// A write that was sent is not repeated: its outcome is unknown. The next call goes to another
    /// server then.
    async fn call<Q, A>(&self, path: &'static str, ask: Q, reads: bool) -> Result<A, Error>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        let asked = AtomicU64::new(0);
        let attempts = async {
            let attempt = if reads && self.endpoints.len() > 1 { ATTEMPT } else { CALL };
            let mut others = self.endpoints.len();
            loop {
                let (number, channel) =
                    self.channel().await.map_err(|e| Error::Unavailable { cause: chain(&e) })?;
                asked.store(number, Ordering::Relaxed);
                let Ok(answer) = tokio::time::timeout(attempt, channel.unary(path, ask.clone())).await else {
                    self.forget(number).await;
                    if !reads {
                        return Err(Error::Timeout); // its outcome is unknown
                    }
                    continue;
                };
                let status = match answer {
                    Ok(answer) => {
                        *self.broken.lock() = None;
                        return Ok(answer);
                    }
                    Err(status) => status,
                };
                if is_broken(&status) {
                    *self.broken.lock() = Some(causes(&status));
                }
                if is_broken(&status) || cannot_serve(&status) {
                    self.forget(number).await;
                    others -= usize::from(cannot_serve(&status));
                    if !reads && !was_not_sent(&status) || others == 0 {
                        return Err(self.seen.error(&status));
                    }
                } else if !reads || status.code() != Code::Unavailable {
                    return Err(self.seen.error(&status));
                }
                clock::pause(AGAIN).await;
            }
        };
        match tokio::time::timeout(CALL, attempts).await {
            Ok(answer) => answer,
            Err(_) => {
                self.forget(asked.load(Ordering::Relaxed)).await;
                Err(Error::Timeout)
            }
        }
    }
}

/// Returns whether an error is the connection's and no answer of the store: etcd's own begin with
/// its name. What happened to a connection in the middle of a call has a cause on this side, and
/// some other code.
fn is_broken(status: &Status) -> bool {
    let is_here = std::error::Error::source(status).is_some();
    is_here || (status.code() == Code::Unavailable && !status.message().starts_with("etcdserver:"))
}

/// Returns whether the server answers, but is of no use now: it is cut off from the others, or
/// ends, or is a learner, which has not caught up with the others yet, or no etcd at all.
fn cannot_serve(status: &Status) -> bool {
    let signs = ["etcdserver: no leader", "etcdserver: request timed out", "etcdserver: server stopped"];
    match status.code() {
        Code::Unavailable => signs.iter().any(|sign| status.message().starts_with(sign)),
        Code::FailedPrecondition => status.message() == "etcdserver: rpc not supported for learner",
        Code::Unimplemented => true,
        _ => false,
    }
}

/// Returns what broke a connection: the status has only the first of the causes in its text.
fn causes(status: &Status) -> String {
    let causes = std::iter::successors(std::error::Error::source(status), |e| e.source());
    causes.map(ToString::to_string).fold(status.message().to_string(), |text, cause| {
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[async_trait]
impl Storage for Remote {
    async fn range(&self, r: RangeRequest) -> Result<RangeResponse, Error> {
        let asked = r.revision;
        let answer = self.call("/etcdserverpb.KV/Range", to_range(r), true).await;
        let answer: pb::RangeResponse = answer.map_err(|error| self.seen.read_error(asked, error))?;
        let revision = self.seen.header(answer.header.as_ref());
        Ok(range_of(answer, revision))
    }

    async fn txn(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        let answer: pb::TxnResponse = self.call("/etcdserverpb.KV/Txn", to_txn(r), false).await?;
        let revision = self.seen.header(answer.header.as_ref());
        txn_of(answer, revision)
    }

    /// Runs a transaction. An etcd elsewhere has its limits (`--max-txn-ops`,
    /// `--max-request-bytes`), and says so.
    async fn txn_unbounded(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        self.txn(r).await
    }

    async fn watch(&self, r: WatchRequest) -> Result<Changes, Error> {
        let create = pb::WatchCreateRequest {
            key: r.key,
            range_end: r.range_end,
            start_revision: r.start_revision,
            prev_kv: r.prev_kv,
            ..pb::WatchCreateRequest::default()
        };
        let union = Some(pb::WatchUnion::CreateRequest(create));
        // The stream of requests stays open as long as the watch.
        let asks = stream::iter([pb::WatchRequest { request_union: union }]).chain(stream::pending());
        let (number, channel) = self.channel().await.map_err(|e| Error::Unavailable { cause: chain(&e) })?;
        let opening = channel.stream("/etcdserverpb.Watch/Watch", asks);
        let answers: tonic::Streaming<pb::WatchResponse> = match tokio::time::timeout(CALL, opening).await {
            Ok(Ok(answers)) => answers,
            Err(_) => {
                self.forget(number).await;
                return Err(Error::Timeout);
            }
            Ok(Err(status)) => {
                if is_broken(&status) || cannot_serve(&status) {
                    self.forget(number).await;
                }
                return Err(self.seen.error(&status));
            }
        };
        let seen = self.seen.clone();
        let changes = answers.filter_map(move |answer| std::future::ready(seen.watch_response(answer)));
        // A server that stops may end the stream without an error. For the reader the watch is over
        // all the same, and the store is not: the reader watches again.
        let end = Err(Error::Unavailable { cause: "the server ended the watch".into() });
        let changes = changes.chain(stream::once(std::future::ready(end)));
        // Nothing follows an error.
        let changes = changes.scan(false, |over, change| {
            let change = (!*over).then_some(change);
            *over = matches!(change, Some(Err(_)));
            std::future::ready(change)
        });
        Ok(changes.boxed())
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let ask = pb::CompactionRequest { revision, physical: false };
        let answer: pb::CompactionResponse = self.call("/etcdserverpb.KV/Compact", ask, false).await?;
        self.seen.header(answer.header.as_ref());
        self.seen.compacted.fetch_max(revision, Ordering::AcqRel);
        Ok(())
    }

    async fn lease_grant(&self, ttl_seconds: i64, id: i64) -> Result<i64, Error> {
        let ask = pb::LeaseGrantRequest { ttl: ttl_seconds, id };
        let answer: pb::LeaseGrantResponse = self.call("/etcdserverpb.Lease/LeaseGrant", ask, false).await?;
        Ok(answer.id)
    }

    /// Waits for a linearizable read, of any key: it tells the newest revision.
    async fn read_barrier(&self) -> Result<(), Error> {
        let any =
            RangeRequest { key: Bytes::from_static(b"\0"), count_only: true, ..RangeRequest::default() };
        self.range(any).await.map(drop)
    }

    fn revision(&self) -> Revision {
        self.seen.revision()
    }

    /// Returns nothing: the members of an etcd elsewhere are not ours to describe.
    fn status(&self) -> Option<crate::Status> {
        None
    }
    fn compacted(&self) -> Revision {
        self.seen.compacted()
    }
}

/// Returns the changes in one message; `None` if there are none.
fn changes(answer: pb::WatchResponse) -> Option<Result<WatchResponse, Error>> {
    if answer.canceled {
        return Some(Err(match answer.compact_revision {
            0 => Error::Unavailable { cause: answer.cancel_reason },
            compact_revision => Error::Compacted { compact_revision },
        }));
    }
    // A watcher that catches up gets old events with the newest revision in the head.
    let newest = answer.events.iter().filter_map(|e| e.kv.as_ref()).map(|kv| kv.mod_revision).max()?;
    let events = answer.events.into_iter().filter_map(event_of).collect();
    Some(Ok(WatchResponse { revision: newest, events }))
}

#[cfg(test)]
mod tests;
