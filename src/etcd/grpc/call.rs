//! From a path to a method: `/etcdserverpb.KV/Range` is [`Face::range`].

use super::super::api;
use super::super::kv::REQUEST_MAX;
use super::Face;
use futures::{FutureExt, Stream};
use http::{Request, Response};
use prost::Message;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

/// Beside a request: what gRPC adds to it.
const OVERHEAD_MAX: usize = 512 << 10;
/// Largest message taken, as etcd's.
pub const MESSAGE_MAX: usize = REQUEST_MAX + OVERHEAD_MAX;

/// Answers that come one by one.
pub type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

/// etcd's services. A method that is not served says so; all others are unknown.
const SERVICES: [&str; 8] = [
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
];

/// A request's body, from a connection or from elsewhere.
pub(super) trait Sent:
    http_body::Body<Error: Into<Box<dyn Error + Send + Sync>> + Send> + Send + 'static
{
}
impl<B: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>> + Send> + Send + 'static> Sent for B {}

/// One message in, one out.
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
    let service = tower::service_fn(move |request: tonic::Request<Q>| {
        go(face.clone(), request.into_inner()).map(|answer| answer.map(tonic::Response::new))
    });
    Grpc::new(ProstCodec::<A, Q>::default())
        .max_decoding_message_size(MESSAGE_MAX)
        .unary(service, request)
        .await
}

/// One message in, many out.
async fn answers<Q, A>(
    request: Request<impl Sent>,
    face: Arc<Face>,
    go: fn(Arc<Face>, Q) -> Answers<A>,
) -> Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let service = tower::service_fn(move |request: tonic::Request<Q>| {
        let answers = go(face.clone(), request.into_inner());
        async move { Ok::<_, Status>(tonic::Response::new(answers)) }
    });
    Grpc::new(ProstCodec::<A, Q>::default()).server_streaming(service, request).await
}

/// Many in, many out.
async fn streams<Q, A>(
    request: Request<impl Sent>,
    face: Arc<Face>,
    go: fn(Arc<Face>, Streaming<Q>) -> Answers<A>,
) -> Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let service = tower::service_fn(move |request: tonic::Request<Streaming<Q>>| {
        let answers = go(face.clone(), request.into_inner());
        async move { Ok::<_, Status>(tonic::Response::new(answers)) }
    });
    Grpc::new(ProstCodec::<A, Q>::default())
        .max_decoding_message_size(MESSAGE_MAX)
        .streaming(service, request)
        .await
}

impl Face {
    /// Answers one call, whatever becomes of it.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<impl Sent>,
    ) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().trim_start_matches('/').to_string();
        Ok(match path.as_str() {
            "etcdserverpb.KV/Range" => unary(request, self, Face::range).await,
            "etcdserverpb.KV/Put" => unary(request, self, Face::put).await,
            "etcdserverpb.KV/DeleteRange" => unary(request, self, Face::delete_range).await,
            "etcdserverpb.KV/Txn" => unary(request, self, Face::txn).await,
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
            "v3lockpb.Lock/Lock" => unary(request, self, Face::lock).await,
            "v3lockpb.Lock/Unlock" => unary(request, self, Face::unlock).await,
            "v3electionpb.Election/Campaign" => unary(request, self, Face::campaign).await,
            "v3electionpb.Election/Proclaim" => unary(request, self, Face::proclaim).await,
            "v3electionpb.Election/Leader" => unary(request, self, Face::leader).await,
            "v3electionpb.Election/Observe" => answers(request, self, Face::observe).await,
            "v3electionpb.Election/Resign" => unary(request, self, Face::resign).await,
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
            api::Error::NoSpace => Code::ResourceExhausted,
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
