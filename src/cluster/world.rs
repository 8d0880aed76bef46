//! The state that all nodes share: certificates, the fabric, the record stream, and which server
//! runs on which node.

use super::components::addon_pods::AddonPods;
use super::components::{ADDONS, API_PORT};
use super::error::Error;
use super::faults::Faults;
use super::home::Place;
use super::node::Node;
use super::refusal::Refusal;
use super::spec::{NodeSpec, Spec};
use super::store::full_disk::FullDisks;
use super::store::listeners::EtcdListeners;
use apiserver::{self, Cidr};
use client::{Client, Dialer, Endpoint};
use etcd::Storage;
use kubelet::pressure::Machine;
use net::{Fabric, addresses};
use parking_lot::Mutex;
use pki::{Ca, Identity, Subject, TokenKey};
use rng::Rng;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tap::{TEACHER, Tap};
use task::Crew;
use tokio::sync::watch;

/// Services: 10.96.0.0/12; `kubernetes` is its first address, DNS its tenth.
pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/12";
const DNS_INDEX: u32 = 10;

/// The state that all nodes of one cluster share, for as long as its process lives.
pub(crate) struct World {
    pub place: Place,
    pub spec: Spec,
    pub ca: Arc<Ca>,
    /// The store's own authority: a member speaks only with clients that have a certificate of it.
    pub etcd_ca: Ca,
    pub tokens: Arc<TokenKey>,
    /// The API servers' certificate.
    pub api_identity: Identity,
    pub tap: Tap,
    pub rng: Rng,
    pub fabric: Arc<Fabric>,
    pub service_cidr: Cidr,
    pub domain: String,
    /// Listeners of the store's members for clients on the host.
    pub listeners: EtcdListeners,
    /// The stores that serve, by the node whose API server asks them.
    pub stores: watch::Sender<BTreeMap<String, Arc<dyn Storage>>>,
    /// Which pods the addons have; `None`: not all addons are made yet.
    pub(crate) addons: watch::Sender<Option<AddonPods>>,
    /// API servers that run, by node.
    pub api_servers: watch::Sender<BTreeMap<String, apiserver::Server>>,
    pub faults: Faults,
    /// The disks that the stores write to.
    pub disks: FullDisks,
    /// The memory and the disk that all nodes share.
    pub machine: Arc<Machine>,
    pub nodes: Mutex<BTreeMap<String, Arc<Node>>>,
    /// Something that no restart mends: the cluster ends and says so.
    pub problem: watch::Sender<Option<Problem>>,
    /// Members of the store whose last start failed, by node.
    pub(crate) failed_starts: Mutex<BTreeMap<String, FailedStart>>,
    /// The API's port on 127.0.0.1.
    pub api_port: u16,
    /// Everything that lives as long as the cluster.
    pub crew: Crew,
    identities: Mutex<BTreeMap<(String, String), Identity>>,
    /// Group of this process's teacher, drawn anew with each start.
    pub teachers: String,
    /// Kubeconfigs that lie in memory, by user: no other process finds them.
    pub kubeconfigs: Mutex<BTreeMap<String, OwnedFd>>,
}

