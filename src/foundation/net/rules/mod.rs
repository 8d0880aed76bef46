//! Services as nftables: one table per node, changed by transactions that the kernel takes whole or
//! not at all.
//!
//! ```text
//! map vips      { 10.96.0.10 . tcp . 80 : goto s0 }
//!     # a connection's first packet finds its service by one look-up
//! map nodeports { tcp . 30080 : goto x0 }
//!     # at the node's own address alone; x0 marks for masquerading, then goes to s0;
//!     # external addresses lead to x0, too; externalTrafficPolicy: Local, see `inside`: then
//!     # external addresses lead to s0, and x0 marks connections of the node itself alone
//! set refused   { 10.96.0.11 . tcp . 80 }
//!     # services without endpoints: an answer, not silence; no program of the node answers at
//!     # an external address in their place
//! set refused-ports { tcp . 30081 }
//!     # their node ports: no program of the node answers there in their place
//! map e_s0      { 0 : 10.244.1.2 . 8080, 1 : … }
//!     # s0: dnat ip to numgen random mod 2 map @e_s0
//! set a1_0af4…  { clients of one endpoint, with timeout }
//!     # s1: sessionAffinity: ClientIP, over t1_0af4… for each endpoint
//!     # y0: external addresses, where the cluster IP has fewer endpoints
//! set hairpin   { podIP . podIP }
//!     # a pod that reaches itself through a service needs another source
//! ```

use super::addresses::{node_ip, pods};
use super::nft::{self, Nft, Transaction};
use super::plan::Change;
use cni::{Protocol, ServiceRule};
use nlink::Result;
use nlink::netlink::nftables::{
    BaseChain, Chain, ChainName, CtStatus, Expr, Family, LookupExpr, NatHook, NumgenKind, PacketField,
    Priority, Register, Rule, Set, SetDataType, SetElement, SetKeyType, Verdict,
};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

pub(crate) mod installed;
mod refuse;

const TABLE: &str = "rw-proxy";
/// Connections with this mark get the node's address as their source.
const MASQUERADE: u32 = 0x4000;
/// Clients that one endpoint's affinity remembers; more are served without.
const CLIENTS_MAX: u32 = 65536;

/// Elements in one message: the attribute that holds all of them has a length of 16 bits, and an
/// element takes less than 100 bytes.
const ELEMENTS_MAX: usize = 500;

fn portions(elements: &[SetElement]) -> impl Iterator<Item = &[SetElement]> {
    elements.chunks(ELEMENTS_MAX)
}

/// Adds any number of elements to a set, in several messages of the transaction.
fn add_elements(mut t: Transaction, set: &Set, elements: &[SetElement]) -> Transaction {
    for portion in portions(elements) {
        t = t.add_set_elements(set, portion);
    }
    t
}

/// Removes any number of elements from a set, in several messages of the transaction.
fn remove_elements(mut t: Transaction, set: &Set, elements: &[SetElement]) -> Transaction {
    for portion in portions(elements) {
        t = t.del_set_elements(set, portion);
    }
    t
}

fn rule(chain: &str) -> Rule {
    Rule::new(TABLE, chain).family(Family::Ip)
}

fn chain(name: &str) -> Result<Chain> {
    Ok(Chain::new(TABLE, name)?.family(Family::Ip))
}

fn set(name: &str, keys: Vec<SetKeyType>) -> Set {
    Set::new(TABLE, name).family(Family::Ip).key_type(SetKeyType::Concat(keys))
}

fn vips() -> Set {
    set("vips", vec![SetKeyType::Ipv4Addr, SetKeyType::InetProto, SetKeyType::InetService]).vmap()
}

fn node_ports() -> Set {
    set("nodeports", vec![SetKeyType::InetProto, SetKeyType::InetService]).vmap()
}

fn refused() -> Set {
    set("refused", vec![SetKeyType::Ipv4Addr, SetKeyType::InetProto, SetKeyType::InetService])
}

fn refused_ports() -> Set {
    set("refused-ports", vec![SetKeyType::InetProto, SetKeyType::InetService])
}

fn hairpin() -> Set {
    set("hairpin", vec![SetKeyType::Ipv4Addr, SetKeyType::Ipv4Addr])
}

