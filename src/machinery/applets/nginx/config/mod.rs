//! The part of nginx' configuration language that static servers use. Anything else is refused by
//! name, as nginx refuses what it does not know.

mod directives;
#[cfg(test)]
mod tests;
mod tokens;

use super::text::Text;
use directives::{Open, apply};
use std::cmp::Reverse;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tokens::{Fault, split_tokens};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    pub servers: Vec<Server>,
    /// The files that were read, with their texts.
    pub files: Vec<(PathBuf, String)>,
}

/// One `server` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Addresses to listen on, and whether this server answers there for names that no server has.
    pub listens: Vec<(SocketAddr, bool)>,
    pub names: Vec<String>,
    pub root: PathBuf,
    pub index: Vec<String>,
    /// `return CODE [TEXT]` outside of locations: goes before them.
    pub answer: Option<(u16, Text)>,
    /// Path prefix and what to do there; the longest prefix wins, and before it an exact path.
    pub locations: Vec<(String, Location)>,
    /// `error_page`: codes and the path that is answered with in their stead.
    pub error_pages: Vec<(u16, String)>,
    pub access_log: bool,
    pub charset: Option<String>,
    /// `default_type`: of paths whose ending says nothing.
    pub default_type: String,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listens: vec![(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 80), false)],
            names: Vec::new(),
            root: "/etc/nginx/html".into(),
            index: vec!["index.html".into()],
            answer: None,
            locations: Vec::new(),
            error_pages: Vec::new(),
            access_log: true,
            charset: None,
            // The file nginx.conf of nginx' image says so.
            default_type: "application/octet-stream".into(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Location {
    /// `location = /path`: of this path alone.
    pub exact: bool,
    pub root: Option<PathBuf>,
    pub index: Option<Vec<String>>,
    /// `return CODE [TEXT]`.
    pub answer: Option<(u16, Text)>,
    pub access_log: Option<bool>,
    pub default_type: Option<String>,
}

impl Config {
    /// Returns every address that some server listens on, once.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> =
            self.servers.iter().flat_map(|s| s.listens.iter().map(|(address, _)| *address)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Returns the addresses to bind. One that a wildcard of its port includes has no socket of its
    /// own.
    pub(super) fn sockets(&self) -> Vec<SocketAddr> {
        let all = self.addresses();
        let wildcards: Vec<u16> = all.iter().filter(|a| a.ip().is_unspecified()).map(|a| a.port()).collect();
        all.into_iter().filter(|a| a.ip().is_unspecified() || !wildcards.contains(&a.port())).collect()
    }

    /// Returns the address of a server's `listen` that a connection came to: its own one if there
    /// is such, else that of the socket.
    pub(super) fn address(&self, local: SocketAddr, socket: SocketAddr) -> SocketAddr {
        let mut listens = self.servers.iter().flat_map(|s| &s.listens);
        if listens.any(|(known, _)| *known == local) { local } else { socket }
    }

    /// Returns the server of a request: the one whose name the client asked for, else the default
    /// of that address.
    pub(super) fn server(&self, address: SocketAddr, host: &str) -> Option<&Server> {
        let here = || self.servers.iter().filter(|s| s.listens.iter().any(|(known, _)| *known == address));
        let bare =
            host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(h, _)| h);
        let bare = bare.trim_end_matches('.').to_ascii_lowercase();
        // Of the names that fit the longest one wins, and of equal ones the first.
        let named = |fits: fn(&str, &str) -> bool| {
            let names = here().flat_map(|server| server.names.iter().map(move |name| (name, server)));
            let fitting = names.filter(|(name, _)| fits(name, &bare));
            fitting.min_by_key(|(name, _)| Reverse(name.len())).map(|(_, server)| server)
        };
        named(|name, host| name == host)
            .or_else(|| named(|name, host| name.strip_prefix('*').is_some_and(|end| host.ends_with(end))))
            .or_else(|| {
                named(|name, host| name.strip_suffix('*').is_some_and(|start| host.starts_with(start)))
            })
            .or_else(|| here().find(|s| s.listens.contains(&(address, true))))
            .or_else(|| here().next())
    }
}

/// Where nginx itself looks. Its main file is of other things, too: one that is there is refused,
/// as it would have no effect.
const MAIN_FILE: &str = "nginx.conf";
const FOLDER: &str = "conf.d";

/// Reads every file of `conf.d`, in the order of their names. Errors in nginx' words, with file and
/// line.
pub(super) fn load(directory: &Path) -> Result<Config, String> {
    let main = directory.join(MAIN_FILE);
    if main.exists() {
        return Err(format!(
            "\"{}\" is not read by Ropewalk's nginx: put its server blocks into a file of {}",
            main.display(),
            directory.join(FOLDER).join("*.conf").display()
        ));
    }
    let folder = directory.join(FOLDER);
    let entries =
        std::fs::read_dir(&folder).map_err(|e| format!("open() \"{}\" failed ({e})", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "conf"));
    files.sort();
    let mut config = Config::default();
    for path in files {
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("open() \"{}\" failed ({e})", path.display()))?;
        let read = parse(&text).map_err(|(what, line)| format!("{what} in {}:{line}", path.display()))?;
        config.servers.extend(read.servers);
        config.files.push((path, text));
    }
    for address in config.addresses() {
        let defaults = config.servers.iter().filter(|s| s.listens.contains(&(address, true))).count();
        if defaults > 1 {
            return Err(format!("a duplicate default server for {address}"));
        }
    }
    Ok(config)
}

