//! Watches: first what there is (if asked for), then every event, in order, as it comes.

mod writer;

use crate::auth::user::User;
use crate::flowcontrol::compute::LARGE;
use crate::flowcontrol::seat::ANSWER_TIME;
use crate::registry::filter::Filter;
use crate::request::context::Context;
use crate::request::http::{Answer, BodyError, typed};
use crate::request::negotiate::{Form, form_of_watch};
use crate::state::State;
use crate::storage::cache::{Subscription, TooOld};
use crate::storage::object::{Change, Event, Kept, frame};
use crate::storage::ring::EventBatch;
use api::Status;
use api::kinds::KindRef;
use bytes::Bytes;
use clock::Instant;
use etcd::api::Revision;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use writer::{PIECE, REVISION_PIECE, Writer};

/// An object that a filter passes over costs as much time as so many bytes, about.
const LOOKED_AT: usize = 256;
/// How often a quiet watcher that wants bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch without a time limit ends after this, or at a random time until twice as long (upstream:
/// `MinRequestTimeout`).
const LIFE_MIN_SECS: u64 = 1800;

/// Answers a watch: a body of lines that goes on until the watch's time is over, the server stops,
/// or the client reads too slowly.
///
/// # Errors
/// 400 and 422 for what a watch cannot be asked for, 500 for a revision that is none, 429 while
/// this server has not read the store yet. That a revision is too old, or that one to begin with
/// does not come, is an event of the watch (upstream: `newErrWatcher`).
pub(crate) async fn watch(
    state: &Arc<State>,
    ctx: &Context,
    kind: KindRef,
    stop: CancellationToken,
) -> Result<Answer, Status> {
    let request = WatchRequest::read(state, ctx, &kind)?;
    request.wait_for_start(state).await?;
    if request.initial == Some(true)
        && let Err(late) = crate::registry::read::reach(state, request.revision).await
    {
        return Ok(ended(&late));
    }
    let subscription = match subscribe(state, &kind, &request) {
        Ok(subscription) => subscription,
        Err(gone) => return Ok(too_old(request.revision, &gone)),
    };
    let seat = Arc::downgrade(&ctx.seat); // the seat holds the answer, which holds the line
    subscription.live.at_end(move || {
        if let Some(seat) = seat.upgrade() {
            seat.give_up();
        }
    });
    let writer = Writer::new(kind, request.form, state.cache.watch_buffers.clone());
    let feed = Feed::new(state.clone(), ctx.user.clone(), subscription, writer, &request, stop);
    let body = stream::unfold(feed, |mut feed| async move {
        let bytes = feed.next().await?;
        Some((Ok::<_, BodyError>(Frame::data(bytes)), feed))
    });
    let mut answer = typed(200, "application/json", Bytes::new());
    *answer.body_mut() = StreamBody::new(body).boxed_unsync();
    Ok(answer)
}

/// What a request says of its watch.
struct WatchRequest {
    form: Form,
    filter: Filter,
    bookmarks: bool,
    /// `sendInitialEvents`.
    initial: Option<bool>,
    /// `resourceVersion`; 0 also if there is none.
    revision: Revision,
    is_revision_given: bool,
    /// How long the watch goes on.
    life: Duration,
}

impl WatchRequest {
    fn read(state: &State, ctx: &Context, kind: &KindRef) -> Result<WatchRequest, Status> {
        let form = form_of_watch(ctx.accept(), &ctx.query)?;
        let mut filter = Filter::of(kind, ctx.info.object_namespace(), &ctx.query)?;
        if !ctx.info.name.is_empty() {
            // The name stands for the selector `metadata.name`: one that is given has to say the
            // same name, and may not only say something else of the object.
            if !filter.fields.is_empty() && filter.name != ctx.info.name {
                return Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name"));
            }
            filter.name = ctx.info.name.clone();
        }
        let bookmarks = ctx.query.is_true("allowWatchBookmarks");
        // `request::list_options` has judged what stands beside it.
        let initial = ctx.query.has("sendInitialEvents").then(|| ctx.query.is_true("sendInitialEvents"));
        let version = ctx.query.get("resourceVersion");
        let revision = if version.is_empty() { 0 } else { crate::registry::read::revision(version)? };
        let life = match ctx.query.number("timeoutSeconds")? {
            Some(n) if n != 0 => Duration::from_secs(n.max(0) as u64), // a time that is over ends it
            _ => Duration::from_secs(state.rng.range(LIFE_MIN_SECS, LIFE_MIN_SECS * 2)),
        };
        let is_revision_given = !version.is_empty();
        Ok(WatchRequest { form, filter, bookmarks, initial, revision, is_revision_given, life })
    }

