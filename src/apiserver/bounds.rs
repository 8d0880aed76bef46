//! Bounds of the server: requests in flight, bytes of request bodies, time for a body and for an answer.
//!
//! As upstream's `--max-requests-inflight` and `--max-mutating-requests-inflight`: what is over the bound gets 429 at once and comes again
//! after a second. Long-running requests (watches, logs, exec) have a bound of their own. Each level ([`super::flows`]) has its own places,
//! as upstream's priority levels: a flood of a pod's requests takes nothing from the control plane, one with a node's stolen certificate
//! nothing from users and other nodes. Leases and node statuses have places that nothing else takes. Only health checks and
//! administrators are not counted. No account has all places of its level, so one client does not lock out the others. Unlike upstream a write
//! counts from the moment its body is complete, so that slow bodies hold no place.

use super::flows::{Flow, Level};
use super::http::{BODY_MAX, Body, BodyError, holding};
use super::request::Info;
use super::shares::{Place, Pool};
use super::user::User;
use crate::api::Status;
use crate::clock;
use bytes::Bytes;
use http::Request;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use serde_json::json;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// Requests that read, at a time; upstream's default.
pub const READING_MAX: usize = 400;
/// Requests that write, at a time; upstream's default.
pub const WRITING_MAX: usize = 200;
/// Requests of users that run until their client ends them, at a time. Upstream has no bound for them.
pub const LONG_MAX: usize = 4_000;
/// KiB of request bodies in memory at a time: 64 MiB. Parsed, a body takes about ten times as much, but few are parsed at once.
const BODIES_KIB: usize = 64 << 10;
/// Leases and node statuses at a time, and KiB of their bodies. Each is answered within milliseconds.
const HEARTBEATS_MAX: usize = 200;
const HEARTBEATS_KIB: usize = 16 << 10;
/// A request body that is not complete after this time is refused, as upstream's `--request-timeout`.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A long answer that its client has not read after this time is broken off.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Bytes of an answer that are handed to a connection at a time. Longer answers keep their place until they are read.
const PIECE: usize = 128 << 10;

/// The places of one level. An account has a share of each pool ([`Flow::share`]).
struct Places {
    reading: Arc<Pool>,
    writing: Arc<Pool>,
    /// Watches, logs, exec and the like.
    long: Arc<Pool>,
    /// KiB.
    bodies: Arc<Pool>,
}

impl Places {
    fn new(reading: usize, writing: usize, long: usize, kib: usize) -> Places {
        Places {
            reading: Pool::new(reading),
            writing: Pool::new(writing),
            long: Pool::new(long),
            bodies: Pool::new(kib),
        }
    }
}

pub struct Bounds {
    users: Places,
    addons: Places,
    nodes: Places,
    control: Places,
    /// What must not wait behind other requests of the same client.
    heartbeats: Places,
    rejected: AtomicU64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            users: Places::new(READING_MAX, WRITING_MAX, LONG_MAX, BODIES_KIB),
            addons: Places::new(READING_MAX / 2, WRITING_MAX / 2, LONG_MAX / 2, BODIES_KIB / 4),
            nodes: Places::new(2 * READING_MAX, 2 * WRITING_MAX, 2 * LONG_MAX, BODIES_KIB),
            control: Places::new(4 * READING_MAX, 4 * WRITING_MAX, 2 * LONG_MAX, 2 * BODIES_KIB),
            heartbeats: Places::new(HEARTBEATS_MAX, HEARTBEATS_MAX, HEARTBEATS_MAX, HEARTBEATS_KIB),
            rejected: AtomicU64::new(0),
        }
    }
}

/// A whole request body, and its part of what is bounded, until the request is answered.
pub struct Whole {
    bytes: Bytes,
    _share: Option<Place>,
    _place: Option<Place>,
}

impl Deref for Whole {
    type Target = Bytes;
    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

fn is_long_running(info: &Info) -> bool {
    info.verb == "watch" || matches!(&*info.subresource, "attach" | "exec" | "log" | "portforward" | "proxy")
}

fn is_reading(info: &Info) -> bool {
    matches!(&*info.verb, "get" | "list" | "watch" | "head")
}

fn is_health(info: &Info) -> bool {
    let page = info.path.trim_start_matches('/').split('/').next().unwrap_or_default();
    !info.is_resource && matches!(page, "healthz" | "livez" | "readyz")
}

pub fn too_many() -> Status {
    Status::new(429, "TooManyRequests", "Too many requests, please try again later.")
        .with(json!({"retryAfterSeconds": 1}))
}

impl Bounds {
    fn rejected<T>(&self) -> Result<T, Status> {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Err(too_many())
    }

