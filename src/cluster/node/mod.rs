//! One node as the cluster holds it.
//!
//! `cri` is the container runtime that its kubelet uses, `kubelets` starts the kubelet and keeps
//! it running, `objects` brings the Node objects of an earlier start up to date, and `sockets`
//! opens sockets in the node's network namespace.

pub(crate) mod cri;
pub(crate) mod kubelets;
pub(crate) mod objects;
pub(crate) mod sockets;

use self::cri::NodeCri;
use super::error::Error;
use super::spec::NodeSpec;
use super::world::World;
use ::cri::Runtime;
use cni::NodeNetwork;
use parking_lot::Mutex;
use runtime::{Images, NodeRuntime, Zygote};
use std::path::PathBuf;
use std::sync::Arc;
use task::Crew;

/// A runtime that also runs the components of the cluster.
pub(crate) trait ComponentRuntime: Runtime {
    /// Ends a component without asking it. `false`: it does not run here.
    fn kill(&self, component: &str) -> bool;

    /// Returns whether a container of the component is here, running or ended. One that has ended
    /// is started again by the kubelet, after its back-off.
    fn has_container(&self, component: &str) -> bool;

    /// Returns whether a container of the component runs here.
    fn runs(&self, component: &str) -> bool;

    /// Makes the kubelet look again at every pod that may run a component, also at one whose
    /// container could not be made yet.
    fn wake(&self);
}

/// A node of the cluster.
pub(crate) struct Node {
    pub spec: NodeSpec,
    pub network: Arc<dyn NodeNetwork>,
    pub cri: Arc<dyn ComponentRuntime>,
    /// The kubelet, restarted when it ends, as systemd would. `None`: the node is off, `fault stop`
    /// holds its kubelet down, or the cluster is starting or stopping.
    pub kubelet: Mutex<Option<Crew>>,
}

/// The parts that the runtimes of all nodes are made of.
pub(crate) struct Parts {
    pub zygote: Zygote,
    pub images: Arc<Images>,
    pub cgroups: Arc<dyn linux::cgroup::Backend>,
    pub ids: linux::user::Ids,
    pub writable: PathBuf,
}

impl Node {
    /// Makes the node's network, its directory and its container runtime. It has no kubelet yet.
    ///
    /// # Errors
    /// [`Error::Network`] and [`Error::File`]: the kernel refuses the network or the directory.
    pub(crate) async fn new(world: &Arc<World>, parts: &Parts, spec: NodeSpec) -> Result<Arc<Node>, Error> {
        let network: Arc<dyn NodeNetwork> = world.fabric.node(spec.index, &spec.name).await?;
        let directory = parts.writable.join(&spec.name);
        std::fs::create_dir_all(&directory)
            .map_err(|cause| Error::File { path: directory.clone(), cause })?;
        let runtime = NodeRuntime::new(runtime::Config {
            node: spec.name.clone(),
            zygote: parts.zygote.clone(),
            images: parts.images.clone(),
            cgroups: parts.cgroups.clone(),
            ids: parts.ids,
            network: network.clone(),
            directory,
            rng: world.rng.fork(&spec.name),
        });
        let cri = NodeCri::new(spec.clone(), world, runtime, network.clone());
        Ok(Arc::new(Node { spec, network, cri, kubelet: Mutex::default() }))
    }
}