fn numbered(name: &str) -> Set {
    Set::new(TABLE, name).family(Family::Ip).key_type(SetKeyType::Mark)
}

/// Index of an endpoint to its address and port.
fn endpoint_map(name: &str) -> Set {
    let value = SetKeyType::Concat(vec![SetKeyType::Ipv4Addr, SetKeyType::InetService]);
    numbered(name).map(SetDataType::Value(value))
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}

/// A transaction that makes the table anew, without services. `node` is the third number of the
/// pods' addresses.
///
/// The way of a connection from a pod to the Service 10.96.0.10, port 80, with two endpoints:
///
/// ```text
/// prerouting    jump services
/// services      map vips has 10.96.0.10 . tcp . 80: goto s0
/// s0            a number by chance, 0 or 1; map e_s0: dnat to 10.244.2.2:8080
/// postrouting   masquerade only if the endpoint is the pod itself
/// ```
///
/// Later packets, and the answers, follow the connection that the kernel has noted: they pass no
/// map.
pub(crate) fn base(connection: &Nft, node: u8) -> Result<Transaction> {
    let mut t = nft::anew(connection, TABLE).add_chain(chain("services")?);
    for (hook, name, priority) in [
        (NatHook::Prerouting, "prerouting", Priority::DstNat),
        (NatHook::Output, "output", Priority::DstNat),
        (NatHook::Postrouting, "postrouting", Priority::SrcNat),
    ] {
        t = t.add_chain(chain(name)?.base(BaseChain::nat(hook, priority)));
    }
    t = t
        .add_set(vips())
        .add_set(node_ports())
        .add_set(refused())
        .add_set(refused_ports())
        .add_set(hairpin());
    let pods: Vec<SetElement> = (2..=254)
        .map(|host| Ipv4Addr::from(u32::from(pods(node)) + host))
        .map(|pod| nft::pair(pod, pod))
        .collect();
    t = add_elements(t, &hairpin(), &pods);
    t = t
        .add_rule(
            address_rule(rule("services"))
                .expr(Expr::Lookup(LookupExpr::new("vips", Register::R0).dreg(Register::Verdict))),
        )
        .add_rule(
            port_rule(rule("services"), node)
                .expr(Expr::Lookup(LookupExpr::new("nodeports", Register::R0).dreg(Register::Verdict))),
        );
    t = refuse::add_chains(t, node)?;
    for name in ["prerouting", "output"] {
        t = t.add_rule(rule(name).try_jump("services")?);
    }
    let from_outside = rule("postrouting")
        .match_ct_status(CtStatus::DST_NAT)
        .match_mark_masked(MASQUERADE, MASQUERADE)
        .masquerade();
    let to_itself = rule("postrouting")
        .match_ct_status(CtStatus::DST_NAT)
        .expr(nft::load_source(Register::R0))
        .expr(nft::load_destination(Register::Reg32_01))
        .expr(Expr::Lookup(LookupExpr::new("hairpin", Register::R0)))
        .masquerade();
    Ok(t.add_rule(from_outside).add_rule(to_itself))
}

/// Adds to a rule: it loads destination address, protocol and port, ready for a look-up.
fn address_rule(rule: Rule) -> Rule {
    rule.expr(nft::load_destination(Register::R0))
        .expr(nft::load_protocol(Register::Reg32_01))
        .expr(nft::load_port(Register::Reg32_02))
}

/// Adds to a rule: it matches the node's own address alone (not 127.0.0.1, as upstream's nftables
/// mode), and loads protocol and port, ready for a look-up.
fn port_rule(rule: Rule, node: u8) -> Rule {
    rule.match_daddr_v4(node_ip(node), 32)
        .expr(nft::load_protocol(Register::R0))
        .expr(nft::load_port(Register::Reg32_01))
}