    /// The places that a request takes one of; `None` for one without a bound.
    fn places(&self, flow: &Flow, info: &Info) -> Option<&Places> {
        match flow.level {
            Level::Exempt => None,
            _ if flow.is_heartbeat(info) => Some(&self.heartbeats),
            Level::Control => Some(&self.control),
            Level::Nodes => Some(&self.nodes),
            Level::Addons => Some(&self.addons),
            Level::Users => Some(&self.users),
        }
    }

    /// Takes a place for a request that reads or runs for long; looks whether there is one for a request that writes.
    ///
    /// # Errors
    /// 429 when as many are in flight as may be, of the level's accounts or of this one.
    pub fn enter(&self, user: &User, info: &Info) -> Result<Entered, Status> {
        if is_health(info) {
            return Ok(Entered::Free);
        }
        let flow = Flow::of(user);
        let Some(places) = self.places(&flow, info) else { return Ok(Entered::Free) };
        if is_long_running(info) {
            return places.long.take(&flow, 1).map(Entered::Long).map_or_else(|| self.rejected(), Ok);
        }
        if is_reading(info) {
            return places.reading.take(&flow, 1).map(Entered::Short).map_or_else(|| self.rejected(), Ok);
        }
        if places.writing.has_room(&flow) { Ok(Entered::Free) } else { self.rejected() }
    }

    /// Reads a whole request body, and takes a place for a request that writes.
    ///
    /// # Errors
    /// 413 for more than [`BODY_MAX`] bytes, 408 when the body is not complete in time, 429 when too many bytes or requests are in flight.
    pub async fn read(&self, user: &User, info: &Info, request: Request<Body>) -> Result<Whole, Status> {
        let flow = Flow::of(user);
        let places = self.places(&flow, info);
        let mut share: Option<Place> = None;
        let counted = places.map(|places| (&places.bodies, &flow, &mut share));
        let body = self.collect(request.into_body(), counted);
        let late = || {
            let seconds = BODY_TIME.as_secs();
            Status::new(408, "", format!("the request body was not complete after {seconds} s"))
        };
        let bytes = clock::timeout(BODY_TIME, body).await.unwrap_or_else(|| Err(late()))?;
        let place = match places.filter(|_| !is_reading(info)) {
            None => None,
            Some(places) => match places.writing.take(&flow, 1) {
                Some(place) => Some(place),
                None => return self.rejected(),
            },
        };
        Ok(Whole { bytes, _share: share, _place: place })
    }

    /// Grows as bytes arrive: a client holds no more of the bound than it has sent.
    async fn collect(
        &self,
        mut body: Body,
        mut share: Option<(&Arc<Pool>, &Flow, &mut Option<Place>)>,
    ) -> Result<Bytes, Status> {
        if body.size_hint().lower() > BODY_MAX as u64 {
            return Err(Status::too_large(BODY_MAX));
        }
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|e| Status::bad_request(format!("cannot read the request body: {e}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if all.len() + data.len() > BODY_MAX {
                return Err(Status::too_large(BODY_MAX));
            }
            if let Some((pool, flow, share)) = &mut share {
                let has = share.as_ref().map_or(0, Place::count);
                let more = (all.len() + data.len()).div_ceil(1024).saturating_sub(has);
                let has_room = match share.as_mut() {
                    Some(place) => place.grow(more),
                    None => {
                        **share = pool.take(flow, more);
                        share.is_some()
                    }
                };
                if !has_room {
                    return self.rejected();
                }
            }
            if all.is_empty() && body.is_end_stream() {
                return Ok(data); // one piece, as most are: nothing is copied
            }
            all.extend_from_slice(&data);
        }
        Ok(all.into())
    }

