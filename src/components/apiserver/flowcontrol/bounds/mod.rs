//! Bounds of the server: requests in flight, bytes of request bodies and of answers, time for a
//! body and for an answer.
//!
//! As upstream's `--max-requests-inflight` and `--max-mutating-requests-inflight`: what is over the
//! bound gets 429 at once and comes again after a second. Watches have a bound of their own, and so
//! have streams to kubelets (logs, exec, attach, port-forward, proxy), each of which costs a
//! connection here and one at the kubelet. What a request takes it holds until its answer is
//! written ([`super::seat`]). Each level ([`super::flow`]) has its own places, as upstream's
//! priority levels: a flood of a pod's requests takes nothing from the control plane, one with a
//! node's stolen certificate nothing from users and other nodes. Leases and node statuses have
//! places that nothing else takes. Only health checks and administrators are not counted; an answer
//! without a place is short. No account has all places of its level, so one client does not lock
//! out the others. Unlike upstream a write takes a place when its body is complete, so that slow
//! bodies hold none. Until then it holds memory: what a request costs by itself and its head from
//! the beginning, its body as it comes ([`Bounds::read`]).

use crate::auth::user::User;
use crate::flowcontrol::flow::{Flow, Level};
use crate::flowcontrol::pool::Pool;
use crate::flowcontrol::seat::{Patience, SWEEP_EVERY, Seat, Seats};
use crate::request::http::{Answer, BODY_MAX, Body, FromPod, failure};
use crate::request::info::Info;
use api::Status;
use bytes::Bytes;
use client::KUBELET_STREAMS_MAX;
use http::Request;
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Requests that read, at a time; upstream's default.
pub(crate) const READING_MAX: usize = 400;
/// Requests that write, at a time; upstream's default.
pub(crate) const WRITING_MAX: usize = 200;
/// Watches of users, at a time. Upstream has no bound for them.
pub(crate) const LONG_MAX: usize = 4_000;
/// Streams of users to kubelets at a time. Upstream has no bound for them.
pub(crate) const STREAMS_MAX: usize = 400;
/// Streams of addons, of nodes and of the control plane, each. With those of users they are
/// [`KUBELET_STREAMS_MAX`], which a kubelet takes from every API server.
const STREAMS_OF_OTHERS: usize = (KUBELET_STREAMS_MAX - STREAMS_MAX) / 3;
/// KiB of request bodies and answers in memory at a time: 64 MiB. Parsed, a body takes about ten
/// times as much, but few are parsed at once.
const BODIES_KIB: usize = 64 << 10;
/// Bytes of memory that a request takes while its body is awaited, beside its head and its body:
/// its task, its stream's state and windows.
const WAITING: usize = 8 << 10;
/// A head is in memory about so many times: as it came, parsed, and as the request's context.
const HEADS: usize = 3;
/// Bytes of an answer up to which only its place counts: 200 of them are 3 MiB.
const SMALL: usize = 16 << 10;
/// Bytes of an answer to a request that holds no place: of its refusal, or of a health page.
const REFUSAL_MAX: usize = 1 << 10;
/// Leases and node statuses at a time. Each is answered within milliseconds.
const HEARTBEATS_MAX: usize = 200;
/// KiB of the bodies of Leases and node statuses at a time.
const HEARTBEATS_KIB: usize = 16 << 10;
/// A request body that is not complete after this time is refused, as upstream's
/// `--request-timeout`.
const BODY_TIME: Duration = Duration::from_secs(60);

const TOO_MANY_STREAMS: &str = "too many streams to kubelets are open (logs, exec, attach, port-forward, proxy), of all accounts or of yours; end some of them, then try again";

/// The places of one level. An account has a share of each pool ([`Flow::share`]).
struct Places {
    reading: Arc<Pool>,
    writing: Arc<Pool>,
    /// Watches.
    long: Arc<Pool>,
    /// Logs, exec, attach, port-forward and proxy.
    streams: Arc<Pool>,
    /// KiB.
    bodies: Arc<Pool>,
}

impl Places {
    fn new(reading: usize, writing: usize, long: usize, streams: usize, kib: usize) -> Places {
        Places {
            reading: Pool::new(reading),
            writing: Pool::new(writing),
            long: Pool::new(long),
            streams: Pool::new(streams),
            bodies: Pool::new(kib),
        }
    }
}