    /// Waits until this server has read the store; and knows what it has now, if the request says
    /// `sendInitialEvents` or names no revision.
    async fn wait_for_start(&self, state: &State) -> Result<(), Status> {
        if !self.is_revision_given || self.initial.is_some() {
            state.fresh().await?;
        }
        crate::registry::read::filled(state).await
    }

    /// Returns whether the watch begins with all objects that there are. Upstream's default of
    /// `sendInitialEvents` is true where no revision is named, or `0`: the end of these objects is
    /// marked there, too.
    fn begins_with_objects(&self) -> bool {
        self.initial.unwrap_or(self.revision == 0)
    }

    /// Returns the revision whose events come first; `None`: the watch begins with all objects that
    /// there are.
    ///
    /// | `sendInitialEvents` | `resourceVersion` | begins |
    /// |---|---|---|
    /// | - | none, `0` | with all objects |
    /// | - | `7` | with the events after 7 |
    /// | `true` | any | with all objects |
    /// | `false` | none, `0` | with the events from now on |
    /// | `false` | `7` | with the events after 7 |
    fn events_after(&self, now: Revision) -> Option<Revision> {
        match (self.begins_with_objects(), self.revision) {
            (true, _) => None,
            (false, 0) => Some(now),
            (false, revision) => Some(revision),
        }
    }
}

/// Subscribes to the cache.
///
/// # Errors
/// The cache no longer has the events after the revision that the watch begins with.
fn subscribe(state: &State, kind: &KindRef, request: &WatchRequest) -> Result<Subscription, TooOld> {
    let after = request.events_after(state.cache.revision());
    let mut subscription = state.cache.watch(kind.place(), request.filter.clone(), after)?;
    // A watch may begin at a revision that is still to come: its bookmarks must not lead back
    // behind it.
    subscription.revision = subscription.revision.max(request.revision);
    // Its definition may have changed since the request was understood: then it ends as every watch
    // of it did.
    if !state.cache.kinds().serves(kind) {
        subscription.live.close();
    }
    Ok(subscription)
}

/// Returns the watch whose only event is that its revision is too old. Its client lists again.
fn too_old(revision: Revision, gone: &TooOld) -> Answer {
    ended(&Status::expired(format!("too old resource version: {revision} ({})", gone.oldest)))
}

/// Returns the watch whose only event says why it ends.
fn ended(status: &Status) -> Answer {
    let line = format!("{}\n", json!({"type": "ERROR", "object": status.to_value()}));
    typed(200, "application/json", line)
}

struct Feed {
    state: Arc<State>,
    user: User,
    /// Until when the initial objects have to be sent, and may stay in memory for this watch alone;
    /// `None` once they are sent.
    begins_until: Option<Instant>,
    /// The end of what there was is still to be marked.
    mark_initial: bool,
    subscription: Subscription,
    writer: Writer,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    stop: CancellationToken,
    over: bool,
}

impl Feed {
    fn new(
        state: Arc<State>,
        user: User,
        subscription: Subscription,
        writer: Writer,
        request: &WatchRequest,
        stop: CancellationToken,
    ) -> Feed {
        let now = Instant::now();
        Feed {
            state,
            user,
            begins_until: Some(now + ANSWER_TIME),
            // The mark is a bookmark: upstream sends none to a client that did not ask for them.
            mark_initial: request.begins_with_objects() && request.bookmarks,
            subscription,
            writer,
            bookmarks: request.bookmarks,
            next_bookmark: now + BOOKMARK_EVERY,
            end: clock::deadline(request.life),
            stop,
            over: false,
        }
    }

