//! `etcdserverpb.Watch`: many watches on one stream.
//!
//! One task reads what the client asks; each watch has a task of its own, which sends events and,
//! when it is asked, how far it is. They share one queue to the client: while that is full, they
//! wait, and the store keeps what happens meanwhile.
//!
//! ```text
//! client ── create, cancel, progress ──► Session ── starts, cancels, asks ──► Follow 1, 2, …
//!    ▲                                      │ created, canceled                │      ▲
//!    └─────────────── one queue ◄───────────┴────── events, progress ◄─────────┘   Watcher
//! ```
//!
//! A question about progress is a [`Round`]: each watch gets a [`Receipt`] and returns it when it
//! has sent all that had happened. The last one to do so answers the client.

use super::super::api::{Error, EventType, Revision, WatchRequest, WatchResponse};
use super::super::pb;
use super::super::watch::Watcher;
use super::call::Answers;
use super::codec::MESSAGE_MAX;
use super::face::Face;
use super::record::{self, call};
use futures::stream;
use parking_lot::{Mutex, MutexGuard};
use prost::Message as _;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// Responses on their way to one client.
const QUEUE: usize = 128;
/// Questions to one watch about its progress; while they are so many, the next one waits.
const QUESTIONS: usize = 16;
/// A watch with `progress_notify` reports its progress when it had no events for so long.
const NOTIFY_EVERY: Duration = Duration::from_secs(600);
/// The watch id that stands for all watches of a stream, and for none.
const ALL: i64 = -1;

type Out = mpsc::Sender<Result<pb::WatchResponse, Status>>;

/// A question about the progress of all watches of a stream.
struct Round {
    /// Answers that the client still gets: as many as it has asked, none if a watch has not begun
    /// yet, as with etcd.
    answers: usize,
    /// Watches that have not reported their progress yet.
    left: usize,
    /// The oldest revision that a watch has named, which holds for each of them.
    oldest: Option<Revision>,
}

/// A watch's part in a round. It is given back when everything that had happened is in the queue to
/// the client, and dropped if the watch ends before that.
#[derive(Clone)]
struct Receipt {
    round: Arc<Mutex<Round>>,
    /// Closed when every watch has dropped its receipt.
    _open: mpsc::Sender<()>,
}

impl Receipt {
    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock()
    }

    /// Notes how far the watch is. Returns the revision of the answer if no other watch is awaited:
    /// then this one answers, before it goes on with events that are newer than the answer.
    fn give_back(&self, at: Revision) -> Option<Revision> {
        let mut round = self.round();
        round.left -= 1;
        round.oldest = Some(round.oldest.map_or(at, |oldest| oldest.min(at)));
        round.oldest.filter(|_| round.left == 0)
    }
}

struct Watching {
    cancel: CancellationToken,
    /// Closed when its task has ended.
    questions: mpsc::Sender<Receipt>,
}

/// One stream of a client, with all watches on it.
struct Session {
    face: Arc<Face>,
    out: Out,
    /// Those that the client has not canceled. As with etcd, one that a compaction has ended keeps
    /// its id until then, and the client gets an answer when it cancels it.
    watches: BTreeMap<i64, Watching>,
    tasks: JoinSet<Ended>,
    next: i64,
    /// Questions about the progress of all watches that wait for a round.
    asked: usize,
    /// The watches are being asked.
    asking: bool,
}

/// The kind of a session's task that has ended.
enum Ended {
    Watch,
    Round,
}

impl Face {
    pub(super) fn watch(self: Arc<Self>, asks: Streaming<pb::WatchRequest>) -> Answers<pb::WatchResponse> {
        let (out, answers) = mpsc::channel(QUEUE);
        let (crew, watches) = (self.crew.clone(), BTreeMap::new());
        let tasks = JoinSet::new();
        let session = Session { face: self, out, watches, tasks, next: 0, asked: 0, asking: false };
        crew.spawn(session.run(asks));
        Box::pin(stream::unfold(answers, |mut answers| async move {
            answers.recv().await.map(|answer| (answer, answers))
        }))
    }
}

