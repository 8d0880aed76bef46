//! The rules that lose packets on purpose, between nodes.

use super::addresses::{node_ip, pods};
use super::nft::{self, Nft, Transaction};
use std::collections::BTreeMap;

/// The name of the table that these rules fill.
const FAULTS: &str = "rw-faults";

/// Returns the rules that drop packets from other nodes and their pods, of each node its share in
/// percent.
pub(super) fn loss_rules(connection: &Nft, others: &BTreeMap<u8, f64>) -> nlink::Result<Transaction> {
    let losses = others.iter().map(|(n, percent)| (node_ip(*n), pods(*n), *percent));
    nft::drop_between(connection, FAULTS, losses)
}