    /// Encodes what there was when the watch began, about one piece at a time: ten thousand objects
    /// at once would hold up the thread, and take memory for a client that does not read. What the
    /// filter passes over counts as well, and what later defaults add to an object.
    async fn begin(&mut self) {
        let mut made = 0;
        while made < PIECE && self.writer.waiting() < PIECE {
            if let Some(object) = self.subscription.initial.pop() {
                made += LOOKED_AT + self.subscription.filter.bytes_to_judge(object.bytes.len());
                if !self.subscription.filter.matches(&object.value) {
                    continue;
                }
                let writer = &mut self.writer;
                let line = match writer.form == Form::Object && writer.is_as_stored(&object.value) {
                    true => frame(Change::Added, &object.bytes),
                    false => writer.line(Change::Added, &object.value),
                };
                let line = writer.unsent.of_one(line);
                writer.add(line);
                made += object.bytes.len();
            } else if let Some(kept) = self.subscription.backlog.pop() {
                made += LOOKED_AT;
                if !self.subscription.filter.is_about_key(kept.key()) {
                    continue;
                }
                made += kept.to_parse(); // whether it matches or not
                let Some(event) = self.parsed(kept).await else {
                    (self.begins_until, self.over) = (None, true);
                    return;
                };
                if let Some(change) = self.subscription.filter.classify(&event) {
                    self.writer.event(change, &event);
                }
            } else {
                self.begins_until = None;
                if std::mem::take(&mut self.mark_initial) {
                    self.writer.bookmark(self.subscription.revision, true);
                }
                return;
            }
        }
    }

    /// Parses the event again: here if it is small, otherwise as all work on large objects. `None`:
    /// it cannot be made now, and the watch ends; its client resumes from the last event that it
    /// saw.
    async fn parsed(&self, kept: Arc<Kept>) -> Option<Arc<Event>> {
        let (bytes, revision) = (kept.to_parse(), kept.revision);
        let event = match bytes <= LARGE {
            true => kept.event(),
            false => {
                let parsing = async move { Ok(kept.event()) };
                let parsed = self.state.compute.run(&self.user, bytes, self.stop.clone(), parsing).await;
                parsed
                    .inspect_err(|status| {
                        tracing::debug!(revision, message = status.message, "ended a watch")
                    })
                    .ok()?
            }
        };
        if event.is_none() {
            tracing::error!(revision, "a kept event cannot be parsed; its watch ends");
        }
        event.map(Arc::new)
    }

    /// Encodes what one revision did. The cache hands it to the watchers before it says that it has
    /// reached the revision, and a bookmark must not lead back before an event.
    fn add_revision(&mut self, batch: &EventBatch) {
        let newest = batch.iter().map(|(_, event)| event.revision).max();
        self.subscription.revision = self.subscription.revision.max(newest.unwrap_or_default());
        self.writer.revision(batch);
    }

    /// Everything up to the revision reached before looking has been sent once the queue is empty.
    /// Returns false, without a bookmark, if there is more to send before it than is encoded at a
    /// time: later defaults may make much of what waits in the queue.
    fn add_bookmark(&mut self) -> bool {
        let reached = self.state.cache.revision();
        while let Some(batch) = self.subscription.live.try_recv() {
            self.add_revision(&batch);
            if self.writer.waiting() > REVISION_PIECE {
                return false;
            }
        }
        // To a watcher that was cut off, or whose resource was read anew from the store, a bookmark
        // would hide what it missed.
        if !self.subscription.live.is_closed() {
            self.writer.bookmark(reached.max(self.subscription.revision), false);
        }
        true
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(until) = self.begins_until
                && self.writer.out.is_empty()
            {
                if Instant::now() > until {
                    tracing::debug!("ended a watch whose client does not read what there was when it began");
                    return None;
                }
                self.begin().await;
            }
            if let Some(bytes) = self.writer.next() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            if self.begins_until.is_some() {
                tokio::task::yield_now().await; // many objects, and none of them matched
                continue;
            }
            if self.keep_time() {
                continue;
            }
            tokio::select! {
                biased;
                event = self.subscription.live.recv() => match event {
                    Some(batch) => self.add_revision(&batch),
                    None => self.over = true, // too slow, or the cache started anew
                },
                () = self.stop.cancelled() => {}
                () = clock::pause_until(self.end) => {}
                () = clock::pause_until(self.next_bookmark), if self.bookmarks => {}
            }
        }
    }

    /// Ends the watch, or adds a bookmark, if it is time to. This is asked before each event: where
    /// there is always one, the watch would never wait for anything else. Returns whether something
    /// was due.
    fn keep_time(&mut self) -> bool {
        let now = Instant::now();
        if self.stop.is_cancelled() {
            self.over = true;
        } else if now >= self.end {
            if self.bookmarks {
                self.add_bookmark(); // without one the client resumes from the last event
            }
            self.over = true;
        } else if self.bookmarks && now >= self.next_bookmark {
            if self.add_bookmark() {
                self.next_bookmark = now + BOOKMARK_EVERY;
            }
        } else {
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests;