/// Reads the text of one file.
fn parse(text: &str) -> Result<Config, Fault> {
    let mut servers: Vec<Server> = Vec::new();
    let mut open: Option<Open> = None;
    let mut location: Option<(String, Location)> = None;
    let mut words: Vec<String> = Vec::new();
    let mut last = 1;
    for (token, line) in split_tokens(text)? {
        last = line;
        let directive = std::mem::take(&mut words);
        let unknown = |name: &str| (format!("unknown directive \"{name}\""), line);
        let parts: Vec<&str> = directive.iter().map(String::as_str).collect();
        match (token.as_str(), &parts[..]) {
            ("{", ["server"]) if open.is_none() => open = Some(Open::default()),
            // `^~` keeps patterns out, of which there are none.
            ("{", ["location", how @ .., prefix])
                if matches!(how, [] | ["="] | ["^~"])
                    && open.is_some()
                    && location.is_none()
                    && prefix.starts_with('/') =>
            {
                let exact = *how == ["="];
                if let Some(open) = &mut open {
                    open.begin(prefix, exact).map_err(|what| (what, line))?;
                }
                location = Some(((*prefix).to_string(), Location { exact, ..Location::default() }));
            }
            ("{", ["location", ..]) => {
                return Err(("this nginx knows \"location [= | ^~] /path\" only".into(), line));
            }
            ("{", [name, ..]) => return Err(unknown(name)),
            ("}", []) if location.is_some() => {
                if let (Some(open), Some(done)) = (&mut open, location.take()) {
                    open.server.locations.push(done);
                }
            }
            ("}", []) if open.is_some() => {
                let server = open.take().map(|open| open.server);
                if server.as_ref().is_some_and(|server| server.listens.is_empty()) {
                    let what = "this server listens on IPv6 only, which pods do not have: add \"listen 80;\"";
                    return Err((what.into(), line));
                }
                servers.extend(server);
            }
            (";", [name, values @ ..]) => match &mut open {
                Some(open) => apply(open, location.as_mut(), name, values).map_err(|what| (what, line))?,
                None => return Err(unknown(name)),
            },
            ("{" | "}" | ";", _) => return Err((format!("unexpected \"{token}\""), line)),
            _ => {
                words = directive;
                words.push(token);
            }
        }
    }
    if open.is_some() || !words.is_empty() {
        return Err(("unexpected end of file, expecting \"}\"".into(), last));
    }
    for server in &mut servers {
        server.locations.sort_by_key(|(prefix, location)| (Reverse(prefix.len()), !location.exact));
    }
    Ok(Config { servers, files: Vec::new() })
}
