//! Objects at rest and on their way to watchers.
//!
//! | file | part |
//! |---|---|
//! | `store`, `extra`, `transaction` | writes: one transaction of etcd each, on the condition of the revision that was read |
//! | `keys` | where an object stands in the store and in the cache |
//! | `cache` | the watch cache: all objects in memory, fed by one watch of etcd |
//! | `object` | a stored object and the events of it, parsed and encoded |
//! | `watch_queue`, `ring` | the bounded queue of events that wait for one watcher |
//! | `watch_buffers`, `holds` | the memory of all watchers' events together |
//! | `compaction`, `room` | which history etcd forgets, and the reserve of a full store |
//!
//! The cache and all queues have objects as they are sent, where `<`, `>` and `&` are escaped: such
//! a character takes six bytes there and one in etcd. The bounds of memory (`RING_BYTES`,
//! `BUFFERED_MAX`) count the bytes that are sent.

pub(crate) mod cache;
pub(crate) mod compaction;
pub(crate) mod extra;
pub(crate) mod holds;
pub(crate) mod keys;
pub(crate) mod object;
pub(crate) mod ring;
pub(crate) mod room;
pub(crate) mod store;
pub(crate) mod transaction;
pub(crate) mod watch_buffers;
pub(crate) mod watch_queue;
