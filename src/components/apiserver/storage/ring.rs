//! Bounds of the events that the cache keeps for watchers, which are also those of a watcher's
//! queue.

use crate::storage::object::{Change, Event};
use std::sync::Arc;
use std::time::Duration;

/// Events older than this are let go, but never the newest few. Upstream's cache keeps them as
/// long.
pub(crate) const RING_AGE: Duration = Duration::from_secs(75);
/// Bytes of one resource's events, which are kept encoded: of each the larger of the object and of
/// what it was before, so that both together are twice as much at most. Beyond it the oldest go
/// however young they are.
pub(crate) const RING_BYTES: usize = 2 << 20;

/// The events of one revision that concern a watcher: more than one where a transaction wrote
/// several objects of the resource, as an undo, a redo or a rewind does. A controller that heard of
/// the pod that comes back, and not yet of the one that goes, would count a pod too many.
pub(crate) type EventBatch = Vec<(Change, Arc<Event>)>;