/// Adds changes to a transaction: first everything that goes, then everything that comes. `node` as
/// in [`base`].
pub(crate) fn apply(mut t: Transaction, node: u8, changes: &[Change]) -> Result<Transaction> {
    for change in changes {
        match change {
            Change::Remove { number, old } => t = remove(t, *number, old, &BTreeSet::new())?,
            Change::Replace { number, old, new } => t = remove(t, *number, old, &new.used())?,
            Change::Add { .. } => {}
        }
    }
    for change in changes {
        match change {
            Change::Add { number, new } => t = add(t, node, *number, new, &BTreeSet::new())?,
            Change::Replace { number, old, new } => t = add(t, node, *number, new, &old.used())?,
            Change::Remove { .. } => {}
        }
    }
    Ok(t)
}

/// Names of one service's parts.
struct Names(u32);

impl Names {
    fn cluster(&self) -> String {
        format!("s{}", self.0)
    }
    /// For external addresses and node ports, if `internalTrafficPolicy: Local` leaves the cluster
    /// IP fewer endpoints.
    fn external(&self) -> String {
        format!("y{}", self.0)
    }
    /// The chain that chooses among the endpoints of all nodes.
    fn everywhere(&self, service: &ServiceRule) -> String {
        if service.all_endpoints.is_some() { self.external() } else { self.cluster() }
    }
    /// For node ports, and for external addresses whose clients get the node's address.
    fn node_port(&self) -> String {
        format!("x{}", self.0)
    }
    /// The map of endpoints that a chain chooses from.
    fn choice(chain: &str) -> String {
        format!("e_{chain}")
    }
    fn clients(&self, (ip, port): (Ipv4Addr, u16)) -> String {
        format!("a{}_{:08x}{port:04x}", self.0, u32::from(ip))
    }
    fn sticky(&self, (ip, port): (Ipv4Addr, u16)) -> String {
        format!("t{}_{:08x}{port:04x}", self.0, u32::from(ip))
    }
}

fn address_key(service: &ServiceRule, address: Ipv4Addr) -> SetElement {
    SetElement::concat([
        SetElement::ipv4(address),
        SetElement::inet_proto(number(service.protocol)),
        SetElement::port(service.port),
    ])
}

fn port_key(service: &ServiceRule, port: u16) -> SetElement {
    SetElement::concat([SetElement::inet_proto(number(service.protocol)), SetElement::port(port)])
}

/// Returns the keys of a service: of each of its addresses, and of its node port if it has one.
fn keys(service: &ServiceRule) -> (Vec<SetElement>, Vec<SetElement>) {
    let addresses = service.addresses.iter().map(|address| address_key(service, *address));
    (addresses.collect(), service.node_port.iter().map(|port| port_key(service, *port)).collect())
}

fn goto(name: &str) -> Result<Verdict> {
    Ok(Verdict::GotoTo(ChainName::new(name)?))
}

/// The chains of a service that choose an endpoint, each with the endpoints that it chooses from.
/// One may lead to those after it.
fn choosers<'a>(names: &Names, service: &'a ServiceRule) -> Vec<(String, &'a [(Ipv4Addr, u16)])> {
    let mut chains = Vec::new();
    if service.node_port.is_some()
        && let Some(local) = &service.local_endpoints
    {
        chains.push((names.node_port(), local.as_slice()));
    }
    if let Some(all) = &service.all_endpoints {
        chains.push((names.external(), all.as_slice()));
    }
    chains.push((names.cluster(), service.endpoints.as_slice()));
    chains
}

/// Returns whether a service has a chain that marks connections for masquerading: those to a node
/// port or an external address may leave for another node. With `externalTrafficPolicy: Local` the
/// client keeps its address.
fn is_marked(service: &ServiceRule) -> bool {
    service.local_endpoints.is_none() && (service.node_port.is_some() || service.addresses.len() > 1)
}

/// The addresses of a service, each with the chain that serves it: the first is the cluster IP.
/// External and load-balancer addresses mark for masquerading also what comes from pods, as
/// upstream's external chains do.
fn entries(names: &Names, service: &ServiceRule) -> Vec<(Ipv4Addr, String)> {
    let external = match is_marked(service) {
        true => names.node_port(),
        false => names.everywhere(service),
    };
    let chains = std::iter::once(names.cluster()).chain(std::iter::repeat(external));
    service.addresses.iter().copied().zip(chains).collect()
}

/// Elements of `vips`.
fn served(names: &Names, service: &ServiceRule) -> Result<Vec<SetElement>> {
    let entries = entries(names, service).into_iter();
    entries.map(|(address, chain)| Ok(address_key(service, address).verdict(goto(&chain)?))).collect()
}