pub(crate) struct Bounds {
    users: Places,
    addons: Places,
    nodes: Places,
    control: Places,
    /// What must not wait behind other requests of the same client.
    heartbeats: Places,
    rejected: AtomicU64,
    /// The answers that are not written yet.
    seats: Arc<Seats>,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            users: Places::new(READING_MAX, WRITING_MAX, LONG_MAX, STREAMS_MAX, BODIES_KIB),
            addons: Places::new(
                READING_MAX / 2,
                WRITING_MAX / 2,
                LONG_MAX / 2,
                STREAMS_OF_OTHERS,
                BODIES_KIB / 4,
            ),
            nodes: Places::new(2 * READING_MAX, 2 * WRITING_MAX, 2 * LONG_MAX, STREAMS_OF_OTHERS, BODIES_KIB),
            control: Places::new(
                4 * READING_MAX,
                4 * WRITING_MAX,
                2 * LONG_MAX,
                STREAMS_OF_OTHERS,
                2 * BODIES_KIB,
            ),
            heartbeats: Places::new(HEARTBEATS_MAX, HEARTBEATS_MAX, HEARTBEATS_MAX, 0, HEARTBEATS_KIB),
            rejected: AtomicU64::new(0),
            seats: Arc::default(),
        }
    }
}

/// Returns whether the request is passed through to a kubelet, for as long as both sides want.
pub(crate) fn is_stream(info: &Info) -> bool {
    matches!(&*info.subresource, "attach" | "exec" | "log" | "portforward" | "proxy")
}

fn is_reading(info: &Info) -> bool {
    matches!(&*info.verb, "get" | "list" | "watch" | "head")
}

/// Returns whether the request asks for a page that probes ask for. The pages below them count as
/// all others: their paths are the client's, and come back in a refusal. Source: upstream's
/// FlowSchema `probes`.
fn is_health(info: &Info) -> bool {
    !info.is_resource && matches!(&*info.path, "/healthz" | "/livez" | "/readyz")
}

/// Bytes of an answer that are known already.
fn size(answer: &Answer) -> usize {
    usize::try_from(answer.body().size_hint().lower()).unwrap_or(usize::MAX)
}

/// Bytes of a request's path, query and headers.
fn head_size<T>(request: &Request<T>) -> usize {
    let headers: usize =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    request.uri().path_and_query().map_or(0, |path| path.as_str().len()) + headers
}

pub(crate) fn too_many() -> Status {
    Status::new(429, "TooManyRequests", "Too many requests, please try again later.")
        .with(json!({"retryAfterSeconds": 1}))
}

impl Bounds {
    fn rejected<T>(&self) -> Result<T, Status> {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        Err(too_many())
    }

    /// Returns the places that a request takes one of; `None` for one without a bound.
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

    /// Takes a place for a request that reads or runs for long; looks whether there is one for a
    /// request that writes.
    ///
    /// # Errors
    /// 429 when as many are in flight as may be, of the level's accounts or of this one.
    pub(crate) fn enter(&self, user: &User, info: &Info, seat: &Seat) -> Result<(), Status> {
        if is_health(info) {
            return Ok(());
        }
        let flow = Flow::of(user);
        let Some(places) = self.places(&flow, info) else { return Ok(()) };
        let pool = match () {
            () if is_stream(info) => &places.streams,
            () if info.verb == "watch" => &places.long,
            () if is_reading(info) => &places.reading,
            () if places.writing.has_room(&flow) => return Ok(()), // it takes one when its body is complete
            () => return self.rejected(),
        };
        let Some(place) = pool.take(&flow, 1) else {
            return self.rejected().map_err(|status| match is_stream(info) {
                true => Status { message: TOO_MANY_STREAMS.into(), ..status },
                false => status,
            });
        };
        seat.hold_place(place);
        Ok(())
    }

    /// Reads a whole request body and takes a place for a request that writes. The seat holds
    /// memory for the request and its head at once, and for the body as its bytes come: a client
    /// holds no more of the bound than it has sent, whatever length it declares, and one that sends
    /// no body at all holds something.
    ///
    /// # Errors
    /// 413 for more than [`BODY_MAX`] bytes, 408 when the body is not complete in time, 429 when
    /// too many bytes or requests are in flight.
    pub(crate) async fn read(
        &self,
        user: &User,
        info: &Info,
        seat: &Seat,
        request: Request<Body>,
    ) -> Result<Bytes, Status> {
        let flow = Flow::of(user);
        let places = self.places(&flow, info);
        let counted = places.map(|places| (&places.bodies, &flow, seat));
        let own = WAITING + HEADS * head_size(&request);
        if let Some((pool, flow, seat)) = counted
            && !seat.hold_memory(own.div_ceil(1024), |kib| pool.take(flow, kib))
        {
            return self.rejected();
        }
        let body = self.collect(request.into_body(), own, counted);
        let late = || {
            let seconds = BODY_TIME.as_secs();
            Status::new(408, "", format!("the request body was not complete after {seconds} s"))
        };
        let bytes = clock::limit(BODY_TIME, body).await.unwrap_or_else(|| Err(late()))?;
        if let Some(places) = places.filter(|_| !is_reading(info)) {
            match places.writing.take(&flow, 1) {
                Some(place) => seat.hold_place(place),
                None => return self.rejected(),
            }
        }
        Ok(bytes)
    }

