//! A client of an etcd elsewhere, and servers that answer it badly.

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
    let response =
        seen.watch_response(Ok(pb::WatchResponse { header: header(9), events, ..Default::default() }));
    assert_eq!(response.map(|response| response.map(|response| response.revision)), Some(Ok(8)));
    assert_eq!((seen.revision(), seen.compacted()), (9, 0));
    let (canceled, compact_revision) = (true, 5);
    let end = pb::WatchResponse { header: header(9), canceled, compact_revision, ..Default::default() };
    assert_eq!(
        seen.watch_response(Ok(end)).map(|response| response.err()),
        Some(Some(Error::Compacted { compact_revision }))
    );
    assert_eq!(seen.compacted(), 5);
    let words = Status::out_of_range("etcdserver: mvcc: required revision has been compacted");
    let response = seen.watch_response(Err(words)).and_then(Result::err);
    assert_eq!(response, Some(Error::Compacted { compact_revision: 5 }));
}

/// `etcdctl compact` by an administrator: what cannot be undone any more is known from then on.
#[test]
fn a_refused_read_of_the_past_tells_of_the_compaction() {
    let (seen, unknown) = (Seen::default(), Error::Compacted { compact_revision: 0 });
    assert_eq!(seen.read_error(7, unknown.clone()), Error::Compacted { compact_revision: 8 });
    assert_eq!(seen.read_error(3, unknown.clone()), Error::Compacted { compact_revision: 8 });
    assert_eq!(seen.read_error(0, unknown.clone()), unknown, "a read of now");
    assert_eq!(seen.read_error(9, Error::EmptyKey), Error::EmptyKey);
    assert_eq!(seen.compacted(), 8);
}

#[tokio::test]
async fn a_watch_that_the_server_ends_well_is_over_with_an_error() {
    let remote = Remote::connect(vec![etcd(Server::Ends).await], None).await.expect("it is well");
    let mut changes = remote.watch(WatchRequest::default()).await.expect("it is opened");
    let ended = tokio::time::timeout(CALL, changes.next()).await.expect("it says nothing");
    assert!(matches!(ended, Some(Err(Error::Unavailable { .. }))), "{ended:?}");
    assert!(changes.next().await.is_none());
}

