//! A store that somebody else keeps: any etcd v3, through its messages.

use super::super::api::{
    Error, RangeRequest, RangeResponse, Revision, TxnRequest, TxnResponse, WatchRequest, WatchResponse,
};
use super::super::pb;
use super::super::storage::{Changes, Storage};
use super::client::{Channel, ConnectError, Endpoint};
use super::convert::{error_of, event_of, range_of, to_range, to_txn, txn_of};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tonic::{Code, Status};

/// A server that does not take a connection in this time is passed over.
const DIAL: Duration = Duration::from_secs(2);
/// How long a call may take, all attempts together.
const CALL: Duration = Duration::from_secs(6);

/// Pause before a read is asked again: a server that takes connections and breaks them is not to be asked in a circle.
const AGAIN: Duration = Duration::from_millis(20);

/// A client of an etcd's servers: one connection at a time, to the next server when it breaks.
pub struct Remote {
    endpoints: Vec<Endpoint>,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// The connection, and which one of those that were made it is.
    channel: Mutex<(u64, Option<Channel>)>,
    /// Where the next connection goes.
    next: AtomicUsize,
    revision: AtomicI64,
    compacted: AtomicI64,
}

impl Remote {
    /// Connects, and learns the store's revision. `tls` is for `https` endpoints.
    pub async fn connect(
        endpoints: Vec<Endpoint>,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Remote, ConnectError> {
        let remote = Remote {
            endpoints,
            tls,
            channel: Mutex::default(),
            next: AtomicUsize::new(0),
            revision: AtomicI64::new(0),
            compacted: AtomicI64::new(0),
        };
        remote.channel().await?;
        let answered = remote.read_barrier().await;
        let names: Vec<String> = remote.endpoints.iter().map(|e| format!("{}:{}", e.host, e.port)).collect();
        answered
            .map_err(|cause| ConnectError::Dial { endpoint: names.join(","), cause: cause.to_string() })?;
        Ok(remote)
    }

    /// The connection, or a new one to the first server that takes it.
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

    /// Forgets a connection that broke: the next call looks for another server. Of several calls that it broke for, the others find a new one
    /// already, which is to stay.
    async fn forget(&self, number: u64) {
        let mut kept = self.channel.lock().await;
        if kept.0 == number && kept.1.take().is_some() {
            self.next.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One call. What only reads is asked again at another server when the connection breaks; a write is not: nobody knows what became of it.
    async fn call<Q, A>(&self, path: &'static str, ask: Q, reads: bool) -> Result<A, Error>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        let attempts = async {
            loop {
                let (number, channel) =
                    self.channel().await.map_err(|e| Error::Unavailable { cause: chain(&e) })?;
                match channel.unary(path, ask.clone()).await {
                    Err(status) if is_broken(&status) => {
                        self.forget(number).await;
                        if !reads {
                            return Err(self.error(&status));
                        }
                        tokio::time::sleep(AGAIN).await;
                    }
                    other => return other.map_err(|status| self.error(&status)),
                }
            }
        };
        tokio::time::timeout(CALL, attempts).await.unwrap_or(Err(Error::Timeout))
    }

    fn error(&self, status: &Status) -> Error {
        error_of(status, self.revision(), self.compacted())
    }

    fn saw(&self, header: Option<&pb::ResponseHeader>) -> Revision {
        let revision = header.map_or(0, |h| h.revision);
        self.revision.fetch_max(revision, Ordering::AcqRel);
        revision
    }
}

/// The connection's fault, not the store's answer: etcd's own begin with its name.
fn is_broken(status: &Status) -> bool {
    status.code() == Code::Unavailable && !status.message().starts_with("etcdserver:")
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[async_trait]
impl Storage for Remote {
    async fn range(&self, r: RangeRequest) -> Result<RangeResponse, Error> {
        let answer: pb::RangeResponse = self.call("/etcdserverpb.KV/Range", to_range(r), true).await?;
        let revision = self.saw(answer.header.as_ref());
        Ok(range_of(answer, revision))
    }

    async fn txn(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        let answer: pb::TxnResponse = self.call("/etcdserverpb.KV/Txn", to_txn(r), false).await?;
        let revision = self.saw(answer.header.as_ref());
        txn_of(answer, revision)
    }

    /// An etcd has its limits (`--max-txn-ops`, `--max-request-bytes`), and says so.
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
        // It stays open as long as the watch.
        let asks = stream::iter([pb::WatchRequest { request_union: union }]).chain(stream::pending());
        let (number, channel) = self.channel().await.map_err(|e| Error::Unavailable { cause: chain(&e) })?;
        let opened = channel.stream("/etcdserverpb.Watch/Watch", asks).await;
        let answers: tonic::Streaming<pb::WatchResponse> = match opened {
            Ok(answers) => answers,
            Err(status) => {
                if is_broken(&status) {
                    self.forget(number).await;
                }
                return Err(self.error(&status));
            }
        };
        let (compacted, revision) = (self.compacted(), self.revision());
        let told = answers.filter_map(move |answer| {
            let told = match answer {
                Ok(answer) => changes(answer),
                Err(status) => Some(Err(error_of(&status, revision, compacted))),
            };
            std::future::ready(told)
        });
        // An error is the last word.
        let ended = told.scan(false, |over, told| {
            let told = (!*over).then_some(told);
            *over = matches!(told, Some(Err(_)));
            std::future::ready(told)
        });
        Ok(ended.boxed())
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let ask = pb::CompactionRequest { revision, physical: false };
        let answer: pb::CompactionResponse = self.call("/etcdserverpb.KV/Compact", ask, false).await?;
        self.saw(answer.header.as_ref());
        self.compacted.fetch_max(revision, Ordering::AcqRel);
        Ok(())
    }

    async fn lease_grant(&self, ttl_seconds: i64, id: i64) -> Result<i64, Error> {
        let ask = pb::LeaseGrantRequest { ttl: ttl_seconds, id };
        let answer: pb::LeaseGrantResponse = self.call("/etcdserverpb.Lease/LeaseGrant", ask, false).await?;
        Ok(answer.id)
    }

    /// Any linearizable read tells the newest revision.
    async fn read_barrier(&self) -> Result<(), Error> {
        let any =
            RangeRequest { key: Bytes::from_static(b"\0"), count_only: true, ..RangeRequest::default() };
        self.range(any).await.map(drop)
    }

    fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// Its members have doors of their own.
    fn status(&self) -> Option<crate::etcd::Status> {
        None
    }
    fn compacted(&self) -> Revision {
        self.compacted.load(Ordering::Acquire)
    }
}

/// What one message tells; `None` if nothing.
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
