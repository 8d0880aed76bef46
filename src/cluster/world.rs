//! What all nodes share: certificates, the fabric, the record stream, who runs where.

use super::components::API_PORT;
use super::etcd_doors::Doors;
use super::node::Node;
use super::{Error, Place, Spec};
use crate::apiserver::Cidr;
use crate::client::{Client, Dialer, Endpoint};
use crate::etcd::Kv;
use crate::net::{Fabric, fabric};
use crate::pki::{Ca, Identity, Subject, TokenKey};
use crate::rng::Rng;
use crate::tap::Tap;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Services: 10.96.0.0/12; `kubernetes` is its first address, DNS its tenth.
pub const SERVICE_CIDR: &str = "10.96.0.0/12";
pub const DNS_INDEX: u32 = 10;

pub struct World {
    pub place: Place,
    pub spec: Spec,
    pub ca: Ca,
    pub tokens: Arc<TokenKey>,
    /// The API servers' certificate.
    pub api_identity: Identity,
    pub tap: Tap,
    pub rng: Rng,
    pub fabric: Arc<Fabric>,
    pub service_cidr: Cidr,
    pub domain: String,
    /// Doors of the store's members for clients on the host.
    pub doors: Doors,
    /// Members of the store that serve, by node.
    pub stores: watch::Sender<BTreeMap<String, Kv>>,
    pub nodes: Mutex<BTreeMap<String, Arc<Node>>>,
    /// Something that no restart mends, e.g. a damaged log: the cluster ends and says so.
    pub problem: watch::Sender<Option<String>>,
    identities: Mutex<BTreeMap<(String, String), Identity>>,
}

impl World {
    pub async fn new(place: Place, spec: Spec, rng: Rng) -> Result<World, Error> {
        let ca = Ca::load_or_create(&place.pki(), "kubernetes")?;
        let tokens = Arc::new(TokenKey::load_or_create(&place.pki())?);
        let service_cidr =
            Cidr::parse(SERVICE_CIDR).ok_or_else(|| Error::Start("the service range is damaged".into()))?;
        let first = service_cidr.nth(1).to_string();
        let mut names: Vec<String> = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            "::1",
            first.as_str(),
        ]
        .map(String::from)
        .to_vec();
        names.extend(
            spec.nodes().iter().filter(|n| n.control_plane).map(|n| fabric::node_ip(n.index).to_string()),
        );
        names.extend(spec.nodes().iter().filter(|n| n.control_plane).map(|n| n.name.clone()));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let doors = Doors::new(&place)?;
        let api_identity = ca.issue(&Subject::server("kube-apiserver", &names))?;
        Ok(World {
            fabric: Arc::new(Fabric::new().await?),
            place,
            spec,
            ca,
            tokens,
            api_identity,
            tap: Tap::new(),
            rng,
            service_cidr,
            domain: "cluster.local".into(),
            doors,
            stores: watch::Sender::new(BTreeMap::new()),
            nodes: Mutex::default(),
            problem: watch::Sender::new(None),
            identities: Mutex::default(),
        })
    }

    pub fn dns_ip(&self) -> Ipv4Addr {
        self.service_cidr.nth(DNS_INDEX)
    }

    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.lock().unwrap_or_else(|e| e.into_inner()).get(name).cloned()
    }

    pub fn all_nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().unwrap_or_else(|e| e.into_inner()).values().cloned().collect()
    }

    /// Where the API servers listen inside the fabric.
    pub fn api_addresses(&self) -> Vec<SocketAddr> {
        let nodes = self.spec.nodes();
        nodes
            .iter()
            .filter(|n| n.control_plane)
            .map(|n| (fabric::node_ip(n.index), API_PORT).into())
            .collect()
    }

    /// A certificate for a user; the same one again for the same user.
    pub fn identity(&self, user: &str, group: &str) -> Result<Identity, Error> {
        let key = (user.to_string(), group.to_string());
        let known = self.identities.lock().unwrap_or_else(|e| e.into_inner()).get(&key).cloned();
        if let Some(identity) = known {
            return Ok(identity);
        }
        let identity = self.ca.issue(&Subject::client(user, group))?;
        self.identities.lock().unwrap_or_else(|e| e.into_inner()).insert(key, identity.clone());
        Ok(identity)
    }

    /// A client of the API as this user, with sockets from `dial`.
    pub fn client(&self, user: &str, group: &str, agent: &str, dial: Dialer) -> Result<Client, Error> {
        let endpoint = Endpoint {
            servers: self.api_addresses(),
            server_name: "kubernetes".into(),
            ca_pem: self.ca.pem().to_string(),
            identity: Some(self.identity(user, group)?),
            user_agent: agent.into(),
            dial,
        };
        Ok(Client::connect(endpoint)?)
    }

    /// Connections from the fabric, which joins the nodes.
    pub fn dialer(&self) -> Dialer {
        let fabric = self.fabric.clone();
        Arc::new(move |to| {
            let fabric = fabric.clone();
            Box::pin(async move { fabric.dial(to).await })
        })
    }
}