impl World {
    /// Reads or makes the certificate authorities and the token key, and makes the network that
    /// joins the nodes. No node runs yet.
    ///
    /// # Errors
    /// [`Error::Pki`]: a certificate or key in the directory is damaged or expired, or cannot be
    /// written. [`Error::Network`]: the kernel has no network namespace, bridge or veth for us;
    /// `ropewalk doctor` says which.
    pub(crate) async fn new(
        place: Place,
        spec: Spec,
        api_port: u16,
        rng: Rng,
        machine: Arc<Machine>,
    ) -> Result<World, Error> {
        let ca = Arc::new(Ca::load_or_create(&place.pki(), "kubernetes")?);
        let etcd_ca = Ca::load_or_create(&place.etcd_pki(), "etcd-ca")?;
        let tokens = Arc::new(TokenKey::load_or_create(&place.pki())?);
        let service_cidr =
            Cidr::parse(SERVICE_CIDR).ok_or_else(|| Error::Start("the service range is damaged".into()))?;
        let first = service_cidr.nth(1).to_string();
        let balancer = addresses::BRIDGE.to_string();
        let mut names: Vec<String> = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            "::1",
            first.as_str(),
            balancer.as_str(),
        ]
        .map(String::from)
        .to_vec();
        names.extend(
            spec.nodes().iter().filter(|n| n.control_plane).map(|n| addresses::node_ip(n.index).to_string()),
        );
        names.extend(spec.nodes().iter().filter(|n| n.control_plane).map(|n| n.name.clone()));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // With an external etcd there is no store of our own, and so no member of it.
        let members = if spec.external_etcd.is_some() { vec![] } else { spec.nodes() };
        let listeners = EtcdListeners::new(&place, &etcd_ca, &members)?;
        let api_identity = ca.issue(&Subject::server("kube-apiserver", &names))?;
        Ok(World {
            fabric: Arc::new(Fabric::new().await?),
            place,
            spec,
            ca,
            etcd_ca,
            tokens,
            api_identity,
            tap: Tap::new(),
            rng,
            service_cidr,
            domain: "cluster.local".into(),
            listeners,
            stores: watch::Sender::new(BTreeMap::new()),
            addons: watch::Sender::new(None),
            api_servers: watch::Sender::new(BTreeMap::new()),
            faults: Faults::default(),
            disks: FullDisks::default(),
            machine,
            nodes: Mutex::default(),
            problem: watch::Sender::new(None),
            failed_starts: Mutex::default(),
            api_port,
            crew: Crew::new("cluster"),
            identities: Mutex::default(),
            // Not from the cluster's chance, which a seed may repeat.
            teachers: format!("teachers:{}", Rng::from_os().uuid()),
            kubeconfigs: Mutex::default(),
        })
    }

    pub(crate) fn dns_ip(&self) -> Ipv4Addr {
        self.service_cidr.nth(DNS_INDEX)
    }

    /// Returns the node of this name, once it is made.
    pub(crate) fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.lock().get(name).cloned()
    }

    pub(crate) fn all_nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().values().cloned().collect()
    }

    /// Lists the control-plane nodes.
    pub(crate) fn control_planes(&self) -> Vec<NodeSpec> {
        self.spec.nodes().into_iter().filter(|n| n.control_plane).collect()
    }

    /// Notes how the last start of a node's member failed; `None`: it started. When so many cannot
    /// start that the others are no majority, no restart mends the store: the cluster ends.
    pub(crate) fn note_start(&self, node: &str, failed: Option<FailedStart>) {
        let mut failed_starts = self.failed_starts.lock();
        match failed {
            Some(failed) => failed_starts.insert(node.to_string(), failed),
            None => failed_starts.remove(node),
        };
        self.faults.notify(); // the progress says why a member is missing
        if let Some(problem) = lost_store(&failed_starts, self.control_planes().len()) {
            self.problem.send_replace(Some(Problem::LostStore(problem)));
        }
    }

    /// Returns the API's address for a client on this node, as kubeadm writes it into the
    /// kubeconfigs of kubelets and the control plane: on a control-plane node its own server,
    /// elsewhere the balancer. A single server needs no balancer. For addons see [`asks_from`].
    pub(crate) fn api_address(&self, node: &str) -> SocketAddr {
        let servers = self.control_planes();
        let own = servers.iter().find(|n| n.name == node);
        match (own, servers.as_slice()) {
            (Some(only), _) | (None, [only]) => (addresses::node_ip(only.index), API_PORT).into(),
            _ => (addresses::BRIDGE, API_PORT).into(),
        }
    }

    /// Returns the user's certificate and key; the same ones for the same user and group.
    ///
    /// # Errors
    /// [`Error::Pki`]: the authority cannot make the certificate.
    pub(crate) fn identity(&self, user: &str, group: &str) -> Result<Identity, Error> {
        let key = (user.to_string(), group.to_string());
        let known = self.identities.lock().get(&key).cloned();
        if let Some(identity) = known {
            return Ok(identity);
        }
        let subject = Subject::client(user, group);
        let subject = if user == TEACHER { subject.and_in(&self.teachers) } else { subject };
        let identity = self.ca.issue(&subject)?;
        self.identities.lock().insert(key, identity.clone());
        Ok(identity)
    }

    /// Returns a client of the API as this user on this node (`""`: outside of all nodes), with
    /// sockets from `dial`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Pki`] as [`World::identity`]; [`Error::Client`]: the TLS library refuses the
    /// authority's certificate or the user's.
    pub(crate) fn client(
        &self,
        node: &str,
        user: &str,
        group: &str,
        agent: &str,
        dial: Dialer,
    ) -> Result<Client, Error> {
        let endpoint = Endpoint {
            servers: vec![self.api_address(node)],
            server_name: "kubernetes".into(),
            ca_pem: self.ca.pem().to_string(),
            identity: Some(self.identity(user, group)?),
            user_agent: agent.into(),
            dial,
        };
        Ok(Client::connect(endpoint)?)
    }

    /// Connections from the fabric, which joins the nodes.
    pub(crate) fn dialer(&self) -> Dialer {
        let fabric = self.fabric.clone();
        Arc::new(move |to| {
            let fabric = fabric.clone();
            Box::pin(async move { fabric.dial(to).await })
        })
    }
}

