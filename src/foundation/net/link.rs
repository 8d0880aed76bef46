//! Wires between namespaces.

use super::refused::Refused;
use cni::{Error, Result};
use nlink::netlink::link::VethLink;
use nlink::netlink::neigh::Neighbor;
use nlink::netlink::route::Ipv4Route;
use nlink::netlink::types::link::OperState;
use nlink::netlink::types::route::RouteScope;
use nlink::netlink::{Connection, Route};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The default gateway of every pod. No interface has this address; a neighbour entry of the pod
/// gives it the hardware address of the node's end of the wire.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The hardware address of the node's end of every pod's wire.
pub(crate) const NODE_END: [u8; 6] = [0xee; 6];

/// The hardware address of an interface with this address, so that neighbours need not ask.
///
/// 10.244.1.2 has 0a:58:0a:f4:01:02: the last four bytes are the address.
pub(crate) fn mac(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x0a, 0x58, a, b, c, d]
}

pub(crate) fn open(namespace: impl AsFd) -> Result<Connection<Route>> {
    Connection::<Route>::new_in(namespace.as_fd()).during(|| "cannot open a netlink socket".into())
}

pub(crate) async fn index_of(connection: &Connection<Route>, name: &str) -> Result<u32> {
    let found = connection.get_link_by_name(name).await.during(|| format!("cannot look for {name}"))?;
    let absent =
        || Error::Kernel { what: format!("no interface {name}"), cause: std::io::ErrorKind::NotFound.into() };
    Ok(found.ok_or_else(absent)?.ifindex())
}

/// Makes a wire from `near`'s namespace to `eth0` in another one; returns the index of the near
/// end.
///
/// # Errors
/// The kernel refuses. Then nothing of the wire stays, or a warning says that it does.
pub(crate) async fn wire(
    near: &Connection<Route>,
    name: &str,
    near_mac: Option<[u8; 6]>,
    far: impl AsFd,
    far_mac: [u8; 6],
) -> Result<u32> {
    let mut link = VethLink::new(name, "eth0").peer_address(far_mac).peer_netns_fd(&far);
    if let Some(mac) = near_mac {
        link = link.address(mac);
    }
    near.add_link(link).await.during(|| format!("cannot make the wire {name}"))?;
    let index = index_of(near, name).await;
    if index.is_err()
        && let Err(error) = near.del_link_if_exists(name).await
    {
        tracing::warn!(wire = name, %error, "a wire stays until its far namespace goes");
    }
    index
}

/// Waits until an interface is usable, at most 2 s. The end of a wire that is brought up first
/// becomes usable a moment after the other one; packets before that are lost and sent again after a
/// second. The kernel reports no event on this socket, so the state is polled.
pub(crate) async fn wait_up(connection: &Connection<Route>, index: u32) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        let found = connection.get_link_by_index(index).await.during(|| "cannot look at a wire".into())?;
        if found.is_some_and(|link| link.operstate() == Some(OperState::Up)) {
            return Ok(());
        }
        if Instant::now() >= until {
            let what = "a wire did not come up".to_string();
            return Err(Error::Kernel { what, cause: std::io::ErrorKind::TimedOut.into() });
        }
        clock::pause(Duration::from_micros(200)).await;
    }
}

/// Reaches one address directly through an interface, without ARP.
pub(crate) async fn neighbour(
    connection: &Connection<Route>,
    index: u32,
    ip: Ipv4Addr,
    mac: [u8; 6],
) -> Result<()> {
    let entry = Neighbor::with_index_v4(index, ip).lladdr(mac).permanent();
    connection.replace_neighbor(entry).await.during(|| format!("cannot make {ip} a neighbour"))
}

pub(crate) async fn route_to(connection: &Connection<Route>, index: u32, ip: Ipv4Addr) -> Result<()> {
    let route = Ipv4Route::new(ip, 32).dev_index(index).scope(RouteScope::Link);
    connection.replace_route(route).await.during(|| format!("cannot route {ip}"))
}

pub(crate) async fn down(connection: &Connection<Route>, index: u32) -> Result<()> {
    connection.set_link_down_by_index(index).await.during(|| "cannot take an interface down".into())
}

pub(crate) async fn up(connection: &Connection<Route>, index: u32) -> Result<()> {
    connection.set_link_up_by_index(index).await.during(|| "cannot bring an interface up".into())
}