impl Session {
    async fn run(mut self, mut asks: Streaming<pb::WatchRequest>) {
        let mut asks_more = true;
        loop {
            tokio::select! {
                ask = asks.message(), if asks_more => match ask {
                    Ok(Some(ask)) => self.handle(ask.request_union).await,
                    // The client sends no more; its watches go on until it hangs up.
                    Ok(None) => asks_more = false,
                    Err(status) => {
                        let _ = self.out.send(Err(status)).await; // the client may be gone
                        return;
                    }
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(Ended::Watch) => {}
                    Ok(Ended::Round) => {
                        self.asking = false;
                        self.round().await;
                    }
                    Err(_) => return, // a task panicked: the client comes again
                },
                () = self.out.closed() => return,
            }
        }
    }

    async fn handle(&mut self, ask: Option<pb::WatchUnion>) {
        match ask {
            Some(pb::WatchUnion::CreateRequest(create)) => self.create(create).await,
            Some(pb::WatchUnion::CancelRequest(cancel)) => {
                // Its id is free again, and nothing of it comes behind this answer.
                if let Some(watch) = self.watches.remove(&cancel.watch_id) {
                    watch.cancel.cancel();
                    watch.questions.closed().await;
                    let (watch_id, canceled) = (cancel.watch_id, true);
                    self.enqueue(pb::WatchResponse { watch_id, canceled, ..Default::default() }).await;
                }
            }
            Some(pb::WatchUnion::ProgressRequest(_)) => {
                self.asked += 1;
                self.round().await;
            }
            None => {}
        }
    }

    /// Puts an answer of the session into the queue to the client.
    async fn enqueue(&self, response: pb::WatchResponse) {
        let header = response.header.clone().or_else(|| self.face.header_now());
        let _ = self.out.send(Ok(pb::WatchResponse { header, ..response })).await; // the client may be gone
    }

    /// Refuses to create a watch: the answer has no id, and the record says why.
    async fn refuse(&self, create: &pb::WatchCreateRequest, reason: &str) {
        let status = Status::invalid_argument(reason);
        self.face.record(call("watch", &create.key, &create.range_end), Err(&status));
        let refused = pb::WatchResponse {
            watch_id: ALL,
            created: true,
            canceled: true,
            cancel_reason: reason.into(),
            ..Default::default()
        };
        self.enqueue(refused).await;
    }

    async fn create(&mut self, create: pb::WatchCreateRequest) {
        if create.start_revision < 0 {
            // As etcd 3.6, before everything else and without an id: to watch from now would pass
            // over everything before it.
            return self.refuse(&create, "etcdserver: mvcc: required revision has been compacted").await;
        }
        let empty = |key: &[u8], end: &[u8]| !end.is_empty() && end != [0] && end <= key;
        let id = match create.watch_id {
            _ if empty(&create.key, &create.range_end) => {
                return self.refuse(&create, "mvcc: watcher range is empty").await;
            }
            0 => {
                while self.watches.contains_key(&self.next) {
                    self.next += 1;
                }
                self.next += 1;
                self.next - 1
            }
            taken if self.watches.contains_key(&taken) => {
                let reason = "mvcc: duplicate watch ID provided on the WatchStream";
                return self.refuse(&create, reason).await;
            }
            chosen => chosen,
        };
        let request = WatchRequest {
            // an empty key stands for the smallest one, as in etcd
            key: if create.key.is_empty() { [0].as_slice().into() } else { create.key.clone() },
            range_end: create.range_end.clone(),
            start_revision: create.start_revision,
            prev_kv: create.prev_kv,
        };
        // Watched before it is announced: everything that the client writes after that is seen.
        let watcher = self.face.kv.watch(request.clone()).await;
        let (cancel, (questions, asked)) = (CancellationToken::new(), mpsc::channel(QUESTIONS));
        // A client that has seen no event goes on from here after a break: the revision from which
        // this watch counts, not one that came since.
        let header = watcher.as_ref().ok().and_then(|watcher| self.face.header(watcher.made()));
        self.enqueue(pb::WatchResponse { header, watch_id: id, created: true, ..Default::default() }).await;
        let follow = Follow {
            face: self.face.clone(),
            id,
            request,
            filters: create.filters,
            fragment: create.fragment,
            notify: create.progress_notify,
            out: self.out.clone(),
            cancel: cancel.clone(),
            asked,
            receipts: VecDeque::new(),
        };
        let refused = watcher.as_ref().err().map(|error| Status::from(error.clone()));
        let answered = match &refused {
            Some(status) => Err(status),
            None => Ok((self.face.kv.revision(), 0)),
        };
        self.face.record(call("watch", &create.key, &create.range_end), answered);
        self.watches.insert(id, Watching { cancel, questions });
        self.tasks.spawn(async move {
            follow.run(watcher).await;
            Ended::Watch
        });
    }