#[derive(Clone, Copy)]
enum Server {
    Well,
    /// Its watches end at once, and well.
    Ends,
    Says(&'static str),
    Refuses(Code, &'static str),
    /// It meets an election, and says so so many times. Then it is well.
    Elects(&'static AtomicUsize),
    Hangs,
}

/// Returns an etcd that answers every range so, at revision 7.
async fn etcd(server: Server) -> Endpoint {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = move |request: http::Request<hyper::body::Incoming>| async move {
        if request.uri().path().ends_with("/Watch") {
            let Server::Ends = server else {
                return std::future::pending().await; // it takes the call, and says nothing
            };
            let watch = tower::service_fn(|_: tonic::Request<Streaming<pb::WatchRequest>>| async {
                Ok::<_, Status>(tonic::Response::new(stream::empty::<Result<pb::WatchResponse, Status>>()))
            });
            let codec = ProstCodec::<pb::WatchResponse, pb::WatchRequest>::default();
            return Ok(Grpc::new(codec).streaming(watch, request).await);
        }
        let range = tower::service_fn(move |_: tonic::Request<pb::RangeRequest>| async move {
            let count_down = |left: usize| left.checked_sub(1);
            match server {
                Server::Elects(left)
                    if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count_down).is_ok() =>
                {
                    Err(Status::unavailable(Error::LeaderChanged.to_string()))
                }
                Server::Well | Server::Ends | Server::Elects(_) => {
                    let header = Some(pb::ResponseHeader { revision: 7, ..Default::default() });
                    Ok(tonic::Response::new(pb::RangeResponse { header, ..Default::default() }))
                }
                Server::Says(error) => Err(Status::unavailable(error)),
                Server::Refuses(code, words) => Err(Status::new(code, words)),
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
        Server::Refuses(Code::FailedPrecondition, "etcdserver: rpc not supported for learner"),
        Server::Refuses(Code::Unimplemented, "grpc-status header missing, mapped from HTTP status code 404"),
        Server::Hangs,
    ];
    for server in sick {
        let endpoints = vec![etcd(server).await, etcd(Server::Well).await];
        let remote = Remote::connect(endpoints, None).await.expect("the other one is well");
        assert_eq!(remote.revision(), 7);
    }
    // and no call goes round in a circle
    let only = vec![etcd(sick[0]).await, etcd(sick[0]).await];
    let refused = Remote::connect(only, None).await.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused.contains("no leader"), "{refused}");
}

/// An etcd answers reads so that are under way when the leader changes. Its own client asks
/// again; a write is never answered so.
#[tokio::test]
async fn a_read_that_meets_an_election_is_asked_again() {
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    let endpoints = vec![etcd(Server::Elects(&LEFT)).await];
    let remote = Remote::connect(endpoints, None).await.expect("it is well");
    let (before, _) = remote.channel().await.expect("a connection");
    LEFT.store(3, Ordering::Relaxed);
    assert_eq!(remote.read_barrier().await, Ok(()));
    assert_eq!(LEFT.load(Ordering::Relaxed), 0);
    assert_eq!(remote.channel().await.map(|(number, _)| number).ok(), Some(before), "it moved on");
    LEFT.store(1, Ordering::Relaxed);
    let ask = pb::RangeRequest::default();
    let write: Result<pb::RangeResponse, Error> = remote.call("/etcdserverpb.KV/Txn", ask, false).await;
    assert_eq!(write.err(), Some(Error::LeaderChanged));
}

/// The server was restarted since the last call.
#[tokio::test]
async fn a_write_that_was_not_sent_goes_over_another_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let endpoint = Endpoint { tls: false, host: "127.0.0.1".into(), port };
    let (dead, stream) = tokio::join!(Channel::connect(&endpoint, None), listener.accept());
    let dead = dead.expect("a connection");
    drop(stream);
    let ended = async {
        while dead.is_open().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(CALL, ended).await.expect("it notices");
    let remote = Remote::connect(vec![etcd(Server::Well).await], None).await.expect("it is well");
    remote.channel.lock().await.1 = Some(dead);
    let ask = pb::RangeRequest::default();
    let write: Result<pb::RangeResponse, Error> = remote.call("/etcdserverpb.KV/Txn", ask, false).await;
    assert!(write.is_ok(), "{write:?}");
}

/// A server that wants TLS does so, and one that wants a certificate.
#[tokio::test]
async fn what_breaks_each_connection_is_reported_and_no_timeout() {
    let mut remote = Remote::connect(vec![etcd(Server::Well).await], None).await.expect("it is well");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    remote.endpoints[0].port = listener.local_addr().expect("an address").port();
    *remote.channel.lock().await = Default::default();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} }); // and closed at once
    let broke = async {
        while remote.broken.lock().is_none() {
            let _ = tokio::time::timeout(10 * AGAIN, remote.read_barrier()).await; // it asks for longer
        }
    };
    tokio::time::timeout(CALL, broke).await.expect("it does not notice");
    let broken = remote.broken.lock().clone().expect("it broke");
    let text = |error| remote.unanswered(&error).to_string();
    assert!(text(Error::Timeout).ends_with(&broken), "{broken}");
    assert!(text(Error::NoLeader).ends_with(" answers no read: etcdserver: no leader"));
    let unknown = Error::Unavailable { cause: "etcdserver: user name is empty".into() };
    assert!(text(unknown).ends_with(" answers no read: etcdserver: user name is empty"));
    assert_eq!(causes(&Status::from_error(Box::new(std::io::Error::other("reset")))), "reset");
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
