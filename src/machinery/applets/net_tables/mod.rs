//! `ip`, `ifconfig` and `netstat`: what the pod's network looks like. Of changes `ip` makes those
//! of interfaces: `link add`, `link set up`, `link del`.

mod ifconfig;
mod ip;
mod netstat;

pub(crate) use ifconfig::ifconfig;
pub(crate) use ip::ip;
pub(crate) use netstat::netstat;

use nlink::blocking::Connection;
use nlink::netlink::Route;
use nlink::netlink::messages::{AddressMessage, LinkMessage, NeighborMessage, RouteMessage};
use nlink::netlink::types::addr::Scope;

/// Everything about interfaces that is shown.
struct Network {
    links: Vec<LinkMessage>,
    addresses: Vec<AddressMessage>,
    routes: Vec<RouteMessage>,
    neighbors: Vec<NeighborMessage>,
}

impl Network {
    fn read() -> nlink::Result<Network> {
        let connection = Connection::<Route>::new()?;
        connection.run(|c| {
            Box::pin(async move {
                Ok(Network {
                    links: c.get_links().await?,
                    addresses: c.get_addresses().await?,
                    routes: c.get_routes().await?,
                    neighbors: c.get_neighbors().await?,
                })
            })
        })
    }

    fn link_name(&self, index: u32) -> String {
        let link = self.links.iter().find(|l| l.ifindex() == index);
        link.map_or(format!("if{index}"), |l| l.name_or("?").to_string())
    }

    fn addresses_of(&self, link: &LinkMessage, family: Option<bool>) -> Vec<&AddressMessage> {
        let fits =
            |a: &&AddressMessage| a.ifindex() == link.ifindex() && family.is_none_or(|v4| a.is_ipv4() == v4);
        self.addresses.iter().filter(fits).collect()
    }
}

fn format_hardware_address(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.filter(|b| !b.is_empty()).unwrap_or(&[0; 6]);
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Universe => "global",
        Scope::Site => "site",
        Scope::Link => "link",
        Scope::Host => "host",
        _ => "nowhere",
    }
}
