//! Bounds of the server: requests in flight, bytes of request bodies, time for a body and for an answer.
//!
//! As upstream's `--max-requests-inflight` and `--max-mutating-requests-inflight`: what is over the bound gets 429 at once and comes again
//! after a second. Long-running requests (watches, logs, exec) have a bound of their own. Health checks do not count, nor does what the
//! cluster's own components and administrators ask: a flood of a pod's requests does not take the cluster down. No user has more than half
//! of what there is, so one client does not lock out the others. Unlike upstream a write counts from the moment its body is complete, so that
//! slow bodies hold no place.

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
/// A request body that is not complete after this time is refused, as upstream's `--request-timeout`.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A long answer that its client has not read after this time is broken off.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Bytes of an answer that are handed to a connection at a time. Longer answers keep their place until they are read.
const PIECE: usize = 128 << 10;

/// Of each pool a user has at most half (`shares`). Places in `bodies` are KiB.
pub struct Bounds {
    reading: Arc<Pool>,
    writing: Arc<Pool>,
    /// Watches, logs, exec and the like.
    long: Arc<Pool>,
    bodies: Arc<Pool>,
    rejected: AtomicU64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            reading: Pool::new(READING_MAX),
            writing: Pool::new(WRITING_MAX),
            long: Pool::new(LONG_MAX),
            bodies: Pool::new(BODIES_KIB),
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

/// Records whether the request belongs to the cluster itself.
fn is_exempt(user: &User) -> bool {
    user.is_component()
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

    /// Takes a place for a request that reads or runs for long; looks whether there is one for a request that writes.
    ///
    /// # Errors
    /// 429 when as many are in flight as may be, of all users or of this one.
    pub fn enter(&self, user: &User, info: &Info) -> Result<Entered, Status> {
        if is_health(info) || is_exempt(user) {
            return Ok(Entered::Free);
        }
        if is_long_running(info) {
            return self.long.take(user, 1).map(Entered::Long).map_or_else(|| self.rejected(), Ok);
        }
        if is_reading(info) {
            return self.reading.take(user, 1).map(Entered::Short).map_or_else(|| self.rejected(), Ok);
        }
        if self.writing.has_room(user) { Ok(Entered::Free) } else { self.rejected() }
    }

    /// Reads a whole request body, and takes a place for a request that writes.
    ///
    /// # Errors
    /// 413 for more than [`BODY_MAX`] bytes, 408 when the body is not complete in time, 429 when too many bytes or requests are in flight.
    pub async fn read(&self, user: &User, info: &Info, request: Request<Body>) -> Result<Whole, Status> {
        let exempt = is_exempt(user);
        let mut share: Option<Place> = None;
        let body = self.collect(request.into_body(), (!exempt).then_some((user, &mut share)));
        let late = || {
            let seconds = BODY_TIME.as_secs();
            Status::new(408, "", format!("the request body was not complete after {seconds} s"))
        };
        let bytes = clock::timeout(BODY_TIME, body).await.unwrap_or_else(|| Err(late()))?;
        let place = match exempt || is_reading(info) {
            true => None,
            false => match self.writing.take(user, 1) {
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
        mut share: Option<(&User, &mut Option<Place>)>,
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
            if let Some((user, share)) = &mut share {
                let has = share.as_ref().map_or(0, Place::count);
                let more = (all.len() + data.len()).div_ceil(1024).saturating_sub(has);
                let has_room = match share.as_mut() {
                    Some(place) => place.grow(more),
                    None => {
                        **share = self.bodies.take(user, more);
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
        let (reading, writing, long) = (self.reading.taken(), self.writing.taken(), self.long.taken());
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
/// not the client reads on.
fn keep_place(body: Body, place: Place) -> Body {
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

struct Slot {
    body: Body,
    /// What was taken from the body and not yet handed on.
    rest: Bytes,
    _place: Place,
}

struct Kept {
    slot: Arc<Mutex<Option<Slot>>>,
    size: SizeHint,
}

impl http_body::Body for Kept {
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
        let take = || places.take(&User::new("bob", &[]), 1).unwrap();
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
    fn only_short_requests_of_users_count() {
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
            assert!(!counts(&User::new(own, &[]), info("get", "", "/api/v1/pods/x")), "{own}");
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
