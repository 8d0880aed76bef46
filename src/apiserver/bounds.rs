//! Bounds of the server: requests in flight, bytes of request bodies, time for a body and for an answer.
//!
//! As upstream's `--max-requests-inflight` and `--max-mutating-requests-inflight`: what is over the bound gets 429 at once and comes again
//! after a second. Long-running requests (watches, logs, exec) do not count, nor do health checks, nor what the cluster's own components ask:
//! a flood of a pod's requests does not take the cluster down. Unlike upstream a write counts from the moment its body is complete, so that
//! slow bodies hold no place.

use super::http::{BODY_MAX, Body, BodyError};
use super::request::Info;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that read, at a time; upstream's default.
pub const READING_MAX: usize = 400;
/// Requests that write, at a time; upstream's default.
pub const WRITING_MAX: usize = 200;
/// KiB of request bodies in memory at a time: 64 MiB. Parsed, a body takes about ten times as much, but few are parsed at once.
const BODIES_KIB: usize = 64 << 10;
/// A request body that is not complete after this time is refused, as upstream's `--request-timeout`.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A long answer that its client has not read after this time is broken off.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Bytes of an answer that are handed to a connection at a time. Longer answers keep their place until they are read.
const PIECE: usize = 128 << 10;

/// A place among the requests in flight. It is free again when this is dropped.
type Place = OwnedSemaphorePermit;

pub struct Bounds {
    reading: Arc<Semaphore>,
    writing: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    rejected: AtomicU64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            reading: Arc::new(Semaphore::new(READING_MAX)),
            writing: Arc::new(Semaphore::new(WRITING_MAX)),
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
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

fn too_many() -> Status {
    Status::new(429, "TooManyRequests", "Too many requests, please try again later.")
        .with(json!({"retryAfterSeconds": 1}))
}

impl Bounds {
    fn rejected<T>(&self) -> Result<T, Status> {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Err(too_many())
    }

    /// Takes a place for a request that reads; looks whether there is one for a request that writes.
    ///
    /// # Errors
    /// 429 when as many are in flight as may be.
    pub fn enter(&self, user: &User, info: &Info) -> Result<Option<Place>, Status> {
        if is_long_running(info) || is_health(info) || is_exempt(user) {
            return Ok(None);
        }
        if is_reading(info) {
            return self.reading.clone().try_acquire_owned().map(Some).or_else(|_| self.rejected());
        }
        if self.writing.available_permits() == 0 { self.rejected() } else { Ok(None) }
    }

    /// Reads a whole request body, and takes a place for a request that writes.
    ///
    /// # Errors
    /// 413 for more than [`BODY_MAX`] bytes, 408 when the body is not complete in time, 429 when too many bytes or requests are in flight.
    pub async fn read(&self, user: &User, info: &Info, request: Request<Body>) -> Result<Whole, Status> {
        let exempt = is_exempt(user);
        let mut share: Option<Place> = None;
        let body = self.collect(request.into_body(), (!exempt).then_some(&mut share));
        let late = || {
            let seconds = BODY_TIME.as_secs();
            Status::new(408, "", format!("the request body was not complete after {seconds} s"))
        };
        let bytes = clock::timeout(BODY_TIME, body).await.unwrap_or_else(|| Err(late()))?;
        let place = match exempt || is_reading(info) {
            true => None,
            false => match self.writing.clone().try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => return self.rejected(),
            },
        };
        Ok(Whole { bytes, _share: share, _place: place })
    }

    /// Grows as bytes arrive: a client holds no more of the bound than it has sent.
    async fn collect(&self, mut body: Body, mut share: Option<&mut Option<Place>>) -> Result<Bytes, Status> {
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
            if let Some(share) = &mut share {
                let has = share.as_ref().map_or(0, |s: &Place| s.num_permits());
                let more = (all.len() + data.len()).div_ceil(1024).saturating_sub(has);
                match self.bodies.clone().try_acquire_many_owned(more as u32) {
                    Ok(part) => match share.as_mut() {
                        Some(share) => share.merge(part),
                        None => **share = Some(part),
                    },
                    Err(_) => return self.rejected(),
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
        let (reading, writing) =
            (READING_MAX - self.reading.available_permits(), WRITING_MAX - self.writing.available_permits());
        format!(
            "# TYPE apiserver_current_inflight_requests gauge\n\
             apiserver_current_inflight_requests{{request_kind=\"readOnly\"}} {reading}\n\
             apiserver_current_inflight_requests{{request_kind=\"mutating\"}} {writing}\n\
             # TYPE apiserver_dropped_requests_total counter\napiserver_dropped_requests_total {}\n",
            self.rejected.load(Ordering::Relaxed)
        )
    }
}

/// Keeps the place of a long answer until its client has read it, or for [`ANSWER_TIME`]; then memory and place are free again, whether or
/// not the client reads on.
pub fn keep_place(body: Body, place: Option<Place>) -> Body {
    let Some(place) = place else { return body };
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
        let places = Arc::new(Semaphore::new(1));
        let take = || places.clone().try_acquire_owned().ok();
        let long = Bytes::from(vec![7; 3 * PIECE + 1]);
        // A short answer keeps none; a long one is handed over in pieces, and keeps its place until the last.
        drop(keep_place(full("short"), take()));
        assert_eq!(places.available_permits(), 1);
        let mut body = keep_place(full(long.clone()), take());
        assert_eq!((body.size_hint().exact(), places.available_permits()), (Some(long.len() as u64), 0));
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((first.len(), body.size_hint().exact()), (PIECE, Some(2 * PIECE as u64 + 1)));
        let rest = body.collect().await.unwrap().to_bytes();
        assert!([&first[..], &rest[..]].concat() == long[..]);
        assert_eq!(places.available_permits(), 1);
        // One that is not read is broken off, so that a client sees that something is missing.
        let mut body = keep_place(full(long), take());
        body.frame().await.unwrap().unwrap();
        clock::sleep(ANSWER_TIME + Duration::from_millis(1)).await;
        assert_eq!(places.available_permits(), 1);
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
        let counts = |user: &User, info: Info| bounds.enter(user, &info).unwrap().is_some();
        assert!(
            counts(&bob, info("get", "", "/api/v1/pods/x")) && counts(&bob, info("list", "", "/api/v1/pods"))
        );
        assert!(!counts(&bob, info("watch", "", "/api/v1/pods")));
        assert!(!counts(&bob, info("get", "log", "/api/v1/pods/x/log")));
        assert!(!counts(&bob, info("get", "", "/healthz")) && counts(&bob, info("get", "", "/healthzz")));
        for own in ["system:kube-scheduler", "system:serviceaccount:kube-system:coredns"] {
            assert!(!counts(&User::new(own, &[]), info("get", "", "/api/v1/pods/x")), "{own}");
        }
        assert!(!counts(&User::new("admin", &["system:masters"]), info("get", "", "/api/v1/pods/x")));
    }
}