/// Returns the node from which a component on `node` asks the API ([`World::api_address`]). Addons
/// ask from none, wherever they run: kubeadm gives kube-proxy the address of all API servers, and
/// other pods use the Service `kubernetes`. So names, rules and volumes stay right while the API
/// server of their node is down and another one answers.
pub(crate) fn asks_from<'a>(component: &str, node: &'a str) -> &'a str {
    if ADDONS.contains(&component) { "" } else { node }
}

/// A failure that no restart of a component mends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Members of the store cannot start, and the others are no majority; the text says why.
    LostStore(String),
    /// The cluster may not use what it was given, e.g. an etcd of another cluster.
    Refused(Refusal),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        match problem {
            Problem::LostStore(why) => Error::Start(why),
            Problem::Refused(refusal) => refusal.into(),
        }
    }
}

/// How the last start of a member of the store failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedStart {
    /// The error with its causes.
    pub why: String,
    /// The next start may succeed: the kubelet tries again. Otherwise the member's data is damaged
    /// or cannot be written, and no restart mends it.
    pub may_pass: bool,
}

impl FailedStart {
    /// Returns a sentence for people.
    pub(crate) fn say(&self, node: &str) -> String {
        let verb = if self.may_pass { "did not" } else { "cannot" };
        format!("the store of {node} {verb} start: {}", self.why)
    }
}

/// Returns why a store of so many members will never serve. `None`: it may.
fn lost_store(failed: &BTreeMap<String, FailedStart>, members: usize) -> Option<String> {
    let majority = members / 2 + 1;
    let damaged = failed.iter().filter(|(_, start)| !start.may_pass);
    let reasons: Vec<String> = damaged.map(|(node, start)| start.say(node)).collect();
    (members.saturating_sub(reasons.len()) < majority).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(may_pass: bool) -> FailedStart {
        FailedStart { why: "bad checksum".into(), may_pass }
    }

    /// `fault stop kube-apiserver/NODE` of one of three control planes: a name server there
    /// answered with what it had heard by then, and no volume was made.
    #[test]
    fn an_addon_on_a_control_plane_does_not_depend_on_the_api_server_of_its_node() {
        for component in crate::components::ALL {
            let expected = match component {
                "kube-proxy" | "coredns" | "storage-provisioner" => "",
                _ => "cp2",
            };
            assert_eq!(asks_from(component, "cp2"), expected, "{component}");
        }
    }

    /// Without this a start of three members, two of them damaged, would wait for ever.
    #[test]
    fn a_store_is_lost_when_the_members_that_are_not_damaged_are_no_majority() {
        for (members, bearable) in [(1, 0), (3, 1), (5, 2)] {
            let mut damaged = BTreeMap::new();
            for n in 0..members {
                let lost = lost_store(&damaged, members);
                assert_eq!(lost.is_some(), damaged.len() > bearable, "{n} of {members}: {lost:?}");
                damaged.insert(format!("cp{n}"), failed(false));
            }
        }
        let damaged = BTreeMap::from([("cp1".to_string(), failed(false))]);
        assert_eq!(lost_store(&damaged, 1).unwrap(), "the store of cp1 cannot start: bad checksum");
    }

    /// The kubelet starts its member again.
    #[test]
    fn a_store_is_not_lost_while_the_next_start_may_succeed() {
        let failed = BTreeMap::from([("cp1".to_string(), failed(true))]);
        assert_eq!(lost_store(&failed, 1), None);
    }
}