    /// The metrics that upstream has for these bounds.
    pub fn metrics(&self) -> String {
        let all = [&self.users, &self.addons, &self.nodes, &self.control, &self.heartbeats];
        let taken = |pool: fn(&Places) -> &Arc<Pool>| all.iter().map(|p| pool(p).taken()).sum::<usize>();
        let (reading, writing, long) = (taken(|p| &p.reading), taken(|p| &p.writing), taken(|p| &p.long));
        format!(
            "# TYPE apiserver_current_inflight_requests gauge\n\
             apiserver_current_inflight_requests{{request_kind=\"readOnly\"}} {reading}\n\
             apiserver_current_inflight_requests{{request_kind=\"mutating\"}} {writing}\n\
             # TYPE apiserver_longrunning_requests gauge\napiserver_longrunning_requests {long}\n\
             # TYPE apiserver_dropped_requests_total counter\napiserver_dropped_requests_total {}\n",
            self.rejected.load(Ordering::Relaxed)
        )
    }
}

/// What a request may hold from its beginning.
pub enum Entered {
    /// Nothing: it does not count, or only once its body is there.
    Free,
    Short(Place),
    Long(Place),
}

impl Entered {
    /// Keeps what the request holds until its answer is read; see [`keep_place`] for answers of short requests.
    pub fn keep(self, body: Body) -> Body {
        match self {
            Entered::Free => body,
            Entered::Short(place) => keep_place(body, place),
            Entered::Long(place) => holding(body, place),
        }
    }
}

/// Keeps the place of a long answer until its client has read it, or for [`ANSWER_TIME`]; then memory and place are free again, whether or
/// not the client reads on. What is kept may be any share of something bounded.
pub fn keep_place<T: Send + Unpin + 'static>(body: Body, place: T) -> Body {
    let size = body.size_hint();
    if size.upper().is_some_and(|bytes| bytes <= PIECE as u64) {
        return body;
    }
    let slot = Arc::new(Mutex::new(Some(Slot { body, rest: Bytes::new(), _place: place })));
    let weak = Arc::downgrade(&slot);
    tokio::spawn(async move {
        clock::sleep(ANSWER_TIME).await;
        if let Some(slot) = weak.upgrade() {
            slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    });
    Kept { slot, size }.boxed_unsync()
}

struct Slot<T> {
    body: Body,
    /// What was taken from the body and not yet handed on.
    rest: Bytes,
    _place: T,
}

struct Kept<T> {
    slot: Arc<Mutex<Option<Slot<T>>>>,
    size: SizeHint,
}

impl<T: Send + Unpin> http_body::Body for Kept<T> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut slot = this.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = slot.as_mut() else {
            return Poll::Ready(match this.size.exact() {
                Some(0) => None,
                _ => Some(Err(BodyError("the answer was not read in time".into()))),
            });
        };
        if held.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut held.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => held.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => {
                    slot.take();
                    this.size = SizeHint::with_exact(0);
                    return Poll::Ready(end);
                }
            }
        }
        let piece = held.rest.split_to(held.rest.len().min(PIECE));
        if let Some(left) = this.size.exact() {
            this.size = SizeHint::with_exact(left.saturating_sub(piece.len() as u64));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.size.exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::http::full;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_frees_its_place() {
        let places = Pool::new(1);
        let take = || places.take(&Flow::of(&User::new("bob", &[])), 1).unwrap();
        let long = Bytes::from(vec![7; 3 * PIECE + 1]);
        // A short answer keeps none; a long one is handed over in pieces, and keeps its place until the last.
        drop(keep_place(full("short"), take()));
        assert_eq!(places.taken(), 0);
        let mut body = keep_place(full(long.clone()), take());
        assert_eq!((body.size_hint().exact(), places.taken()), (Some(long.len() as u64), 1));
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((first.len(), body.size_hint().exact()), (PIECE, Some(2 * PIECE as u64 + 1)));
        let rest = body.collect().await.unwrap().to_bytes();
        assert!([&first[..], &rest[..]].concat() == long[..]);
        assert_eq!(places.taken(), 0);
        // One that is not read is broken off, so that a client sees that something is missing.
        let mut body = keep_place(full(long), take());
        body.frame().await.unwrap().unwrap();
        clock::sleep(ANSWER_TIME + Duration::from_millis(1)).await;
        assert_eq!(places.taken(), 0);
        assert!(body.frame().await.unwrap().is_err());
    }

    #[test]
    fn all_but_health_checks_and_administrators_count() {
        let bounds = Bounds::default();
        let bob = User::new("bob", &[]);
        let info = |verb: &str, subresource: &str, path: &str| Info {
            verb: verb.into(),
            subresource: subresource.into(),
            path: path.into(),
            is_resource: !path.starts_with("/h"),
            ..Info::default()
        };
        let enter = |user: &User, info: Info| bounds.enter(user, &info).unwrap();
        let counts = |user: &User, info: Info| matches!(enter(user, info), Entered::Short(_));
        assert!(
            counts(&bob, info("get", "", "/api/v1/pods/x")) && counts(&bob, info("list", "", "/api/v1/pods"))
        );
        for long in [info("watch", "", "/api/v1/pods"), info("get", "log", "/api/v1/pods/x/log")] {
            assert!(matches!(enter(&bob, long), Entered::Long(_)));
        }
        assert!(!counts(&bob, info("get", "", "/healthz")) && counts(&bob, info("get", "", "/healthzz")));
        for own in ["system:kube-scheduler", "system:serviceaccount:kube-system:coredns"] {
            assert!(counts(&User::new(own, &[]), info("get", "", "/api/v1/pods/x")), "{own}");
        }
        assert!(!counts(&User::new("admin", &["system:masters"]), info("get", "", "/api/v1/pods/x")));
    }

    /// One user with as many slow requests as there are places takes half of them.
    #[test]
    fn one_user_does_not_lock_out_the_others() {
        let bounds = Bounds::default();
        let (eve, bob) = (User::new("eve", &[]), User::new("bob", &[]));
        let info = |verb: &str| Info {
            verb: verb.into(),
            path: "/api/v1/pods".into(),
            is_resource: true,
            ..Info::default()
        };
        for (verb, all) in [("list", READING_MAX), ("watch", LONG_MAX)] {
            let held: Vec<Entered> = (0..all).map_while(|_| bounds.enter(&eve, &info(verb)).ok()).collect();
            assert_eq!(held.len(), all / 2, "{verb}");
            assert!(bounds.enter(&bob, &info(verb)).is_ok(), "{verb}");
        }
    }

    /// Somebody with a node's certificate, with a pod of kube-system, or with many users sends requests that do not end: the
    /// control plane, the other nodes and everybody else have their places, and the nodes' leases theirs.
    #[tokio::test]
    async fn a_flood_on_one_level_takes_nothing_from_the_others() {
        let info = |verb: &str, resource: &str| Info {
            verb: verb.into(),
            resource: resource.into(),
            path: "/api/v1/x".into(),
            is_resource: true,
            ..Info::default()
        };
        let node = |name: &str| User::new(name, &["system:nodes"]);
        let user = |name: &str| User::new(name, &[]);
        let floods: [Vec<User>; 4] = [
            (0..4).map(|n| user(&format!("user-{n}"))).collect(),
            vec![user("system:serviceaccount:kube-system:default")],
            vec![node("system:node:n1")],
            vec![user("system:kube-controller-manager")],
        ];
        for flood in &floods {
            let bounds = Bounds::default();
            let mut held = vec![];
            for from in flood {
                for verb in ["get", "watch"] {
                    let (count, request) = (held.len(), info(verb, "pods"));
                    held.extend((0..100_000).map_while(|_| bounds.enter(from, &request).ok()));
                    assert!(held.len() - count < 100_000, "{}: there is no bound on {verb}", from.name);
                }
            }
            let mut whole = vec![];
            let send = || Request::new(full("{}"));
            for from in flood {
                while let Ok(body) = bounds.read(from, &info("create", "pods"), send()).await {
                    whole.push(body);
                    assert!(whole.len() < 100_000, "{}: there is no bound on writes", from.name);
                }
            }
            let is_flood = |who: &User| flood.iter().any(|from| from.name == who.name);
            let others = floods.iter().filter(|other| !std::ptr::eq(*other, flood)).flatten();
            let (n2, scheduler) = (node("system:node:n2"), user("system:kube-scheduler"));
            for other in others.chain([&n2, &scheduler]) {
                assert!(!is_flood(other));
                for verb in ["get", "watch"] {
                    assert!(bounds.enter(other, &info(verb, "pods")).is_ok(), "{} {verb}", other.name);
                }
                assert!(bounds.read(other, &info("create", "pods"), send()).await.is_ok(), "{}", other.name);
            }
            // Whoever has to renew a Lease can, even in the middle of a flood of its own.
            for keeper in [&node("system:node:n1"), &n2, &scheduler, &user("system:kube-controller-manager")]
            {
                assert!(bounds.enter(keeper, &info("get", "leases")).is_ok(), "{}", keeper.name);
                assert!(bounds.enter(keeper, &info("update", "leases")).is_ok(), "{}", keeper.name);
                let renewed = bounds.read(keeper, &info("update", "leases"), send()).await;
                assert!(renewed.is_ok(), "{}", keeper.name);
            }
        }
    }

    #[tokio::test]
    async fn bodies_of_one_user_take_half_of_the_memory() {
        let bounds = Bounds::default();
        let (eve, bob) = (User::new("eve", &[]), User::new("bob", &[]));
        let info = Info { verb: "create".into(), is_resource: true, ..Info::default() };
        let send = |bytes: usize| Request::new(full(vec![b' '; bytes]));
        let mut held = vec![];
        while let Ok(whole) = bounds.read(&eve, &info, send(BODY_MAX)).await {
            held.push(whole);
        }
        assert_eq!(held.len(), (BODIES_KIB << 10) / 2 / BODY_MAX);
        assert!(bounds.read(&bob, &info, send(BODY_MAX)).await.is_ok());
        drop(held);
        assert!(bounds.read(&eve, &info, send(BODY_MAX)).await.is_ok());
    }
}
