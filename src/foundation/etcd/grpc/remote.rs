//! A store that another program keeps: any etcd v3, through its messages.

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

/// Pause before a read is asked again: a server that takes connections and breaks them is not to be
/// asked in a circle.
const AGAIN: Duration = Duration::from_millis(20);

/// A client of an etcd's servers: one connection at a time, to the next server when it breaks.
pub struct Remote {
    endpoints: Vec<Endpoint>,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// The connection, and which one of those that were made it is.
    channel: Mutex<(u64, Option<Channel>)>,
    /// Where the next connection goes.
    next: AtomicUsize,
    seen: Arc<Seen>,
}

/// What the answers of the store, its watches included, have told.
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

    /// What one message of a watch tells its reader; `None` if nothing.
    fn told(&self, answer: Result<pb::WatchResponse, Status>) -> Option<Result<WatchResponse, Error>> {
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
    /// - `Dial` with the names of all if no linearizable read is answered, for which there are 6 s.
    pub async fn connect(
        endpoints: Vec<Endpoint>,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Remote, ConnectError> {
        let remote = Remote {
            endpoints,
            tls,
            channel: Mutex::default(),
            next: AtomicUsize::new(0),
            seen: Arc::default(),
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

    /// Forgets a connection that broke: the next call looks for another server. Of several calls
    /// that it broke for, the others find a new one already, which is to stay.
    async fn forget(&self, number: u64) {
        let mut kept = self.channel.lock().await;
        if kept.0 == number && kept.1.take().is_some() {
            self.next.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One call. What only reads is asked again at another server when the connection breaks, or
    /// when the server cannot serve; a write is not: nobody knows what became of it. The next call
    /// goes to another server in either case.
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
                        return Err(Error::Timeout); // nobody knows what became of it
                    }
                    continue;
                };
                match answer {
                    Err(status) if is_broken(&status) || cannot_serve(&status) => {
                        self.forget(number).await;
                        others -= usize::from(cannot_serve(&status));
                        if !reads || others == 0 {
                            return Err(self.seen.error(&status));
                        }
                        tokio::time::sleep(AGAIN).await;
                    }
                    other => return other.map_err(|status| self.seen.error(&status)),
                }
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

/// The connection's fault, not the store's answer: etcd's own begin with its name. What happened to
/// a connection in the middle of a call has a cause on this side, and some other code.
fn is_broken(status: &Status) -> bool {
    let is_here = std::error::Error::source(status).is_some();
    is_here || (status.code() == Code::Unavailable && !status.message().starts_with("etcdserver:"))
}

/// The server answers, but is of no use now: it is cut off from the others, or ends.
fn cannot_serve(status: &Status) -> bool {
    let signs = ["etcdserver: no leader", "etcdserver: request timed out", "etcdserver: server stopped"];
    status.code() == Code::Unavailable && signs.iter().any(|sign| status.message().starts_with(sign))
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[async_trait]
impl Storage for Remote {
    async fn range(&self, r: RangeRequest) -> Result<RangeResponse, Error> {
        let answer: pb::RangeResponse = self.call("/etcdserverpb.KV/Range", to_range(r), true).await?;
        let revision = self.seen.header(answer.header.as_ref());
        Ok(range_of(answer, revision))
    }

    async fn txn(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        let answer: pb::TxnResponse = self.call("/etcdserverpb.KV/Txn", to_txn(r), false).await?;
        let revision = self.seen.header(answer.header.as_ref());
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
        let told = answers.filter_map(move |answer| std::future::ready(seen.told(answer)));
        // A server that stops may end the stream well. For the reader the watch is over all the
        // same, and the store is not.
        let end = Err(Error::Unavailable { cause: "the server ended the watch".into() });
        let told = told.chain(stream::once(std::future::ready(end)));
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
        self.seen.header(answer.header.as_ref());
        self.seen.compacted.fetch_max(revision, Ordering::AcqRel);
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
        self.seen.revision()
    }

    /// Its members have doors of their own.
    fn status(&self) -> Option<crate::Status> {
        None
    }
    fn compacted(&self) -> Revision {
        self.seen.compacted()
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

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use std::convert::Infallible;
    use tonic::Streaming;
    use tonic::server::Grpc;
    use tonic_prost::ProstCodec;

    #[test]
    fn a_connection_that_breaks_in_a_call_is_broken() {
        let broken = Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        assert!(is_broken(&broken), "{broken:?}");
        assert!(is_broken(&Status::unavailable("no connection")));
        assert!(!is_broken(&Status::unavailable("etcdserver: no leader")));
        assert!(!is_broken(&Status::out_of_range("etcdserver: mvcc: required revision has been compacted")));
    }

    #[test]
    fn a_watch_tells_how_far_the_store_is() {
        let seen = Seen::default();
        let header = |revision| Some(pb::ResponseHeader { revision, ..Default::default() });
        let kv = Some(pb::KeyValue { mod_revision: 8, ..Default::default() });
        let events = vec![pb::Event { kv, ..Default::default() }];
        let told = seen.told(Ok(pb::WatchResponse { header: header(9), events, ..Default::default() }));
        assert_eq!(told.map(|told| told.map(|told| told.revision)), Some(Ok(8)));
        assert_eq!((seen.revision(), seen.compacted()), (9, 0));
        let (canceled, compact_revision) = (true, 5);
        let end = pb::WatchResponse { header: header(9), canceled, compact_revision, ..Default::default() };
        assert_eq!(
            seen.told(Ok(end)).map(|told| told.err()),
            Some(Some(Error::Compacted { compact_revision }))
        );
        assert_eq!(seen.compacted(), 5);
        let words = Status::out_of_range("etcdserver: mvcc: required revision has been compacted");
        let told = seen.told(Err(words)).and_then(Result::err);
        assert_eq!(told, Some(Error::Compacted { compact_revision: 5 }));
    }

    #[tokio::test]
    async fn a_watch_that_the_server_ends_well_is_over_with_an_error() {
        let remote = Remote::connect(vec![etcd(Server::Ends).await], None).await.expect("it is well");
        let mut told = remote.watch(WatchRequest::default()).await.expect("it is opened");
        let ended = tokio::time::timeout(CALL, told.next()).await.expect("it says nothing");
        assert!(matches!(ended, Some(Err(Error::Unavailable { .. }))), "{ended:?}");
        assert!(told.next().await.is_none());
    }

    #[derive(Clone, Copy)]
    enum Server {
        Well,
        /// Its watches end at once, and well.
        Ends,
        Says(&'static str),
        Hangs,
    }

    /// An etcd that answers every range so, at revision 7.
    async fn etcd(server: Server) -> Endpoint {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let answer = move |request: http::Request<hyper::body::Incoming>| async move {
            if request.uri().path().ends_with("/Watch") {
                let Server::Ends = server else {
                    return std::future::pending().await; // it takes the call, and says nothing
                };
                let watch = tower::service_fn(|_: tonic::Request<Streaming<pb::WatchRequest>>| async {
                    Ok::<_, Status>(
                        tonic::Response::new(stream::empty::<Result<pb::WatchResponse, Status>>()),
                    )
                });
                let codec = ProstCodec::<pb::WatchResponse, pb::WatchRequest>::default();
                return Ok(Grpc::new(codec).streaming(watch, request).await);
            }
            let range = tower::service_fn(move |_: tonic::Request<pb::RangeRequest>| async move {
                match server {
                    Server::Well | Server::Ends => {
                        let header = Some(pb::ResponseHeader { revision: 7, ..Default::default() });
                        Ok(tonic::Response::new(pb::RangeResponse { header, ..Default::default() }))
                    }
                    Server::Says(error) => Err(Status::unavailable(error)),
                    Server::Hangs => std::future::pending().await,
                }
            });
            let codec = ProstCodec::<pb::RangeResponse, pb::RangeRequest>::default();
            Ok::<_, Infallible>(Grpc::new(codec).unary(range, request).await)
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service_fn(answer)));
            }
        });
        Endpoint { tls: false, host: "127.0.0.1".into(), port }
    }

    #[tokio::test]
    async fn a_server_that_answers_but_cannot_serve_is_left() {
        let sick = [
            Server::Says("etcdserver: no leader"),
            Server::Says("etcdserver: request timed out, possibly due to connection lost"),
            Server::Says("etcdserver: server stopped"),
            Server::Hangs,
        ];
        for server in sick {
            let endpoints = vec![etcd(server).await, etcd(Server::Well).await];
            let remote = Remote::connect(endpoints, None).await.expect("the other one is well");
            assert_eq!(remote.revision(), 7);
        }
        // and nobody asks in a circle
        let only = vec![etcd(sick[0]).await, etcd(sick[0]).await];
        let refused = Remote::connect(only, None).await.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(refused.contains("no leader"), "{refused}");
    }

    #[tokio::test]
    async fn a_watch_that_is_never_opened_is_an_error() {
        let remote = Remote::connect(vec![etcd(Server::Well).await], None).await.expect("it is well");
        tokio::time::pause();
        let opened = tokio::time::timeout(9 * CALL, remote.watch(WatchRequest::default())).await;
        assert_eq!(opened.expect("it waits without end").err(), Some(Error::Timeout));
        assert!(remote.channel.lock().await.1.is_none(), "the next call goes elsewhere");
    }

    #[tokio::test]
    async fn a_write_is_not_repeated_and_the_next_call_goes_elsewhere() {
        let endpoints = vec![etcd(Server::Says("etcdserver: no leader")).await, etcd(Server::Well).await];
        let remote = Remote::connect(endpoints.clone(), None).await.expect("one is well");
        remote.next.store(0, Ordering::Relaxed);
        *remote.channel.lock().await = Default::default();
        let ask = || pb::RangeRequest::default();
        let write: Result<pb::RangeResponse, Error> = remote.call("/etcdserverpb.KV/Txn", ask(), false).await;
        assert_eq!(write.err(), Some(Error::NoLeader));
        let next: Result<pb::RangeResponse, Error> = remote.call("/etcdserverpb.KV/Txn", ask(), false).await;
        assert!(next.is_ok(), "{next:?}");
    }
}