    /// Answers what was asked when every watch has handed over all that had happened by now. What
    /// is asked meanwhile waits for the next round: with many watches and a client that asks
    /// without end, each question would else be asked of all of them.
    async fn round(&mut self) {
        if self.asking || self.asked == 0 {
            return;
        }
        let asked = std::mem::take(&mut self.asked);
        let left = self.watches.values().filter(|watch| !watch.questions.is_closed()).count();
        if left == 0 {
            return; // as etcd: there is nothing whose progress it could be
        }
        self.asking = true;
        let revision = self.face.kv.revision();
        let (open, mut closed) = mpsc::channel(1);
        let round = Arc::new(Mutex::new(Round { answers: asked, left, oldest: None }));
        let receipt = Receipt { round: round.clone(), _open: open };
        for watch in self.watches.values() {
            let _ = watch.questions.send(receipt.clone()).await; // one that ends has nothing more to hand over
        }
        drop(receipt);
        let (out, face) = (self.out.clone(), self.face.clone());
        self.tasks.spawn(async move {
            closed.recv().await; // nothing is sent: it returns when every receipt is dropped
            // A watch that was awaited has ended, so that none has answered.
            let (answers, oldest) = {
                let round = round.lock();
                (round.answers, round.oldest)
            };
            let header = face.header(oldest.unwrap_or(revision));
            for _ in 0..answers {
                let answer =
                    pb::WatchResponse { header: header.clone(), watch_id: ALL, ..Default::default() };
                let _ = out.send(Ok(answer)).await; // the client may be gone
            }
            Ended::Round
        });
    }
}

/// One watch.
struct Follow {
    face: Arc<Face>,
    id: i64,
    request: WatchRequest,
    filters: Vec<i32>,
    fragment: bool,
    notify: bool,
    out: Out,
    cancel: CancellationToken,
    asked: mpsc::Receiver<Receipt>,
    /// For each answer about progress that is to come: the client's question, or `None` if the
    /// clock asked.
    receipts: VecDeque<Option<Receipt>>,
}

impl Follow {
    async fn run(mut self, watcher: Result<Watcher, Error>) {
        if let Err(error) = self.follow(watcher).await {
            let over = match error {
                Over::Gone | Over::Canceled => return, // the session says so
                // As etcd: the compaction's revision is the reason, and there is no other.
                Over::Store(Error::Compacted { compact_revision }) => Ok(self.response(pb::WatchResponse {
                    header: self.face.header(0),
                    canceled: true,
                    compact_revision,
                    ..Default::default()
                })),
                Over::Store(error) => Err(error.into()),
            };
            let _ = self.out.send(over).await; // the client may be gone
        }
    }

    fn response(&self, with: pb::WatchResponse) -> pb::WatchResponse {
        let header = with.header.clone().or_else(|| self.face.header_now());
        pb::WatchResponse { header, watch_id: self.id, ..with }
    }

