//! What the kernel of a node has for connections to Services, as it is read back.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// One rule, or one element of a map or a set.
///
/// ```text
/// service  default/web:
/// within   map e_s4
/// text     0x00000001 : 10.244.2.7 . 80
/// does     Endpoint { number: 1, ip: 10.244.2.7, port: 80 }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Key of the [`ServiceRule`](super::ServiceRule) that it belongs to (`namespace/name:port`);
    /// `None`: it is there for all Services, or it is not known for which.
    pub service: Option<String>,
    /// `chain NAME`, `map NAME` or `set NAME`.
    pub within: String,
    /// In the syntax of `nft list ruleset`. Rules that look addresses or node ports up come without
    /// `ct state new` and without the node's own address; numbers of a map of endpoints count from
    /// 0, where nft may print their bytes in the other order.
    pub text: String,
    /// Its part in the way of a connection.
    pub does: Does,
}

/// What an [`Installed`] is there for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Does {
    /// Hands each first packet of a connection from a pod to the look-ups.
    EntersFromPods,
    /// Hands each first packet of a connection that the node itself makes to the look-ups.
    EntersFromNode,
    /// Looks the destination up among the Services' addresses.
    FindsAddress,
    /// Looks a port of the node's own address up among the node ports.
    FindsNodePort,
    /// Leads an address and port of a Service to its chain.
    LeadsAddress {
        /// A cluster IP, or an external or load-balancer address.
        address: Ipv4Addr,
        /// The Service's port.
        port: u16,
        /// The Service's chain, e.g. `s4`.
        chain: String,
    },
    /// Leads a node port to its chain.
    LeadsNodePort {
        /// A port of the node, from the cluster's range of node ports: 30000 to 32767 unless it was
        /// made with another.
        port: u16,
        /// The Service's chain, e.g. `s4`.
        chain: String,
    },
    /// Marks a connection, so that it gets the node's address as its source, and goes on.
    Marks {
        /// Where the connection goes on.
        chain: String,
    },
    /// `externalTrafficPolicy: Local` does not bind clients inside the cluster: they go on here.
    LeadsInside {
        /// The chain where they go on.
        chain: String,
    },
    /// `Local`, and no endpoint on this node: silence.
    Drops,
    /// Draws one of the endpoints by lot.
    Chooses {
        /// The map of the endpoints, e.g. `e_s4`.
        map: String,
    },
    /// The endpoint with this number.
    Endpoint {
        /// From 0, within the map.
        number: u32,
        /// The endpoint's address, as a rule a pod's.
        ip: Ipv4Addr,
        /// The endpoint's port.
        port: u16,
    },
    /// `sessionAffinity: ClientIP`: a number and the chain of its endpoint.
    LeadsToSticky {
        /// From 0, within the map.
        number: u32,
        /// The endpoint's address.
        ip: Ipv4Addr,
        /// The endpoint's port.
        port: u16,
    },
    /// Leads a client that has been at this endpoint to it again.
    KnowsClients {
        /// The endpoint's address.
        ip: Ipv4Addr,
        /// The endpoint's port.
        port: u16,
    },
    /// Remembers the client of this endpoint.
    Remembers {
        /// The endpoint's address.
        ip: Ipv4Addr,
        /// The endpoint's port.
        port: u16,
    },
    /// Puts the endpoint's address in place of the Service's.
    Translates {
        /// The endpoint's address.
        ip: Ipv4Addr,
        /// The endpoint's port.
        port: u16,
    },
    /// A client that goes to this endpoint again.
    Client {
        /// The client's address.
        client: Ipv4Addr,
        /// The endpoint's address.
        ip: Ipv4Addr,
        /// The endpoint's port.
        port: u16,
    },
    /// A Service without endpoints: its clients are refused.
    Refused {
        /// An address of the Service.
        address: Ipv4Addr,
        /// The Service's port.
        port: u16,
    },
    /// A Service without endpoints: clients of its node port are refused.
    RefusedNodePort {
        /// The Service's node port.
        port: u16,
    },
    /// Refuses what is listed as without endpoints.
    RefusesListed,
    /// Refuses node ports that are listed as without endpoints.
    RefusesListedPorts,
    /// Refuses addresses of the service range that no Service has.
    RefusesUnknown,
    /// Gives marked connections the node's address as their source.
    Masquerades,
    /// Gives a pod that reaches itself through a Service another source.
    Hairpin,
    /// A rule that this program has not written.
    Other,
}
