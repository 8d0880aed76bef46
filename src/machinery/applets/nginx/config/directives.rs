//! The directives that this server knows, and what each does to its server block or location.

use super::super::text::Text;
use super::{Location, Server};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

/// A server block that is read.
#[derive(Default)]
pub(super) struct Open {
    pub server: Server,
    /// Names of directives that were there: those of the open location with `true`.
    seen: BTreeSet<(bool, String)>,
}

impl Open {
    /// Begins a location.
    pub(super) fn begin(&mut self, prefix: &str, exact: bool) -> Result<(), String> {
        let mut locations = self.server.locations.iter();
        if locations.any(|(known, location)| known == prefix && location.exact == exact) {
            return Err(format!("duplicate location \"{prefix}\""));
        }
        self.seen.retain(|(in_location, _)| !*in_location);
        Ok(())
    }

    /// Refuses what nginx refuses: a directive that stands twice in its block, and a wrong number
    /// of words. Refuses variables where nginx fills them in and this server does not. Returns
    /// whether it is the first of its name in its block.
    fn check(&mut self, in_location: bool, name: &str, values: &[&str]) -> Result<bool, String> {
        let expanded = matches!(name, "root" | "index" | "error_page" | "server_name" | "charset");
        if expanded && values.iter().any(|value| value.contains('$') && !value.starts_with('~')) {
            let values = values.join(" ");
            return Err(format!("\"{name} {values}\": Ropewalk's nginx has variables in \"return\" only"));
        }
        let takes_one = matches!(name, "root" | "default_type" | "charset");
        let fits = match name {
            "return" => matches!(values.len(), 1 | 2),
            _ => !takes_one || values.len() == 1,
        };
        if !fits {
            return Err(format!("invalid number of arguments in \"{name}\" directive"));
        }
        let is_first = self.seen.insert((in_location, name.to_string()));
        if takes_one && !is_first {
            return Err(format!("\"{name}\" directive is duplicate"));
        }
        Ok(is_first)
    }
}

/// Directives of nginx that this server lacks, or has with other words or in another place only.
const NOT_HERE: [&str; 10] = [
    "add_header",
    "charset",
    "client_max_body_size",
    "default_type",
    "error_log",
    "error_page",
    "listen",
    "proxy_pass",
    "server_name",
    "try_files",
];

/// Carries one directive out on the open server block, or on the location in it.
///
/// # Errors
/// In nginx' words: it is unknown, stands elsewhere, or has other values than it takes.
pub(super) fn apply(
    open: &mut Open,
    location: Option<&mut (String, Location)>,
    name: &str,
    values: &[&str],
) -> Result<(), String> {
    let is_first = open.check(location.is_some(), name, values)?;
    let server = &mut open.server;
    let here = location.map(|(_, location)| location);
    match (name, values, here) {
        ("listen", [address, parameters @ ..], None) => {
            if is_first {
                server.listens.clear();
            }
            listen(server, address, parameters)?;
        }
        ("server_name", names, None) => server_names(server, names)?,
        ("error_page", [codes @ .., path], None) if !codes.is_empty() && path.starts_with('/') => {
            for code in codes {
                server.error_pages.push((error_code(code)?, (*path).to_string()));
            }
        }
        ("access_log", [place, format @ ..], here) => {
            let on = access_log(place, format)?;
            match here {
                Some(location) => location.access_log = Some(on),
                None => server.access_log = on,
            }
        }
        // Errors go to standard error whatever the directive says, and there are few of them.
        ("error_log", ["/dev/stderr" | "stderr" | "/var/log/nginx/error.log", levels @ ..], _) => {
            error_levels(levels)?;
        }
        ("charset", ["off"], None) => server.charset = None,
        ("charset", [charset], None) => server.charset = Some((*charset).to_string()),
        ("default_type", [kind], Some(location)) => location.default_type = Some((*kind).to_string()),
        ("default_type", [kind], None) => server.default_type = (*kind).to_string(),
        ("root", [path], Some(location)) => {
            location.root = Some(Path::new(super::super::DIRECTORY).join(path))
        }
        ("root", [path], None) => server.root = Path::new(super::super::DIRECTORY).join(path),
        ("index", [_, ..], here) => {
            let list = match here {
                Some(location) => location.index.get_or_insert_default(),
                None => &mut server.index,
            };
            if is_first {
                list.clear(); // the default is out
            }
            list.extend(values.iter().map(|name| (*name).to_string()));
        }
        ("return", [first, text @ ..], here) => {
            let answer = answer(first, text.first())?;
            let place = match here {
                Some(location) => &mut location.answer,
                None => &mut server.answer,
            };
            place.get_or_insert(answer); // the first one is carried out
        }
        _ if NOT_HERE.contains(&name) => {
            let directive = [&[name][..], values].concat().join(" ");
            return Err(format!("\"{directive}\" is not implemented by Ropewalk's nginx"));
        }
        _ => return Err(format!("unknown directive \"{name}\"")),
    }
    Ok(())
}