/// The rules of a node port with `externalTrafficPolicy: Local` for clients inside the cluster,
/// whom the policy does not bind: pods of this node, and the node itself, reach the endpoints of
/// all nodes, as if they had gone out to a load balancer and come back. A pod of another node
/// counts as outside: its answers would not come back through this node. The node's own addresses
/// are named: upstream's `fib saddr type local` needs a kernel module, without which the kernel
/// would refuse the rules of all services.
fn inside(node: u8, entry: &str, everywhere: &str) -> Result<[Rule; 3]> {
    let pods = rule(entry).match_saddr_v4(pods(node), 24);
    let own = |address, prefix| {
        let rule = rule(entry).match_saddr_v4(address, prefix);
        rule.set_mark_masked(MASQUERADE, MASQUERADE).try_goto(everywhere)
    };
    let (address, loopback) = (own(node_ip(node), 32)?, own(Ipv4Addr::new(127, 0, 0, 0), 8)?);
    Ok([pods.try_goto(everywhere)?, address, loopback])
}

fn add(
    mut t: Transaction,
    node: u8,
    index: u32,
    service: &ServiceRule,
    before: &BTreeSet<(Ipv4Addr, u16)>,
) -> Result<Transaction> {
    let names = Names(index);
    if service.everywhere().is_empty() {
        let (addresses, ports) = keys(service);
        return Ok(add_elements(add_elements(t, &refused(), &addresses), &refused_ports(), &ports));
    }
    if let Some(seconds) = service.affinity_seconds {
        let memory = Duration::from_secs(seconds.into());
        for endpoint in service.used().difference(before) {
            t = remember(t, &names, service, *endpoint, memory)?;
        }
    }
    for (name, endpoints) in choosers(&names, service).into_iter().rev() {
        t = t.add_chain(chain(&name)?);
        if name == names.node_port() {
            for shortcut in inside(node, &name, &names.everywhere(service))? {
                t = t.add_rule(shortcut);
            }
        }
        t = match (endpoints, service.affinity_seconds) {
            // A policy of Local, and no endpoint here: silence, as upstream.
            ([], _) => t.add_rule(rule(&name).drop()),
            (endpoints, None) => balance(t, &name, endpoints),
            (endpoints, Some(_)) => stick(t, &names, &name, endpoints)?,
        };
    }
    let entry = names.node_port();
    // externalTrafficPolicy: Local keeps the client's address: the answer comes back through this
    // node anyway.
    if is_marked(service) {
        let marked = rule(&entry).set_mark_masked(MASQUERADE, MASQUERADE);
        t = t.add_chain(chain(&entry)?).add_rule(marked.try_goto(&names.everywhere(service))?);
    }
    t = add_elements(t, &vips(), &served(&names, service)?);
    let Some(port) = service.node_port else { return Ok(t) };
    Ok(t.add_set_elements(&node_ports(), &[port_key(service, port).verdict(goto(&entry)?)]))
}

/// Makes the rule that chooses one of the endpoints by chance.
///
/// Of three endpoints each gets about a third of the connections, however busy it is. A connection
/// keeps its endpoint until it ends: a client that keeps one open is not balanced at all.
fn balance(t: Transaction, chain: &str, endpoints: &[(Ipv4Addr, u16)]) -> Transaction {
    let elements: Vec<SetElement> = (0u32..)
        .zip(endpoints)
        .map(|(index, (ip, port))| {
            SetElement::mark(index)
                .value(SetElement::concat([SetElement::ipv4(*ip), SetElement::port(*port)]))
        })
        .collect();
    let choice = Names::choice(chain);
    let chosen = rule(chain)
        .expr(by_chance(endpoints.len()))
        .expr(Expr::Lookup(LookupExpr::new(&choice, Register::R0).dreg(Register::R1)))
        .expr(nft::dnat_to(Register::R1, Register::Reg32_05)); // R1 is the four words from Reg32_04
    let map = endpoint_map(&choice);
    add_elements(t.add_set(map.clone()), &map, &elements).add_rule(chosen)
}