    /// Makes the seat hold memory for an answer of `bytes` bytes, if it does not yet.
    ///
    /// # Errors
    /// 429 when there is none, of the level or of this account.
    pub(crate) fn hold(&self, user: &User, info: &Info, seat: &Seat, bytes: usize) -> Result<(), Status> {
        let flow = Flow::of(user);
        let Some(places) = self.places(&flow, info).filter(|_| bytes > SMALL) else { return Ok(()) };
        match seat.hold_memory(bytes.div_ceil(1024), |kib| places.bodies.take(&flow, kib)) {
            true => Ok(()),
            false => self.rejected(),
        }
    }

    /// Takes a place for the refusal, of `bytes` bytes, of a request that has none: of a write,
    /// which takes one only when its body is complete, or of a long refusal of a health check.
    ///
    /// # Errors
    /// 429 when as many are in flight as may be.
    fn hold_refusal(&self, user: &User, info: &Info, seat: &Seat, bytes: usize) -> Result<(), Status> {
        let is_exempt = seat.has_place() || is_health(info) && bytes <= REFUSAL_MAX;
        let flow = Flow::of(user);
        let Some(places) = self.places(&flow, info).filter(|_| !is_exempt) else { return Ok(()) };
        match places.reading.take(&flow, 1) {
            Some(place) => seat.hold_place(place),
            None => return self.rejected(),
        }
        Ok(())
    }

    /// Makes the answer hold its seat until the connection has written it. The answer to a read for
    /// which there is no memory becomes a refusal, and a refusal a shorter one. The answer to a
    /// write that was done stays in any case, and has held memory since its body came. The answer
    /// of a server in a pod is a session, also a 404: it is passed on as it comes, however long it
    /// is.
    pub(crate) fn answer(&self, user: &User, info: &Info, seat: &Arc<Seat>, mut answer: Answer) -> Answer {
        let is_from_pod = answer.extensions().get::<FromPod>().is_some();
        let is_refused = answer.status().as_u16() >= 400 && !is_from_pod;
        let patience = match () {
            () if is_refused => Patience::Answer, // also of a session or a watch, which has not begun
            () if is_stream(info) => Patience::Session,
            () if info.verb == "watch" => Patience::Watch,
            () => Patience::Answer,
        };
        if patience == Patience::Answer && !seat.is_covered() {
            let bytes = size(&answer);
            let placed = if is_refused { self.hold_refusal(user, info, seat, bytes) } else { Ok(()) };
            if let Err(refused) = placed.and_then(|()| self.hold(user, info, seat, bytes))
                && (is_refused || is_reading(info))
            {
                answer = failure(&refused);
            }
        }
        answer.map(|body| seat.answer(body, patience, &self.seats))
    }

    /// Returns the refusal of a request that has no place. Its client has to read it all the same,
    /// so it is no longer than [`REFUSAL_MAX`]. `written` makes an answer of a status.
    pub(crate) fn refuse(
        &self,
        seat: &Arc<Seat>,
        status: &Status,
        written: impl Fn(&Status) -> Answer,
    ) -> Answer {
        let (mut answer, mut most) = (written(status), REFUSAL_MAX);
        // JSON writes a character in six bytes at most, so some part of the sentence fits.
        while size(&answer) > REFUSAL_MAX && most > 0 {
            most /= 2;
            let sentence = &status.message[..status.message.floor_char_boundary(most)];
            let short = Status { message: format!("{sentence}…"), details: Value::Null, ..status.clone() };
            answer = written(&short);
        }
        answer.map(|body| seat.answer(body, Patience::Answer, &self.seats))
    }

    /// Ends the answers that clients do not read, for as long as the server runs.
    pub(crate) async fn sweep(&self) {
        loop {
            clock::pause(SWEEP_EVERY).await;
            self.seats.sweep();
        }
    }

    /// Reads the whole body. The seat, which holds `own` bytes already, holds each piece of it too.
    async fn collect(
        &self,
        mut body: Body,
        own: usize,
        counted: Option<(&Arc<Pool>, &Flow, &Seat)>,
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
            if let Some((pool, flow, seat)) = counted {
                let kib = (own + all.len() + data.len()).div_ceil(1024);
                if !seat.hold_memory(kib, |kib| pool.take(flow, kib)) {
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

    /// Writes the metrics that upstream has for these bounds.
    pub(crate) fn metrics(&self) -> String {
        let all = [&self.users, &self.addons, &self.nodes, &self.control, &self.heartbeats];
        let taken = |pool: fn(&Places) -> &Arc<Pool>| all.iter().map(|p| pool(p).taken()).sum::<usize>();
        let (reading, writing) = (taken(|p| &p.reading), taken(|p| &p.writing));
        let long = taken(|p| &p.long) + taken(|p| &p.streams);
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

#[cfg(test)]
mod tests;