/// Checks the levels of `error_log`.
fn error_levels(levels: &[&str]) -> Result<(), String> {
    const KNOWN: [&str; 8] = ["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"];
    match levels.iter().find(|level| !KNOWN.contains(*level)) {
        Some(level) => Err(format!("invalid log level \"{level}\"")),
        None => Ok(()),
    }
}

/// Adds the names of `server_name`.
fn server_names(server: &mut Server, names: &[&str]) -> Result<(), String> {
    if let Some(pattern) = names.iter().find(|name| name.starts_with('~')) {
        return Err(format!("server_name \"{pattern}\": patterns are not implemented by Ropewalk's nginx"));
    }
    for name in names.iter().map(|name| name.to_ascii_lowercase()) {
        match name.strip_prefix('.') {
            // nginx' short form for both.
            Some(bare) => server.names.extend([bare.to_string(), format!("*.{bare}")]),
            None => server.names.push(name),
        }
    }
    Ok(())
}

/// Reads a code of `error_page`.
fn error_code(text: &str) -> Result<u16, String> {
    let code: u32 = text.parse().map_err(|_| format!("invalid value \"{text}\" of \"error_page\""))?;
    let code = u16::try_from(code).ok().filter(|code| (300..600).contains(code));
    code.ok_or_else(|| format!("value \"{text}\" must be between 300 and 599"))
}

/// Returns whether `access_log` turns the log on.
fn access_log(place: &str, format: &[&str]) -> Result<bool, String> {
    match (place, format) {
        ("off", []) => Ok(false),
        ("/dev/stdout" | "/var/log/nginx/access.log", [] | ["combined"]) => Ok(true),
        _ => Err(format!(
            "access_log {}: Ropewalk's nginx logs in the format \"combined\" to /dev/stdout, or not at all (off)",
            [&[place][..], format].concat().join(" ")
        )),
    }
}

/// `return CODE [TEXT]`, or `return URL`.
fn answer(first: &str, text: Option<&&str>) -> Result<(u16, Text), String> {
    let is_url = ["http://", "https://", "$scheme"].iter().any(|start| first.starts_with(start));
    if is_url && text.is_none() {
        return Ok((302, Text::parse(first)?));
    }
    let code = first.parse::<u16>().ok().filter(|code| (200..1000).contains(code));
    let code = code.ok_or_else(|| format!("invalid return code \"{first}\""))?;
    Ok((code, Text::parse(text.copied().unwrap_or_default())?))
}

/// Adds an address of `listen`. One of IPv6 alone adds none.
fn listen(server: &mut Server, address: &str, parameters: &[&str]) -> Result<(), String> {
    for parameter in parameters {
        match (*parameter, parameter.strip_prefix("ipv6only=")) {
            ("default_server", _) | (_, Some("on" | "off")) => {}
            (_, Some(flags)) => return Err(format!("invalid ipv6only flags \"{flags}\"")),
            (other, None) => {
                return Err(format!("\"listen {address} {other}\" is not implemented by Ropewalk's nginx"));
            }
        }
    }
    let (address, written) = match address.strip_prefix("[::]") {
        // This socket takes IPv4, too.
        Some(port) if parameters.contains(&"ipv6only=off") => (format!("*{port}"), address),
        _ => (address.to_string(), address),
    };
    let wrong = |what: &str| format!("{what} in \"{written}\" of the \"listen\" directive");
    let address = address.as_str();
    if address.starts_with('[') {
        return Ok(()); // pods have IPv4 addresses only
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None if address.bytes().all(|b| b.is_ascii_digit()) => ("*", address),
        None => (address, "80"),
    };
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("invalid port"))?;
    let ip: IpAddr = match host {
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        host => host.parse().map_err(|_| wrong("host not found"))?,
    };
    let address = SocketAddr::new(ip, port);
    if server.listens.iter().any(|(known, _)| *known == address) {
        return Err(format!("a duplicate listen {address}"));
    }
    server.listens.push((address, parameters.contains(&"default_server")));
    Ok(())
}
