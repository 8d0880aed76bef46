//! The chains that refuse connections: to Services without endpoints, and to addresses of the
//! service range that no Service has.
//!
//! Source: `nftablesJumpChains` in kube-proxy's `pkg/proxy/nftables/proxier.go`.

use super::{Transaction, address_rule, chain, port_rule, rule};
use nlink::Result;
use nlink::netlink::nftables::{BaseChain, CtState, Expr, FilterHook, LookupExpr, Priority, Register};
use std::net::Ipv4Addr;

/// Adds the chains that refuse new connections to Services without endpoints, and to addresses of
/// the service range that no Service has. They run after the translation: a packet that still has
/// the address of a Service was translated by no rule. An external address may be the node's own,
/// so it is refused in `input`, too. Connections that are older than their Service go on.
///
/// ```text
/// default/none, external address 172.30.0.11, port 8088, no endpoint
///   ->  a new connection to 172.30.0.11:8088 is refused, though a program of the node listens
/// ```
pub(super) fn add_chains(mut t: Transaction, node: u8) -> Result<Transaction> {
    for (name, hook) in [
        ("refuse-forward", FilterHook::Forward),
        ("refuse-output", FilterHook::Output),
        ("refuse-input", FilterHook::Input),
    ] {
        let listed = address_rule(rule(name).match_ct_state(CtState::NEW)).expr(look_up("refused")).reject();
        t = t.add_chain(chain(name)?.base(BaseChain::filter(hook, Priority::Custom(-90)))).add_rule(listed);
    }
    let services = Ipv4Addr::new(10, 96, 0, 0);
    for name in ["refuse-forward", "refuse-output"] {
        t = t.add_rule(rule(name).match_ct_state(CtState::NEW).match_daddr_v4(services, 12).reject());
    }
    let new = rule("refuse-input").match_ct_state(CtState::NEW);
    Ok(t.add_rule(port_rule(new, node).expr(look_up("refused-ports")).reject()))
}

fn look_up(set: &str) -> Expr {
    Expr::Lookup(LookupExpr::new(set, Register::R0))
}
