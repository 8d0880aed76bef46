//! `v3electionpb.Election/Observe`: who leads, and everything that leaders proclaim.

use super::super::api::{Error, EventType, KeyValue, Revision, WatchRequest, WatchResponse};
use super::super::pb;
use super::super::watch::Watcher;
use super::call::Answers;
use super::face::Face;
use super::lock::without_code;
use super::queue::{owner, prefix, prefix_end};
use bytes::Bytes;
use futures::stream;
use std::collections::VecDeque;
use std::sync::Arc;
use tonic::Status;

/// One observer. As etcd's client library it reads who leads, and then follows the leader's key
/// from behind the revision that it read, so that no proclaimed value is passed over. When the key
/// is deleted it reads again; while there is no leader it waits for the first key of the election.
struct Observer {
    face: Arc<Face>,
    name: Bytes,
    /// What is watched: the leader's key, or all keys of the election while there is no leader.
    /// `None`: the leader has to be read.
    request: Option<WatchRequest>,
    /// The watch of `request`; `None` until it is opened.
    watcher: Option<Watcher>,
    /// Seen and not yet sent, with the store's revision of each.
    ready: VecDeque<(Revision, KeyValue)>,
    /// The key and the `mod_revision` of what was sent last.
    sent: (Bytes, Revision),
}

impl Face {
    /// Tells the leader, each value that it proclaims, and each leader that comes after it. A
    /// leader that came and went between two reads is passed over, as with etcd.
    pub(super) fn observe(self: Arc<Self>, r: pb::LeaderRequest) -> Answers<pb::LeaderResponse> {
        let (request, watcher, ready) = (None, None, VecDeque::new());
        let sent = (Bytes::new(), 0);
        let observer = Observer { face: self, name: r.name, request, watcher, ready, sent };
        Box::pin(stream::try_unfold(observer, |mut observer| async move {
            let answer = observer.next().await.map_err(without_code)?;
            Ok::<_, Status>(answer.map(|answer| (answer, observer)))
        }))
    }
}

impl Observer {
    /// Errors: those of a read, and `Stopped`.
    async fn next(&mut self) -> Result<Option<pb::LeaderResponse>, Error> {
        loop {
            if let Some((revision, kv)) = self.ready.pop_front() {
                let this = (kv.key.clone(), kv.mod_revision);
                if std::mem::replace(&mut self.sent, this.clone()) == this {
                    continue; // read again after a break
                }
                let header = self.face.header(revision);
                return Ok(Some(pb::LeaderResponse { header, kv: Some(kv.into()) }));
            }
            match (&mut self.watcher, &self.request) {
                (None, None) => self.read_owner().await?,
                (None, Some(request)) => match self.face.kv.watch(request.clone()).await {
                    // What was proclaimed meanwhile is forgotten: only who leads now is left.
                    Err(Error::Compacted { .. }) => self.request = None,
                    watcher => self.watcher = Some(watcher?),
                },
                (Some(watcher), Some(request)) => match watcher.next().await {
                    Some(Ok(response)) => self.keep_values(response),
                    // It was slow, or a snapshot replaced the store: the history has the rest.
                    Some(Err(Error::SlowWatcher)) => {
                        let request = WatchRequest { start_revision: watcher.resume(), ..request.clone() };
                        (self.watcher, self.request) = (None, Some(request));
                    }
                    Some(Err(Error::Compacted { .. })) => (self.watcher, self.request) = (None, None),
                    Some(Err(error)) => return Err(error),
                    None => return Ok(None),
                },
                (Some(_), None) => self.watcher = None,
            }
        }
    }

    async fn read_owner(&mut self) -> Result<(), Error> {
        let (revision, kv) = owner(&self.face.kv, &self.name).await?;
        let (key, range_end) = match &kv {
            Some(kv) => (kv.key.clone(), Bytes::new()),
            None => {
                let key = prefix(&self.name);
                (key.clone(), prefix_end(&key))
            }
        };
        let start_revision = revision + 1;
        self.request = Some(WatchRequest { key, range_end, start_revision, prev_kv: false });
        self.ready.extend(kv.map(|kv| (revision, kv)));
        Ok(())
    }

    /// Keeps what the leader's key was set to. A key that is put while there is no leader is that
    /// of the next one, and is followed from there on.
    fn keep_values(&mut self, response: WatchResponse) {
        let all = self.request.as_ref().is_some_and(|request| !request.range_end.is_empty());
        for event in response.events {
            match event.kind {
                EventType::Delete if all => {}
                EventType::Delete => {
                    (self.watcher, self.request) = (None, None);
                    return;
                }
                EventType::Put => {
                    let follow = WatchRequest {
                        key: event.kv.key.clone(),
                        start_revision: event.kv.mod_revision + 1,
                        ..WatchRequest::default()
                    };
                    // The new leader's own: the response may tell of later revisions, too.
                    let revision = if all { event.kv.mod_revision } else { response.revision };
                    self.ready.push_back((revision, event.kv));
                    if all {
                        (self.watcher, self.request) = (None, Some(follow));
                        return;
                    }
                }
            }
        }
    }
}
