//! `--resolve`: addresses of hosts that no server is asked for.

use super::faults::{Fault, fault};
use std::net::IpAddr;

/// The addresses that the user gave, the last ones of each host and port.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pins(Vec<Pin>);

#[derive(Debug, PartialEq, Eq)]
struct Pin {
    /// In lower case, or `*` for every host.
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl Pins {
    /// Reads `HOST:PORT:ADDRESS[,ADDRESS]...`, and `-HOST:PORT`, which takes one back. A `+` in
    /// front gives them a time to live in curl; a call is too short for that.
    ///
    /// # Errors
    /// An entry that has another form (49).
    pub(super) fn parse(entries: &[String]) -> Result<Pins, Fault> {
        let mut pins: Vec<Pin> = Vec::new();
        for entry in entries {
            let (text, is_removed) = match entry.strip_prefix('-') {
                Some(text) => (text, true),
                None => (entry.strip_prefix('+').unwrap_or(entry), false),
            };
            match Pin::parse(text, is_removed) {
                Some(pin) => {
                    pins.retain(|known| (&known.host, known.port) != (&pin.host, pin.port));
                    pins.extend((!is_removed).then_some(pin));
                }
                // curl drops such an entry.
                None if is_removed => {}
                None => return Err(fault(49, format!("Couldn't parse CURLOPT_RESOLVE entry '{entry}'"))),
            }
        }
        Ok(Pins(pins))
    }

    /// Returns the addresses of a host and a port. One that is named counts more than `*`.
    pub(super) fn addresses(&self, host: &str, port: u16) -> Option<&[IpAddr]> {
        let found = |is_meant: &dyn Fn(&str) -> bool| {
            self.0.iter().find(|pin| pin.port == port && is_meant(&pin.host)).map(|pin| &pin.addresses[..])
        };
        found(&|known: &str| known.eq_ignore_ascii_case(host)).or_else(|| found(&|known: &str| known == "*"))
    }

    /// Returns the entries as `-v` shows them.
    pub(super) fn entries(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|pin| {
            let addresses: Vec<String> = pin.addresses.iter().map(IpAddr::to_string).collect();
            format!("{}:{}:{}", pin.host, pin.port, addresses.join(","))
        })
    }
}

impl Pin {
    fn parse(text: &str, is_removed: bool) -> Option<Pin> {
        let (host, rest) = text.split_once(':').filter(|(host, _)| !host.is_empty())?;
        let (port, addresses) = match rest.split_once(':') {
            Some((port, addresses)) => (port, Some(addresses)),
            None => (rest, None),
        };
        let addresses = match addresses.filter(|_| !is_removed) {
            Some(addresses) => addresses.split(',').map(parse_address).collect::<Option<Vec<IpAddr>>>()?,
            None if is_removed => Vec::new(),
            None => return None,
        };
        Some(Pin { host: host.to_ascii_lowercase(), port: port.parse().ok()?, addresses })
    }
}

/// Returns an address; brackets may stand around it.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(entries: &[&str]) -> Result<Pins, Fault> {
        Pins::parse(&entries.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_entry_of_a_host_counts() {
        let found = |entries: &[&str], host: &str| -> Vec<String> {
            let pins = pins(entries).unwrap();
            pins.addresses(host, 80).unwrap_or_default().iter().map(IpAddr::to_string).collect()
        };
        assert_eq!(found(&["WEB:80:127.0.0.1,[::1]"], "web"), ["127.0.0.1", "::1"]);
        assert_eq!(found(&["web:80:127.0.0.9", "+web:80:127.0.0.1"], "Web"), ["127.0.0.1"]);
        assert_eq!(found(&["*:80:127.0.0.9", "web:80:127.0.0.1"], "web"), ["127.0.0.1"]);
        assert_eq!(found(&["*:80:127.0.0.9"], "any"), ["127.0.0.9"]);
        assert_eq!(found(&["web:81:127.0.0.1"], "web"), [""; 0]);
        assert_eq!(found(&["web:80:127.0.0.1", "-web:80"], "web"), [""; 0]);
        assert_eq!(pins(&["web:80:127.0.0.1"]).unwrap().entries().collect::<Vec<_>>(), ["web:80:127.0.0.1"]);
    }

    #[test]
    fn an_entry_has_three_parts() {
        for entry in ["x", "web:80", "web:80:nope", "web:x:127.0.0.1", ":80:127.0.0.1", "web:80:"] {
            let text = format!("Couldn't parse CURLOPT_RESOLVE entry '{entry}'");
            assert_eq!(pins(&[entry]), Err(fault(49, text)));
        }
    }
}
