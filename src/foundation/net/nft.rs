//! Small parts of nftables that nlink leaves to us.

use nlink::netlink::nftables::{
    BaseChain, ByteorderOp, Chain, CmpOp, Expr, Family, FilterHook, MetaKey, NFT_MSG_NEWTABLE, NumgenKind,
    PayloadBase, Priority, RawExpr, RawMessage, Register, Rule, SetElement,
};
use nlink::netlink::{Connection, Nftables};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

pub(crate) use nlink::netlink::nftables::Transaction;
pub(crate) type Nft = Connection<Nftables>;

/// Bytes that one transaction may have, at least: it is a single message, and the kernel takes
/// twice as much.
const SEND_BUFFER: usize = 4 << 20;

pub(crate) fn open(namespace: impl AsFd) -> nlink::Result<Nft> {
    use nix::sys::socket::{setsockopt, sockopt};
    let connection = Nft::new_in(namespace.as_fd())?;
    let socket = connection.socket().as_fd();
    // The forced variant needs rights on the machine, which root has; the other ends at a limit of
    // the machine's (net.core.wmem_max, 208 KiB).
    if setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        let _ = setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER);
    }
    Ok(connection)
}

/// Starts a transaction with an empty table of that name, whatever was there. (`destroy table`
/// needs Linux 6.3; an `add` of a table that exists is only an error with NLM_F_EXCL, which nlink
/// sets.)
pub(crate) fn anew(connection: &Nft, table: &str) -> Transaction {
    let mut name = Vec::new();
    name.extend((table.len() as u16 + 5).to_ne_bytes());
    name.extend(1u16.to_ne_bytes()); // NFTA_TABLE_NAME
    name.extend(table.bytes());
    name.resize(name.len() + 4 - table.len() % 4, 0);
    let ensure =
        RawMessage::new(NFT_MSG_NEWTABLE, Family::Ip).flags(nix::libc::NLM_F_CREATE as u16).attrs(name);
    connection.transaction().raw(ensure).del_table(table, Family::Ip).add_table(table, Family::Ip)
}

/// `dnat to` the address and port in two registers; `NatRegs` of nlink cannot be made outside of
/// it.
pub(crate) fn dnat_to(address: Register, port: Register) -> Expr {
    let mut attributes = Vec::new();
    let mut put = |kind: u16, value: u32| {
        attributes.extend(8u16.to_ne_bytes());
        attributes.extend(kind.to_ne_bytes());
        attributes.extend(value.to_be_bytes());
    };
    put(1, 1); // NFTA_NAT_TYPE = NFT_NAT_DNAT
    put(2, nix::libc::NFPROTO_IPV4 as u32); // NFTA_NAT_FAMILY
    put(3, address as u32);
    put(4, address as u32);
    put(5, port as u32);
    put(6, port as u32);
    put(7, 1 | 2); // NFTA_NAT_FLAGS = MAP_IPS | PROTO_SPECIFIED
    Expr::Raw(RawExpr::new("nat", attributes))
}

pub(crate) fn load(base: PayloadBase, offset: u32, len: u32, dreg: Register) -> Expr {
    Expr::Payload { dreg, base, offset, len }
}

pub(crate) fn load_source(dreg: Register) -> Expr {
    load(PayloadBase::Network, 12, 4, dreg)
}

pub(crate) fn load_destination(dreg: Register) -> Expr {
    load(PayloadBase::Network, 16, 4, dreg)
}

pub(crate) fn load_protocol(dreg: Register) -> Expr {
    Expr::Meta { dreg, key: MetaKey::L4Proto }
}

pub(crate) fn load_port(dreg: Register) -> Expr {
    load(PayloadBase::Transport, 2, 2, dreg)
}

pub(crate) fn pair(a: Ipv4Addr, b: Ipv4Addr) -> SetElement {
    SetElement::concat([SetElement::ipv4(a), SetElement::ipv4(b)])
}

/// A table that drops a share, in percent, of what comes from other nodes and their /24 of pods.
pub(crate) fn drop_between(
    connection: &Nft,
    table: &str,
    others: impl Iterator<Item = (Ipv4Addr, Ipv4Addr, f64)>,
) -> nlink::Result<Transaction> {
    let chain = BaseChain::filter(FilterHook::Prerouting, Priority::Raw);
    let mut transaction =
        anew(connection, table).add_chain(Chain::new(table, "loss")?.family(Family::Ip).base(chain));
    for (node, pods, percent) in others {
        for (address, prefix) in [(node, 32), (pods, 24)] {
            let mut rule = Rule::new(table, "loss").family(Family::Ip).match_saddr_v4(address, prefix);
            if percent < 100.0 {
                rule = rule.expr(dice()).expr(comparable()).expr(below(losing_sides(percent)));
            }
            transaction = transaction.add_rule(rule.drop());
        }
    }
    Ok(transaction)
}

/// A die with this many sides decides about each packet.
const SIDES: u32 = 10_000;

/// Returns how many sides of the die lose a packet, for a share of more than 0 and less than 100
/// percent: at least one and not all, so that a link that is listed as lossy is.
///
/// 50 % are 5000 of 10000 sides, 0.001 % is 1.
fn losing_sides(percent: f64) -> u32 {
    ((percent * f64::from(SIDES) / 100.0).round() as u32).clamp(1, SIDES - 1)
}

fn dice() -> Expr {
    Expr::Numgen { dreg: Register::R0, kind: NumgenKind::Random, modulus: SIDES, offset: 0 }
}

/// Numbers are compared byte by byte, the greatest first.
fn comparable() -> Expr {
    Expr::Byteorder { sreg: Register::R0, dreg: Register::R0, op: ByteorderOp::Hton, len: 4, size: 4 }
}

fn below(n: u32) -> Expr {
    Expr::Cmp { sreg: Register::R0, op: CmpOp::Lt, data: n.to_be_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_loss_loses_something_and_the_greatest_lets_something_through() {
        let cases = [(0.001, 1), (0.01, 1), (0.29, 29), (50.0, 5_000), (99.99, 9_999), (99.999, 9_999)];
        for (percent, sides) in cases {
            assert_eq!(losing_sides(percent), sides, "{percent} %");
        }
    }
}
