//! Work on a copy of the whole store: checksums, and etcd's own database file.

use super::super::api::{Error, Revision};
use super::super::hash::{self, Hash};
use super::super::machine::Applied;
use super::super::snapshot::Frozen;
use super::super::{database, pb};
use super::Kv;

impl Kv {
    /// Returns the checksum of the history up to a revision (0: now) that etcd computes for the
    /// same history; with the revision it was computed at and that of the last compaction.
    ///
    /// # Errors
    /// - `Compacted` if the revision is older than the last compaction.
    /// - `FutureRevision` if this member has not applied that revision.
    /// - `Stopped` if the thread that computes it ended: the program is about to end.
    pub async fn hash(&self, revision: Revision) -> Result<Hash, Error> {
        self.with_copy(move |frozen, _| hash::of(&frozen, revision)).await?
    }

    /// Returns the bytes of the whole store as etcd's own database file has them.
    ///
    /// # Errors
    /// `Stopped` if the thread that writes them ended: the program is about to end.
    pub async fn database(&self, members: Vec<pb::Member>) -> Result<Vec<u8>, Error> {
        self.with_copy(move |frozen, at| database::write(&frozen, &members, at.index, at.term)).await
    }

    /// Returns [`database::hash`] of the file that [`Kv::database`] makes. Both are made in one
    /// place: the file is as large as the store.
    pub(crate) async fn database_hash(
        &self,
        members: Vec<pb::Member>,
    ) -> Result<Result<u32, database::bolt::Damaged>, Error> {
        self.with_copy(move |frozen, at| {
            database::hash(&database::write(&frozen, &members, at.index, at.term))
        })
        .await
    }

    /// Works on a copy of the whole store, on a thread where neither requests nor the member wait
    /// for it. One at a time: a copy of a large store is large.
    async fn with_copy<T: Send + 'static>(
        &self,
        work: impl FnOnce(Frozen, Applied) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.copies.clone().acquire_owned().await.map_err(|_| Error::Stopped)?;
        let shared = self.shared.clone();
        // The place is given back with the result; if the caller has gone, when the work is done.
        let work = move || {
            let (frozen, at) = shared.freeze();
            (work(frozen, at), place)
        };
        let (done, _place) = tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopped)?;
        Ok(done)
    }
}
