//! Services as nftables: one table per node, changed by transactions that the kernel takes whole or not at all.
//!
//! ```text
//! map vips      { 10.96.0.10 . tcp . 80 : goto s0 }         # a connection's first packet finds its service by one look-up
//! map nodeports { tcp . 30080 : goto x0 }                   # x0 marks for masquerading, then goes to s0
//! set refused   { 10.96.0.11 . tcp . 80 }                   # services without endpoints: an answer, not silence
//! map e0        { 0 : 10.244.1.2 . 8080, 1 : … }            # s0: dnat ip to numgen random mod 2 map @e0
//! set a1_0af4…  { clients of one endpoint, with timeout }    # s1: sessionAffinity: ClientIP
//! set hairpin   { podIP . podIP }                           # a pod that reaches itself through a service needs another source
//! ```

use super::nft::{self, Nft, Transaction};
use super::plan::Change;
use crate::cni::{Protocol, ServiceRule};
use nlink::Result;
use nlink::netlink::nftables::{
    BaseChain, Chain, ChainName, CtState, CtStatus, Expr, Family, FibFlags, FilterHook, LookupExpr, NatHook,
    NumgenKind, PacketField, Priority, Register, Rule, Set, SetDataType, SetElement, SetKeyType, Verdict,
};
use nlink::netlink::types::route::RouteType;
use std::net::Ipv4Addr;
use std::time::Duration;

const TABLE: &str = "rw-proxy";
/// Connections with this mark get the node's address as their source.
const MASQUERADE: u32 = 0x4000;
/// Clients that one endpoint's affinity remembers; more are served without.
const CLIENTS_MAX: u32 = 65536;

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

