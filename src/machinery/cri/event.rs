//! What happens to sandboxes and containers.

use super::sandbox::PodId;

/// Something happened to a container or to a sandbox; the kubelet looks again at the pod (an
/// evented PLEG). It does not use the other fields, which CRI has; tests do. A sandbox has an event
/// for each end, and one for its making only if the caller of that is gone by then.
#[derive(Clone, Debug)]
pub struct Event {
    /// The pod of the container or the sandbox.
    pub pod: PodId,
    /// The container's id, or the sandbox' own, as with containerd.
    pub container_id: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to the container or the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was made, and does not run.
    Created,
    /// Its first process runs.
    Started,
    /// Its first process has ended.
    Stopped,
    /// It was removed, with its file system and log.
    Deleted,
}
