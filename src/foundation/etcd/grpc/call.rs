//! From a path to a method: `/etcdserverpb.KV/Range` is [`Face::range`].

use super::super::api;
use super::client::HAS_LEADER;
use super::codec::{MESSAGE_MAX, Messages, answer_as_in_go, as_in_go};
use super::face::Face;
use futures::{FutureExt, Stream, TryStreamExt, stream};
use http::{Request, Response};
use prost::Message;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Status, Streaming};

/// A stream whose client wants a leader ends when there has been none for this long: three times
/// the longest election timeout, of 500 ms (etcd: three election timeouts).
const LEADERLESS: Duration = Duration::from_millis(1500);

/// Answers that come one by one.
pub(super) type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// etcd's services, with that of gRPC for probes. A method that is not served says so; all other
/// services are unknown.
const SERVICES: [&str; 9] = [
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
    "grpc.health.v1.Health",
];

/// A request's body, from a connection or from elsewhere.
pub(super) trait Sent:
    http_body::Body<Error: Into<Box<dyn Error + Send + Sync>> + Send> + Send + 'static
{
}
impl<B: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>> + Send> + Send + 'static> Sent for B {}

/// Returns how long the client of a call waits (the header `grpc-timeout`, e.g. `250m`); `None` if
/// it says nothing, or nothing that can be understood. Source: PROTOCOL-HTTP2.md of gRPC.
fn time_limit<B>(request: &Request<B>) -> Option<Duration> {
    let text = request.headers().get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|_| number.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Gives an answer up when its client does not wait for it any more. A client hangs up then; one
/// that is cut off cannot, and its place in the queue of a lock would keep others waiting.
async fn within<A>(
    limit: Option<Duration>,
    answer: impl Future<Output = Result<A, Status>>,
) -> Result<A, Status> {
    let Some(limit) = limit else { return answer.await };
    let late = || Err(Status::deadline_exceeded("context deadline exceeded")); // in the words of Go
    clock::limit(limit, answer).await.unwrap_or_else(late)
}

/// Serves a call with one message in and one out.
async fn unary<Q, A, F>(
    request: Request<impl Sent>,
    face: Arc<Face>,
    go: fn(Arc<Face>, Q) -> F,
) -> Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
    F: Future<Output = Result<A, Status>> + Send,
{
    let limit = time_limit(&request);
    let service = tower::service_fn(move |request: tonic::Request<Q>| {
        let answer = within(limit, go(face.clone(), request.into_inner()));
        answer.map(|answer| answer.map(tonic::Response::new))
    });
    let answer = Grpc::new(Messages::<A, Q>::default())
        .max_decoding_message_size(MESSAGE_MAX)
        .unary(service, request)
        .await;
    answer_as_in_go(answer)
}

/// Serves a call with one message in and many out.
async fn answers<Q, A>(
    request: Request<impl Sent>,
    face: Arc<Face>,
    go: fn(Arc<Face>, Q) -> Answers<A>,
) -> Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let leader = wants_leader(&request).then(|| face.kv.leader());
    let service = tower::service_fn(move |request: tonic::Request<Q>| {
        let answers = with_leader(go(face.clone(), request.into_inner()), leader.clone());
        async move { Ok::<_, Status>(tonic::Response::new(answers)) }
    });
    let answer = Grpc::new(Messages::<A, Q>::default())
        .max_decoding_message_size(MESSAGE_MAX)
        .server_streaming(service, request)
        .await;
    answer_as_in_go(answer)
}

/// Serves a call with many messages in and many out.
async fn streams<Q, A>(
    request: Request<impl Sent>,
    face: Arc<Face>,
    go: fn(Arc<Face>, Streaming<Q>) -> Answers<A>,
) -> Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let leader = wants_leader(&request).then(|| face.kv.leader());
    let service = tower::service_fn(move |request: tonic::Request<Streaming<Q>>| {
        let answers = with_leader(go(face.clone(), request.into_inner()), leader.clone());
        let answers = answers.map_err(as_in_go);
        async move { Ok::<_, Status>(tonic::Response::new(answers)) }
    });
    Grpc::new(Messages::<A, Q>::default())
        .max_decoding_message_size(MESSAGE_MAX)
        .streaming(service, request)
        .await
}