    async fn follow(&mut self, watcher: Result<Watcher, Error>) -> Result<(), Over> {
        let (mut watcher, start) = (watcher?, self.request.start_revision);
        let mut quiet = clock::Instant::now();
        loop {
            let idle = async {
                match self.notify {
                    true => clock::pause_until(quiet + NOTIFY_EVERY).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(Over::Canceled),
                Some(receipt) = self.asked.recv() => match watcher.request_progress(start) {
                    true => self.receipts.push_back(Some(receipt)),
                    false => receipt.round().answers = 0,
                },
                () = idle => {
                    quiet = clock::Instant::now();
                    if watcher.request_progress(start) {
                        self.receipts.push_back(None);
                    }
                }
                response = watcher.next() => match response {
                    Some(Ok(response)) => {
                        if self.hand_over(response, watcher.read()).await? {
                            quiet = clock::Instant::now();
                        }
                    }
                    // It was slower than the store's queue, or the store was replaced: the history
                    // has the rest.
                    Some(Err(Error::SlowWatcher)) => {
                        let start_revision = watcher.resume();
                        let request = WatchRequest { start_revision, ..self.request.clone() };
                        watcher = self.face.kv.watch(request).await?;
                        // What was promised comes, also if nothing happens any more.
                        for _ in &self.receipts {
                            watcher.request_progress(0);
                        }
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => return Err(Error::Stopped.into()),
                },
            }
        }
    }

    /// Sends what the client wants of it. `true` if that was something. Events of the past are
    /// headed by the store's revision when they were `read`, as with etcd (`syncWatchers`).
    async fn hand_over(&mut self, response: WatchResponse, read: Revision) -> Result<bool, Over> {
        let revision = response.revision.max(read);
        let header = self.face.header(revision);
        if response.events.is_empty() {
            match self.receipts.pop_front() {
                Some(None) => self.send(pb::WatchResponse { header, ..Default::default() }).await?,
                Some(Some(receipt)) => self.give_back(&receipt, response.revision).await?,
                None => {}
            }
            return Ok(false);
        }
        let hidden = |kind: EventType| match kind {
            EventType::Put => self.filters.contains(&0),
            EventType::Delete => self.filters.contains(&1),
        };
        let events: Vec<pb::Event> =
            response.events.into_iter().filter(|e| !hidden(e.kind)).map(Into::into).collect();
        if events.is_empty() {
            return Ok(false);
        }
        let call = record::watch_call(&self.request, revision, &events);
        let mut pieces = match self.fragment {
            true => {
                let (header, fragment) = (header.clone(), true);
                let empty = self.response(pb::WatchResponse { header, fragment, ..Default::default() });
                pieces(empty.encoded_len(), events)
            }
            false => vec![events],
        }
        .into_iter()
        .peekable();
        while let Some(events) = pieces.next() {
            let fragment = pieces.peek().is_some();
            self.send(pb::WatchResponse { header: header.clone(), events, fragment, ..Default::default() })
                .await?;
        }
        self.face.emit(call);
        Ok(true)
    }

    /// Reports the progress of the watch, and answers the client if no other watch is awaited.
    async fn give_back(&self, receipt: &Receipt, at: Revision) -> Result<(), Over> {
        let Some(revision) = receipt.give_back(at) else { return Ok(()) };
        let header = self.face.header(revision);
        while receipt.round().answers > 0 {
            self.enqueue(pb::WatchResponse { header: header.clone(), watch_id: ALL, ..Default::default() })
                .await?;
            receipt.round().answers -= 1;
        }
        Ok(())
    }

    async fn send(&self, response: pb::WatchResponse) -> Result<(), Over> {
        self.enqueue(self.response(response)).await
    }

    /// Puts a response into the queue to the client, unless the watch is canceled meanwhile.
    async fn enqueue(&self, response: pb::WatchResponse) -> Result<(), Over> {
        tokio::select! {
            biased; // a client that takes nothing can still cancel
            sent = self.out.send(Ok(response)) => sent.map_err(|_| Over::Gone),
            () = self.cancel.cancelled() => Err(Over::Canceled),
        }
    }
}

/// The reason for which a watch ends.
enum Over {
    Canceled,
    /// The client has hung up.
    Gone,
    Store(Error),
}

impl From<Error> for Over {
    fn from(error: Error) -> Over {
        Over::Store(error)
    }
}

/// Cuts events into responses that a client with limits can take: [`MESSAGE_MAX`] bytes, unless one
/// event alone is larger. `empty` is the size of a response without events.
fn pieces(empty: usize, events: Vec<pb::Event>) -> Vec<Vec<pb::Event>> {
    const TAG: usize = 1; // of field 11
    let mut pieces: Vec<Vec<pb::Event>> = vec![];
    let mut size = 0;
    for event in events {
        let length = event.encoded_len();
        let more = TAG + prost::length_delimiter_len(length) + length;
        match pieces.last_mut() {
            Some(piece) if size + more <= MESSAGE_MAX => {
                size += more;
                piece.push(event);
            }
            _ => {
                size = empty + more;
                pieces.push(vec![event]);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests;