/// A transaction that makes the table anew, without services. `node` is the third number of the pods' addresses.
pub fn base(connection: &Nft, node: u8) -> Result<Transaction> {
    let mut t = nft::anew(connection, TABLE).add_chain(chain("services")?);
    for (hook, name, priority) in [
        (NatHook::Prerouting, "prerouting", Priority::DstNat),
        (NatHook::Output, "output", Priority::DstNat),
        (NatHook::Postrouting, "postrouting", Priority::SrcNat),
    ] {
        t = t.add_chain(chain(name)?.base(BaseChain::nat(hook, priority)));
    }
    t = t.add_set(vips()).add_set(node_ports()).add_set(refused()).add_set(hairpin());
    let pods: Vec<SetElement> = (2..=254)
        .map(|host| Ipv4Addr::new(10, 244, node, host))
        .map(|pod| nft::pair(pod, pod))
        .collect();
    t = t.add_set_elements(&hairpin(), &pods);
    t = t
        .add_rule(address_rule("services").expr(Expr::Lookup(LookupExpr::new("vips", Register::R0).dreg(Register::Verdict))))
        .add_rule(
            rule("services")
                .match_fib_type(FibFlags::DADDR, RouteType::Local)
                .expr(nft::load_protocol(Register::R0))
                .expr(nft::load_port(Register::Reg32_01))
                .expr(Expr::Lookup(LookupExpr::new("nodeports", Register::R0).dreg(Register::Verdict))),
        );
    // After the translation, so that only those are left which nobody serves.
    for (name, hook) in [("refuse-forward", FilterHook::Forward), ("refuse-output", FilterHook::Output)] {
        let services = Ipv4Addr::new(10, 96, 0, 0);
        t = t
            .add_chain(chain(name)?.base(BaseChain::filter(hook, Priority::Custom(-90))))
            .add_rule(address_rule(name).expr(Expr::Lookup(LookupExpr::new("refused", Register::R0))).reject())
            .add_rule(rule(name).match_ct_state(CtState::NEW).match_daddr_v4(services, 12).reject());
    }
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

/// Loads destination address, protocol and port, ready for a look-up.
fn address_rule(chain: &str) -> Rule {
    rule(chain)
        .expr(nft::load_destination(Register::R0))
        .expr(nft::load_protocol(Register::Reg32_01))
        .expr(nft::load_port(Register::Reg32_02))
}

/// Adds changes to a transaction: first everything that goes, then everything that comes.
pub fn apply(mut t: Transaction, changes: &[Change]) -> Result<Transaction> {
    for change in changes {
        match change {
            Change::Remove { number, old } => t = remove(t, *number, old, &[])?,
            Change::Replace { number, old, new } => t = remove(t, *number, old, &new.endpoints)?,
            Change::Add { .. } => {}
        }
    }
    for change in changes {
        match change {
            Change::Add { number, new } => t = add(t, *number, new, &[])?,
            Change::Replace { number, old, new } => t = add(t, *number, new, &old.endpoints)?,
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
    fn node_port(&self) -> String {
        format!("x{}", self.0)
    }
    fn endpoints(&self) -> String {
        format!("e{}", self.0)
    }
    fn local_endpoints(&self) -> String {
        format!("l{}", self.0)
    }
    fn choice(&self) -> String {
        format!("v{}", self.0)
    }
    fn clients(&self, (ip, port): (Ipv4Addr, u16)) -> String {
        format!("a{}_{:08x}{port:04x}", self.0, u32::from(ip))
    }
    fn sticky(&self, (ip, port): (Ipv4Addr, u16)) -> String {
        format!("s{}_{:08x}{port:04x}", self.0, u32::from(ip))
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

fn goto(name: &str) -> Result<Verdict> {
    Ok(Verdict::GotoTo(ChainName::new(name)?))
}

/// Whether a connection to the node port ends anywhere (if only in a rule that drops it).
fn serves_node_port(service: &ServiceRule) -> bool {
    service.node_port.is_some() && !service.endpoints.is_empty()
}

fn add(mut t: Transaction, index: u32, service: &ServiceRule, before: &[(Ipv4Addr, u16)]) -> Result<Transaction> {
    let names = Names(index);
    let keys = |service: &ServiceRule| -> Vec<SetElement> {
        service.addresses.iter().map(|address| address_key(service, *address)).collect()
    };
    if service.endpoints.is_empty() {
        return Ok(t.add_set_elements(&refused(), &keys(service)));
    }
    let cluster = names.cluster();
    t = t.add_chain(chain(&cluster)?);
    t = match service.affinity_seconds {
        None => balance(t, &cluster, &names.endpoints(), &service.endpoints),
        Some(seconds) => stick(t, &names, service, Duration::from_secs(seconds.into()), before)?,
    };
    let elements = keys(service).into_iter().map(|key| Ok(key.verdict(goto(&cluster)?)));
    t = t.add_set_elements(&vips(), &elements.collect::<Result<Vec<_>>>()?);
    let Some(port) = service.node_port else { return Ok(t) };
    let entry = names.node_port();
    t = t.add_chain(chain(&entry)?);
    t = match &service.local_endpoints {
        // externalTrafficPolicy: Local keeps the client's address: the answer comes back through this node anyway.
        Some(local) if local.is_empty() => t.add_rule(rule(&entry).drop()),
        Some(local) => balance(t, &entry, &names.local_endpoints(), local),
        None => {
            let marked = rule(&entry).set_mark_masked(MASQUERADE, MASQUERADE);
            t.add_rule(marked.try_goto(&cluster)?)
        }
    };
    Ok(t.add_set_elements(&node_ports(), &[port_key(service, port).verdict(goto(&entry)?)]))
}

/// One of the endpoints, by chance.
fn balance(t: Transaction, chain: &str, map: &str, endpoints: &[(Ipv4Addr, u16)]) -> Transaction {
    let elements: Vec<SetElement> = (0u32..)
        .zip(endpoints)
        .map(|(index, (ip, port))| {
            SetElement::mark(index).value(SetElement::concat([SetElement::ipv4(*ip), SetElement::port(*port)]))
        })
        .collect();
    let chosen = rule(chain)
        .expr(by_chance(endpoints.len()))
        .expr(Expr::Lookup(LookupExpr::new(map, Register::R0).dreg(Register::R1)))
        .expr(nft::dnat_to(Register::R1, Register::Reg32_05)); // R1 is the four words from Reg32_04
    let map = endpoint_map(map);
    t.add_set(map.clone()).add_set_elements(&map, &elements).add_rule(chosen)
}

fn by_chance(count: usize) -> Expr {
    Expr::Numgen { dreg: Register::R0, kind: NumgenKind::Random, modulus: count as u32, offset: 0 }
}

/// The endpoint that knows this client, else one by chance, which will know it. Endpoints that were there `before` keep theirs.
fn stick(
    mut t: Transaction,
    names: &Names,
    service: &ServiceRule,
    memory: Duration,
    before: &[(Ipv4Addr, u16)],
) -> Result<Transaction> {
    let choice = numbered(&names.choice()).vmap();
    let mut elements = Vec::new();
    for (index, endpoint) in (0u32..).zip(&service.endpoints) {
        let (clients, sticky) = (names.clients(*endpoint), names.sticky(*endpoint));
        if !before.contains(endpoint) {
            let known = Set::new(TABLE, &clients).family(Family::Ip).key_type(SetKeyType::Ipv4Addr);
            t = t
                .add_chain(chain(&sticky)?)
                .add_set(known.dynamic().timeout(memory).size(CLIENTS_MAX))
                .add_rule(rule(&sticky).update_in_set(PacketField::Ip4Saddr, &clients, Some(memory)))
                .add_rule(rule(&sticky).match_l4proto(number(service.protocol)).dnat(endpoint.0, Some(endpoint.1)));
        }
        elements.push(SetElement::mark(index).verdict(goto(&sticky)?));
    }
    t = t.add_set(choice.clone()).add_set_elements(&choice, &elements);
    for endpoint in &service.endpoints {
        let known = rule(&names.cluster()).match_saddr_in_set(&names.clients(*endpoint));
        t = t.add_rule(known.try_goto(&names.sticky(*endpoint))?);
    }
    let chosen = rule(&names.cluster())
        .expr(by_chance(service.endpoints.len()))
        .expr(Expr::Lookup(LookupExpr::new(&names.choice(), Register::R0).dreg(Register::Verdict)));
    Ok(t.add_rule(chosen))
}

/// Takes a service's parts away; what is used comes after what uses it. Endpoints in `staying` keep their clients.
fn remove(
    mut t: Transaction,
    index: u32,
    service: &ServiceRule,
    staying: &[(Ipv4Addr, u16)],
) -> Result<Transaction> {
    let names = Names(index);
    let keys: Vec<SetElement> = service.addresses.iter().map(|a| address_key(service, *a)).collect();
    if service.endpoints.is_empty() {
        return Ok(t.del_set_elements(&refused(), &keys));
    }
    let family = Family::Ip;
    t = t.del_set_elements(&vips(), &keys);
    if let Some(port) = service.node_port.filter(|_| serves_node_port(service)) {
        t = t.del_set_elements(&node_ports(), &[port_key(service, port)]).del_chain(TABLE, &names.node_port(), family);
        if service.local_endpoints.as_ref().is_some_and(|local| !local.is_empty()) {
            t = t.del_set(TABLE, &names.local_endpoints(), family);
        }
    }
    t = t.del_chain(TABLE, &names.cluster(), family);
    if service.affinity_seconds.is_none() {
        return Ok(t.del_set(TABLE, &names.endpoints(), family));
    }
    t = t.del_set(TABLE, &names.choice(), family);
    for endpoint in service.endpoints.iter().filter(|e| !staying.contains(e)) {
        t = t.del_chain(TABLE, &names.sticky(*endpoint), family).del_set(TABLE, &names.clients(*endpoint), family);
    }
    Ok(t)
}