/// Returns whether the client wants an error rather than a member without a leader.
fn wants_leader<B>(request: &Request<B>) -> bool {
    request.headers().get(HAS_LEADER).is_some_and(|value| value == "true")
}

/// Resolves when there has been no leader for [`LEADERLESS`].
async fn leaderless(mut leader: watch::Receiver<u64>) {
    while leader.wait_for(|id| *id == 0).await.map(drop).is_ok() {
        let back = leader.wait_for(|id| *id != 0);
        match tokio::time::timeout(LEADERLESS, back).await.map(|back| back.map(drop)) {
            Err(_) => return,
            Ok(Ok(())) => {}
            Ok(Err(_)) => break, // its last word was that there is no leader
        }
    }
    std::future::pending().await // the member is gone, and ends its streams itself
}

/// Returns the answers, and an error behind them if there is no `leader` any more.
fn with_leader<A: Send + 'static>(answers: Answers<A>, leader: Option<watch::Receiver<u64>>) -> Answers<A> {
    let Some(leader) = leader else { return answers };
    let mut gone = Box::pin(leaderless(leader));
    let mut answers = Some(answers);
    Box::pin(stream::poll_fn(move |cx| {
        let Some(open) = &mut answers else { return Poll::Ready(None) };
        if gone.as_mut().poll(cx).is_ready() {
            answers = None;
            return Poll::Ready(Some(Err(api::Error::NoLeader.into())));
        }
        open.as_mut().poll_next(cx)
    }))
}

impl Face {
    /// Answers one call. Every failure is an answer, too, with a status or a code of HTTP.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<impl Sent>,
    ) -> Result<Response<Body>, Infallible> {
        if let Some(answer) = self.answer_without_grpc(&request).await {
            return Ok(answer);
        }
        let path = request.uri().path().trim_start_matches('/').to_string();
        if wants_leader(&request) && *self.kv.leader().borrow() == 0 {
            return Ok(Status::from(api::Error::NoLeader).into_http());
        }
        Ok(match path.as_str() {
            "etcdserverpb.KV/Range" => unary(request, self, Face::record_range).await,
            "etcdserverpb.KV/Put" => unary(request, self, Face::record_put).await,
            "etcdserverpb.KV/DeleteRange" => unary(request, self, Face::record_delete_range).await,
            "etcdserverpb.KV/Txn" => unary(request, self, Face::record_txn).await,
            "etcdserverpb.KV/Compact" => unary(request, self, Face::compact).await,
            "etcdserverpb.Watch/Watch" => streams(request, self, Face::watch).await,
            "etcdserverpb.Lease/LeaseGrant" => unary(request, self, Face::lease_grant).await,
            "etcdserverpb.Lease/LeaseRevoke" => unary(request, self, Face::lease_revoke).await,
            "etcdserverpb.Lease/LeaseKeepAlive" => streams(request, self, Face::lease_keep_alive).await,
            "etcdserverpb.Lease/LeaseTimeToLive" => unary(request, self, Face::lease_time_to_live).await,
            "etcdserverpb.Lease/LeaseLeases" => unary(request, self, Face::lease_leases).await,
            "etcdserverpb.Cluster/MemberList" => unary(request, self, Face::member_list).await,
            "etcdserverpb.Maintenance/Alarm" => unary(request, self, Face::alarm).await,
            "etcdserverpb.Maintenance/Status" => unary(request, self, Face::status).await,
            "etcdserverpb.Maintenance/Defragment" => unary(request, self, Face::defragment).await,
            "etcdserverpb.Maintenance/Hash" => unary(request, self, Face::hash).await,
            "etcdserverpb.Maintenance/HashKV" => unary(request, self, Face::hash_kv).await,
            "etcdserverpb.Maintenance/Snapshot" => answers(request, self, Face::snapshot).await,
            "etcdserverpb.Maintenance/MoveLeader" => unary(request, self, Face::move_leader).await,
            "etcdserverpb.Auth/Authenticate" => unary(request, self, Face::authenticate).await,
            "etcdserverpb.Auth/AuthStatus" => unary(request, self, Face::auth_status).await,
            "etcdserverpb.Auth/UserList" => unary(request, self, Face::user_list).await,
            "etcdserverpb.Auth/RoleList" => unary(request, self, Face::role_list).await,
            "v3lockpb.Lock/Lock" => unary(request, self, Face::lock).await,
            "v3lockpb.Lock/Unlock" => unary(request, self, Face::unlock).await,
            "v3electionpb.Election/Campaign" => unary(request, self, Face::campaign).await,
            "v3electionpb.Election/Proclaim" => unary(request, self, Face::proclaim).await,
            "v3electionpb.Election/Leader" => unary(request, self, Face::leader).await,
            "v3electionpb.Election/Observe" => answers(request, self, Face::observe).await,
            "v3electionpb.Election/Resign" => unary(request, self, Face::resign).await,
            "grpc.health.v1.Health/Check" => unary(request, self, Face::health_check).await,
            "grpc.health.v1.Health/Watch" => answers(request, self, Face::health_watch).await,
            other => unknown(other).into_http(),
        })
    }
}

