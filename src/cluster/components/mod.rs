//! The components behind the images `ropewalk.io/<component>`: each is a crew of tasks in this
//! process.
//!
//! `manifests` has their static pods and addons, `addon_pods` counts the pods of the addons, and
//! `images` knows the names of their images. Three components have a start that is longer than a
//! call: `api_server`, `name_server`, and etcd ([`member`]).

pub(crate) mod addon_pods;
mod api_server;
pub(crate) mod images;
pub(crate) mod manifests;
mod name_server;

use super::error::chain;
use super::faults::KUBELET;
use super::node::sockets::dialer;
use super::spec::NodeSpec;
use super::store::member;
use super::world::{World, asks_from};
use addons::storage;
use client::Client;
use cni::NodeNetwork;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tap::Component;
use task::Crew;

/// Every component that can be started.
pub(crate) const ALL: [&str; 7] = [
    Component::Etcd.name(),
    Component::ApiServer.name(),
    Component::ControllerManager.name(),
    Component::Scheduler.name(),
    Component::Proxy.name(),
    Component::Dns.name(),
    Component::StorageProvisioner.name(),
];

/// Components that the cluster's own manifests make through the API, as pods of `kube-system`. The
/// others run from static pods only.
pub(crate) const ADDONS: [&str; 3] = ["kube-proxy", "coredns", "storage-provisioner"];

/// Components of which one node may run several: each has a network of its own.
pub(crate) const MANY_ON_A_NODE: [&str; 1] = ["coredns"];

/// The API's port on every control-plane node, as kubeadm has it.
pub(crate) const API_PORT: u16 = 6443;
/// The port on which members of the store listen for each other, as etcd's do.
pub(crate) const PEER_PORT: u16 = 2380;

/// The place of a component: its node, its network namespace and its address.
pub(crate) struct Location {
    pub node: String,
    pub network: Arc<dyn NodeNetwork>,
    /// The pod's network namespace: its own, or the node's with `hostNetwork`. `None`: its sandbox
    /// is stopped.
    pub netns: Option<Arc<OwnedFd>>,
    pub ip: Ipv4Addr,
}

/// Starts a component. Its end is the end of the crew. Must be called inside the component's log
/// span.
pub(crate) fn start(world: &Arc<World>, component: &str, place: Location) -> Result<Crew, String> {
    let crew = Crew::new(component);
    let client = |user: &str, group: &str| -> Result<Client, String> {
        let agent = format!("{component}/{}", api::VERSION);
        let node = asks_from(component, &place.node);
        world.client(node, user, group, &agent, dialer(&place.network)).map_err(|e| chain(&e))
    };
    let unknown = || format!("there is no component {component:?}; there are {}", ALL.join(", "));
    let named = component.parse().map_err(|_| unknown())?;
    let tap = world.tap.at(&place.node, named);
    match named {
        Component::Etcd => member::start(world, &crew, place),
        Component::ApiServer => api_server::start(world, &crew, place)?,
        Component::Scheduler => {
            let client = client("system:kube-scheduler", "")?;
            let rng = world.rng.fork("scheduler");
            let identity = candidate(world, component, &place.node);
            scheduler::start(&crew, scheduler::Config { client, tap, rng, identity });
        }
        Component::ControllerManager => {
            let config = controllers::Config {
                client: client("system:kube-controller-manager", "")?,
                tap,
                rng: world.rng.fork("controllers"),
                identity: candidate(world, component, &place.node),
                ca: world.ca.clone(),
                tokens: world.tokens.clone(),
            };
            controllers::start(&crew, config);
        }
        Component::Proxy => {
            let client = client("system:kube-proxy", "")?;
            proxy::start(&crew, proxy::Config { node_name: place.node, client, network: place.network, tap });
        }
        Component::Dns => {
            let client = client("system:serviceaccount:kube-system:coredns", "")?;
            name_server::start(world, &crew, client, place);
        }
        Component::StorageProvisioner => {
            let client = client("system:serviceaccount:kube-system:storage-provisioner", "")?;
            let root = |node: NodeSpec| (node.name.clone(), world.place.node(&node.name).join("host"));
            let nodes = world.spec.nodes().into_iter().map(root).collect();
            let gone = world.spec.gone_workers(&world.place).into_iter().map(root).collect();
            let known = world.clone();
            let starts_pods = Box::new(move |node: &str| {
                !known.faults.is_off(node) && !known.faults.is_held(KUBELET, node)
            });
            storage::start(&crew, storage::Config { client, tap, nodes, gone, starts_pods });
        }
        _ => return Err(unknown()),
    }
    Ok(crew)
}

/// Returns the identity of a component in an election: `NODE_UUID`, as everywhere. Here the
/// UUID is the same after every start, so that one that was killed goes on with its Lease instead
/// of waiting until it runs out.
fn candidate(world: &World, component: &str, node: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{component} {node} {}", world.ca.pem()));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    format!("{node}_{uuid}")
}

/// Runs `undo` when the component's task is gone, however it went.
pub(crate) struct OnEnd<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for OnEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
