//! Requests of any etcd client, given nonsense: one member's real services, and everything between
//! HTTP's frames and the keys.
//!
//! An input is the number of a method and its messages: one, or for a method that takes a stream
//! several, each behind a byte with its length. With [`RAW`] added to the number the rest is the
//! body as it is, gRPC's own frames included.

use super::face::Face;
use crate::member::member_id;
use crate::pb;
use crate::server::{Config, Server};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use prost::Message;
use raft::sim::disk::SimDisk;
use raft::wal::WalOptions;
use rng::Rng;
use rng::fuzz::Target;
use std::sync::Arc;
use std::time::Duration;
use tap::Tap;
use task::Crew;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::{Code, Status};

/// Added to the method's number.
const RAW: u8 = 0x80;
/// A stream of watches stays open as long as its client listens: a client that gets nothing for
/// so long hangs up.
const QUIET: Duration = Duration::from_millis(5);
/// No request of these waits for anything but the disk.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
const ME: &str = "n1";
const WATCH: &str = "etcdserverpb.Watch/Watch";

struct Method {
    path: &'static str,
    streams: bool,
    /// These bytes are a request of it.
    decodes: fn(&[u8]) -> bool,
    examples: fn() -> Vec<Vec<u8>>,
}

fn method<Q: Message + Default>(path: &'static str, examples: fn() -> Vec<Vec<u8>>) -> Method {
    Method { path, streams: false, decodes: |bytes| Q::decode(bytes).is_ok(), examples }
}

fn streams<Q: Message + Default>(path: &'static str, examples: fn() -> Vec<Vec<u8>>) -> Method {
    Method { streams: true, ..method::<Q>(path, examples) }
}

fn range() -> pb::RangeRequest {
    pb::RangeRequest {
        key: "key".into(),
        range_end: "kez".into(),
        limit: 3,
        revision: 1,
        ..Default::default()
    }
}

fn put() -> pb::PutRequest {
    pb::PutRequest { key: "key".into(), value: "value".into(), prev_kv: true, ..Default::default() }
}

fn delete() -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest { key: "key".into(), range_end: "kez".into(), prev_kv: true }
}

fn txn() -> pb::TxnRequest {
    let op = |request| pb::RequestOp { request: Some(request) };
    let compare = pb::Compare {
        result: 1,
        target: 0,
        key: "key".into(),
        target_union: Some(pb::TargetUnion::Version(0)),
        ..Default::default()
    };
    let other = pb::PutRequest { key: "other".into(), ..put() }; // a key may be changed once
    let inner = pb::TxnRequest { success: vec![op(pb::Request::RequestPut(other))], ..Default::default() };
    pb::TxnRequest {
        compare: vec![compare],
        success: vec![op(pb::Request::RequestRange(pb::RangeRequest { revision: 0, ..range() }))],
        failure: vec![op(pb::Request::RequestDeleteRange(delete())), op(pb::Request::RequestTxn(inner))],
    }
}

fn watches() -> Vec<Vec<u8>> {
    let ask = |union| pb::WatchRequest { request_union: Some(union) }.encode_to_vec();
    let create =
        pb::WatchCreateRequest { key: "key".into(), start_revision: 1, fragment: true, ..Default::default() };
    vec![
        ask(pb::WatchUnion::CreateRequest(create)),
        ask(pb::WatchUnion::ProgressRequest(Default::default())),
        ask(pb::WatchUnion::CancelRequest(Default::default())),
    ]
}