fn unknown(path: &str) -> Status {
    let (service, method) = path.rsplit_once('/').unwrap_or(("", path));
    Status::unimplemented(match SERVICES.contains(&service) {
        true => format!("ropewalk: {service}/{method} is not implemented"),
        false => format!("unknown service {service}"), // in the words of gRPC's servers
    })
}

/// etcd's code of each error. No `_` arm.
impl From<api::Error> for Status {
    fn from(error: api::Error) -> Status {
        let code = match &error {
            api::Error::Compacted { .. }
            | api::Error::FutureRevision { .. }
            | api::Error::LeaseTtlTooLarge => Code::OutOfRange,
            api::Error::RequestTooLarge
            | api::Error::EmptyKey
            | api::Error::KeyNotFound
            | api::Error::ValueProvided
            | api::Error::LeaseProvided
            | api::Error::InvalidSortOption
            | api::Error::DuplicateKey
            | api::Error::TooManyOps => Code::InvalidArgument,
            api::Error::LeaseNotFound | api::Error::MemberNotFound => Code::NotFound,
            api::Error::LeaseExist | api::Error::NotLeader | api::Error::BadLeaderTransferee => {
                Code::FailedPrecondition
            }
            api::Error::NoSpace | api::Error::TooManyAlarms | api::Error::TooManyRequests => {
                Code::ResourceExhausted
            }
            api::Error::Corrupt => Code::DataLoss,
            api::Error::Disk { .. } => Code::Internal,
            api::Error::NoLeader
            | api::Error::Timeout
            | api::Error::LeaderChanged
            | api::Error::Stopped
            | api::Error::SlowWatcher
            | api::Error::Unavailable { .. } => Code::Unavailable,
        };
        Status::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::{One, PATIENCE, framed};
    use super::*;
    use crate::pb;
    use crate::server::{Config, Server};
    use bytes::Bytes;
    use futures::StreamExt;
    use http_body_util::Full;
    use raft::sim::disk::SimDisk;
    use raft::wal::WalOptions;
    use rng::Rng;
    use tap::Tap;
    use task::Crew;

    /// One of three members, and the others are not there: it answers what it has itself, and a
    /// request that wants a leader is refused at once.
    #[tokio::test]
    async fn a_request_that_wants_a_leader_is_refused_by_a_member_without_one() {
        let config = Config {
            initial_cluster: ["a", "b", "c"].map(String::from).to_vec(),
            wal: WalOptions { segment_bytes: 4096, prepare: false },
            disk: Arc::new(SimDisk::default()),
            ..Config::new("a", "/data", Tap::new(), Rng::seeded(1))
        };
        let server = Server::start(config).await.expect("a member");
        let (_members, listed) = watch::channel(vec![]);
        let face = Face::new(&server, "test", listed, &Crew::new("etcd"));
        let ask = async |path: &str, wants: bool| {
            let range = pb::RangeRequest { key: "key".into(), serializable: true, ..Default::default() };
            let message = range.encode_to_vec();
            let body = [&[0], &(message.len() as u32).to_be_bytes()[..], &message].concat();
            let mut request = Request::post(path).header("content-type", "application/grpc");
            if wants {
                request = request.header(HAS_LEADER, "true");
            }
            let request = request.body(Full::new(Bytes::from(body))).expect("a request");
            let answer = face.clone().answer(request).await.expect("an answer");
            let status = Status::from_header_map(answer.headers());
            status.map(|status| (status.code(), status.message().to_string()))
        };
        let refused = Some((Code::Unavailable, "etcdserver: no leader".to_string()));
        for path in ["/etcdserverpb.KV/Range", "/etcdserverpb.Watch/Watch"] {
            assert_eq!(ask(path, true).await, refused, "{path}");
        }
        // the status of what is answered comes behind the answer
        assert_eq!(ask("/etcdserverpb.KV/Range", false).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_client_wants_a_leader_ends_without_one() {
        let (leads, leader) = watch::channel(1);
        let silent = || -> Answers<u64> { Box::pin(stream::iter([Ok(1)]).chain(stream::pending())) };
        let (mut wants, mut waits) = (with_leader(silent(), Some(leader)), with_leader(silent(), None));
        assert_eq!(
            (wants.next().await.map(|a| a.ok()), waits.next().await.map(|a| a.ok())),
            (Some(Some(1)), Some(Some(1)))
        );
        for _ in 0..5 {
            leads.send_replace(0);
            let _ = tokio::time::timeout(LEADERLESS / 2, wants.next())
                .await
                .expect_err("an election takes its time");
            leads.send_replace(2);
            let _ = tokio::time::timeout(LEADERLESS * 4, wants.next()).await.expect_err("there is a leader");
        }
        leads.send_replace(0);
        let ended = tokio::time::timeout(LEADERLESS * 2, wants.next()).await.expect("it ends");
        assert_eq!(
            ended.map(|a| a.map_err(|s| s.message().to_string())),
            Some(Err("etcdserver: no leader".into()))
        );
        assert!(wants.next().await.is_none());
        let _ = tokio::time::timeout(LEADERLESS * 9, waits.next()).await.expect_err("no client asked for it");
    }

    /// The last word of a member that ends is that there is no leader.
    #[tokio::test(start_paused = true)]
    async fn a_stream_of_a_member_that_is_gone_does_not_look_for_a_leader_in_a_circle() {
        for last in [0, 1] {
            let (leads, leader) = watch::channel(1);
            leads.send_replace(last);
            drop(leads);
            let _ = tokio::time::timeout(LEADERLESS * 9, leaderless(leader)).await.expect_err("no answer");
        }
    }

    #[test]
    fn the_time_of_a_call_is_read_as_grpc_writes_it() {
        let limit = |text: &str| time_limit(&Request::get("/").header("grpc-timeout", text).body(()).ok()?);
        for (text, microseconds) in
            [("1H", 3_600_000_000), ("2M", 120_000_000), ("5S", 5_000_000), ("250m", 250_000), ("7u", 7)]
        {
            assert_eq!(limit(text), Some(Duration::from_micros(microseconds)), "{text}");
        }
        assert_eq!(limit("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for text in ["", "S", "5", "5x", "-5S", "5 S", "123456789S"] {
            assert_eq!(limit(text), None, "{text}");
        }
        assert_eq!(time_limit(&Request::new(())), None);
    }

    #[test]
    fn a_place_in_a_queue_is_given_up_when_its_client_waits_no_longer() {
        let one = One::start();
        let face = one.face.clone();
        one.runtime.block_on(async {
            let ask = pb::LockRequest { name: "l".into(), lease: 0 };
            face.clone().lock(ask.clone()).await.expect("a lock");
            let request = Request::post("/v3lockpb.Lock/Lock")
                .header("content-type", "application/grpc")
                .header("grpc-timeout", "50m")
                .body(Full::new(Bytes::from(framed(&ask.encode_to_vec()))))
                .expect("a request");
            let answer = tokio::time::timeout(PATIENCE, face.clone().answer(request)).await;
            let answer = answer.expect("it waits on").expect("an answer");
            let status = Status::from_header_map(answer.headers()).expect("a code");
            assert_eq!(status.code(), Code::DeadlineExceeded);
            let queue = api::RangeRequest { key: "l/".into(), range_end: "l0".into(), ..Default::default() };
            let left = async {
                while face.kv.range(queue.clone()).await.expect("the queue").count > 1 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, left).await.expect("its place stays");
        });
    }
}
