//! NodePorts: refuses nodes where a host port that the pod wants is taken.
//!
//! A pod with `hostPort: 80` (protocol TCP, all addresses) takes that port of its node:
//!
//! ```text
//!      taken                filter
//! n1   TCP 80, by web-1     refused
//! n2   UDP 80               passes: another protocol
//! n3   TCP 127.0.0.1:80     refused: all addresses contain this one
//! ```
//!
//! The refusal is not final: if web-1 were evicted, the port would be free.

use crate::framework::{CycleState, Plugin, Refusal};
use crate::node_info::NodeInfo;
use api::host_ports;

pub(crate) struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn filter(&self, state: &CycleState, node: &NodeInfo) -> Vec<Refusal> {
        if !host_ports::conflict(&state.ports, &node.ports) {
            return Vec::new();
        }
        let reason = host_ports::CONFLICT.into();
        vec![Refusal { filter: self.name(), reason, detail: None, is_final: false }]
    }
}