fn methods() -> Vec<Method> {
    vec![
        method::<pb::RangeRequest>("etcdserverpb.KV/Range", || {
            vec![pb::RangeRequest { revision: 0, sort_order: 1, ..range() }.encode_to_vec()]
        }),
        method::<pb::PutRequest>("etcdserverpb.KV/Put", || vec![put().encode_to_vec()]),
        method::<pb::DeleteRangeRequest>("etcdserverpb.KV/DeleteRange", || vec![delete().encode_to_vec()]),
        method::<pb::TxnRequest>("etcdserverpb.KV/Txn", || vec![txn().encode_to_vec()]),
        method::<pb::CompactionRequest>("etcdserverpb.KV/Compact", || {
            vec![pb::CompactionRequest { revision: 1, physical: true }.encode_to_vec()]
        }),
        streams::<pb::WatchRequest>(WATCH, watches),
        method::<pb::LeaseGrantRequest>("etcdserverpb.Lease/LeaseGrant", || {
            vec![pb::LeaseGrantRequest { ttl: 600, id: 0 }.encode_to_vec()]
        }),
        method::<pb::LeaseRevokeRequest>("etcdserverpb.Lease/LeaseRevoke", Vec::new),
        streams::<pb::LeaseKeepAliveRequest>("etcdserverpb.Lease/LeaseKeepAlive", || {
            vec![pb::LeaseKeepAliveRequest { id: 7 }.encode_to_vec(); 2]
        }),
        method::<pb::LeaseTimeToLiveRequest>("etcdserverpb.Lease/LeaseTimeToLive", || {
            vec![pb::LeaseTimeToLiveRequest { id: 7, keys: true }.encode_to_vec()]
        }),
        method::<pb::LeaseLeasesRequest>("etcdserverpb.Lease/LeaseLeases", || vec![vec![]]),
        method::<pb::MemberListRequest>("etcdserverpb.Cluster/MemberList", || {
            vec![pb::MemberListRequest { linearizable: true }.encode_to_vec()]
        }),
        method::<pb::AlarmRequest>("etcdserverpb.Maintenance/Alarm", || {
            vec![pb::AlarmRequest { action: 2, member_id: 7, alarm: 1 }.encode_to_vec()]
        }),
        method::<pb::StatusRequest>("etcdserverpb.Maintenance/Status", || vec![vec![]]),
        method::<pb::DefragmentRequest>("etcdserverpb.Maintenance/Defragment", || vec![vec![]]),
        method::<pb::HashRequest>("etcdserverpb.Maintenance/Hash", || vec![vec![]]),
        method::<pb::HashKvRequest>("etcdserverpb.Maintenance/HashKV", || {
            vec![pb::HashKvRequest { revision: 0 }.encode_to_vec()]
        }),
        method::<pb::SnapshotRequest>("etcdserverpb.Maintenance/Snapshot", || vec![vec![]]),
        method::<pb::MoveLeaderRequest>("etcdserverpb.Maintenance/MoveLeader", || {
            vec![pb::MoveLeaderRequest { target_id: member_id(ME) }.encode_to_vec()]
        }),
        method::<pb::HealthCheckRequest>("grpc.health.v1.Health/Check", || vec![vec![]]),
        // not served, and said so
        method::<pb::StatusRequest>("etcdserverpb.Auth/AuthEnable", Vec::new),
        method::<pb::StatusRequest>("etcdserverpb.Cluster/MemberAdd", Vec::new),
        // A new method comes last: an input names its method by number.
        // Authenticate has no example: it is always refused.
        method::<pb::AuthenticateRequest>("etcdserverpb.Auth/Authenticate", Vec::new),
        method::<pb::AuthStatusRequest>("etcdserverpb.Auth/AuthStatus", || vec![vec![]]),
        method::<pb::AuthUserListRequest>("etcdserverpb.Auth/UserList", || vec![vec![]]),
        method::<pb::AuthRoleListRequest>("etcdserverpb.Auth/RoleList", || vec![vec![]]),
    ]
}

/// A member that is alone; what was asked of it is still there when the next input comes.
pub(super) struct One {
    pub(super) face: Arc<Face>,
    pub(super) runtime: Runtime,
    pub(super) disk: SimDisk,
    _server: Server,
    _crew: Crew,
    _members: watch::Sender<Vec<pb::Member>>,
}