fn by_chance(count: usize) -> Expr {
    Expr::Numgen { dreg: Register::R0, kind: NumgenKind::Random, modulus: count as u32, offset: 0 }
}

/// Makes the chain that leads to one endpoint and remembers its clients.
fn remember(
    t: Transaction,
    names: &Names,
    service: &ServiceRule,
    endpoint: (Ipv4Addr, u16),
    memory: Duration,
) -> Result<Transaction> {
    let (clients, sticky) = (names.clients(endpoint), names.sticky(endpoint));
    let known = Set::new(TABLE, &clients).family(Family::Ip).key_type(SetKeyType::Ipv4Addr);
    Ok(t.add_chain(chain(&sticky)?)
        .add_set(known.dynamic().timeout(memory).size(CLIENTS_MAX))
        .add_rule(rule(&sticky).update_in_set(PacketField::Ip4Saddr, &clients, Some(memory)))
        .add_rule(rule(&sticky).match_l4proto(number(service.protocol)).dnat(endpoint.0, Some(endpoint.1))))
}

/// Makes the chain that leads a client to the endpoint that remembers it, or to one by chance,
/// which will remember it.
fn stick(
    mut t: Transaction,
    names: &Names,
    chain: &str,
    endpoints: &[(Ipv4Addr, u16)],
) -> Result<Transaction> {
    let name = Names::choice(chain);
    let choice = numbered(&name).vmap();
    let elements = (0u32..).zip(endpoints);
    let elements: Result<Vec<SetElement>> = elements
        .map(|(index, endpoint)| Ok(SetElement::mark(index).verdict(goto(&names.sticky(*endpoint))?)))
        .collect();
    t = add_elements(t.add_set(choice.clone()), &choice, &elements?);
    for endpoint in endpoints {
        let known = rule(chain).match_saddr_in_set(&names.clients(*endpoint));
        t = t.add_rule(known.try_goto(&names.sticky(*endpoint))?);
    }
    let chosen = rule(chain)
        .expr(by_chance(endpoints.len()))
        .expr(Expr::Lookup(LookupExpr::new(&name, Register::R0).dreg(Register::Verdict)));
    Ok(t.add_rule(chosen))
}

/// Returns the elements of a map that lead to the chains of endpoints. A kernel before Linux 6.4
/// (without the stable fixes of 2023) does not count them as gone with their map until the
/// transaction is over, and refuses to delete the chains in it (EBUSY).
fn sticky_choices(service: &ServiceRule, endpoints: &[(Ipv4Addr, u16)]) -> Vec<SetElement> {
    let count = if service.affinity_seconds.is_some() { endpoints.len() } else { 0 };
    (0u32..).take(count).map(SetElement::mark).collect()
}

/// Takes a service's parts away; what is used comes after what uses it. Endpoints in `staying` keep
/// their clients.
fn remove(
    mut t: Transaction,
    index: u32,
    service: &ServiceRule,
    staying: &BTreeSet<(Ipv4Addr, u16)>,
) -> Result<Transaction> {
    let names = Names(index);
    let (addresses, ports) = keys(service);
    if service.everywhere().is_empty() {
        return Ok(remove_elements(remove_elements(t, &refused(), &addresses), &refused_ports(), &ports));
    }
    let family = Family::Ip;
    t = remove_elements(remove_elements(t, &vips(), &addresses), &node_ports(), &ports);
    if is_marked(service) {
        t = t.del_chain(TABLE, &names.node_port(), family);
    }
    for (name, endpoints) in choosers(&names, service) {
        t = t.del_chain(TABLE, &name, family);
        if !endpoints.is_empty() {
            let choice = Names::choice(&name);
            t = remove_elements(t, &numbered(&choice).vmap(), &sticky_choices(service, endpoints));
            t = t.del_set(TABLE, &choice, family);
        }
    }
    if service.affinity_seconds.is_some() {
        for endpoint in service.used().difference(staying) {
            let (clients, sticky) = (names.clients(*endpoint), names.sticky(*endpoint));
            t = t.del_chain(TABLE, &sticky, family).del_set(TABLE, &clients, family);
        }
    }
    Ok(t)
}

#[cfg(test)]
mod tests;
