//! What all calls and tasks of a node's runtime share: its configuration, its tasks, its events.

use super::images::Images;
use super::zygote::Zygote;
use cni::NodeNetwork;
use cri::{Event, EventKind, PodId};
use linux::cgroup;
use linux::user::Ids;
use rng::Rng;
use std::path::PathBuf;
use std::sync::Arc;
use task::Crew;
use tokio::sync::broadcast;

/// The parts that a node's runtime is made of. All nodes share zygote, images, cgroups and ids.
pub struct Config {
    /// The node's name.
    pub node: String,
    /// Makes the containers' processes.
    pub zygote: Zygote,
    /// The built-in images: there are no others.
    pub images: Arc<Images>,
    /// Makes and limits control groups.
    pub cgroups: Arc<dyn cgroup::Backend>,
    /// Which user and group ids containers may have.
    pub ids: Ids,
    /// The node's network, to which sandboxes are connected.
    pub network: Arc<dyn NodeNetwork>,
    /// A directory for writable layers, e.g. below [`linux::boot::Main::writable`].
    pub directory: PathBuf,
    /// Makes the ids of sandboxes and containers.
    pub rng: Rng,
}

/// The configuration, the tasks and the events of one node's runtime. Every call and every
/// background task has it.
pub(crate) struct NodeContext {
    pub config: Config,
    pub crew: Crew,
    pub events: broadcast::Sender<Event>,
}

impl NodeContext {
    /// Sends an event of a pod's sandbox or of one of its containers to all subscribers. With
    /// `container_id` the sandbox' own id it is about the sandbox.
    pub(crate) fn event(&self, pod: &PodId, container_id: &str, kind: EventKind) {
        let event = Event { pod: pod.clone(), container_id: container_id.to_string(), kind };
        let _ = self.events.send(event); // the only error: there are no subscribers
    }
}