impl One {
    pub(super) fn start() -> One {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let options = WalOptions { segment_bytes: 64 << 10, prepare: false };
        let simulated = SimDisk::default();
        let disk = Arc::new(simulated.clone());
        let config = Config { wal: options, disk, ..Config::new(ME, "/data", Tap::new(), Rng::seeded(1)) };
        let server = runtime.block_on(Server::start(config)).expect("a member");
        let itself = pb::Member { id: member_id(ME), name: ME.into(), ..Default::default() };
        let (members, listed) = watch::channel(vec![itself]);
        let crew = Crew::new("etcd");
        let face = Face::new(&server, "fuzz", listed, &crew);
        One { face, runtime, disk: simulated, _server: server, _crew: crew, _members: members }
    }

    /// Returns the code of the answer, when all of it is there.
    pub(super) fn ask(&self, path: &str, body: Vec<u8>) -> Status {
        let request = http::Request::post(format!("/{path}"))
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let answer = async {
            let (head, body) = self.face.clone().answer(request).await.expect("an answer").into_parts();
            assert_eq!(head.status, 200, "gRPC tells its errors elsewhere");
            let mut body = body;
            if path == WATCH {
                let mut status = Status::from_header_map(&head.headers);
                while let Ok(Some(frame)) = tokio::time::timeout(QUIET, body.frame()).await {
                    let frame = frame.expect("a frame");
                    status = status.or_else(|| Status::from_header_map(frame.trailers_ref()?));
                }
                return status.unwrap_or(Status::new(Code::Ok, ""));
            }
            let body = body.collect().await.expect("a body");
            let status = Status::from_header_map(&head.headers);
            status.or_else(|| Status::from_header_map(body.trailers()?)).expect("a code")
        };
        let answered = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await });
        answered.unwrap_or_else(|_| panic!("{path}: no answer within {PATIENCE:?}"))
    }
}

thread_local! {
    /// Every seed has a thread of its own, and so a member of its own.
    static ONE: One = One::start();
}

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// Messages, each behind a byte with its length; the last may be shorter.
fn several(mut rest: &[u8]) -> Vec<&[u8]> {
    let mut messages = vec![];
    while let [length, after @ ..] = rest {
        let (message, left) = after.split_at((*length as usize).min(after.len()));
        messages.push(message);
        rest = left;
    }
    messages
}

/// Checks that every request gets an answer, and that its code is one of etcd's for the error: an
/// error that the service does not handle would be `Internal` or `Unknown`.
fn requests(input: &[u8]) -> bool {
    let Some((first, rest)) = input.split_first() else { return false };
    let methods = methods();
    let method = &methods[usize::from(first & !RAW) % methods.len()];
    let raw = first & RAW != 0;
    let messages = if method.streams { several(rest) } else { vec![rest] };
    let body = match raw {
        true => rest.to_vec(),
        false => messages.iter().flat_map(|m| framed(m)).collect(),
    };
    let status = ONE.with(|one| one.ask(method.path, body));
    match status.code() {
        Code::Ok => true,
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::ResourceExhausted
        | Code::DataLoss
        | Code::Unimplemented => false,
        // gRPC's own answer, here and there, to what is no message or no frame
        Code::Internal if raw || !messages.iter().all(|m| (method.decodes)(m)) => false,
        _ => panic!("{}: {status:?}", method.path),
    }
}

pub(crate) fn target() -> Target {
    let mut examples = vec![];
    for (number, method) in methods().into_iter().enumerate() {
        let messages = (method.examples)();
        let with = |rest: Vec<u8>| [vec![number as u8], rest].concat();
        match method.streams {
            true => {
                let rest: Vec<u8> =
                    messages.iter().flat_map(|m| [&[m.len() as u8], &m[..]].concat()).collect();
                examples.push(with(rest));
            }
            false => examples.extend(messages.into_iter().map(with)),
        }
    }
    examples.push([vec![RAW], framed(&pb::RangeRequest { revision: 0, ..range() }.encode_to_vec())].concat());
    Target { name: "requests of etcd's clients", examples, words: &[], reads: requests }
}
