//! The part of nginx' configuration language that static servers use. Anything else is refused by
//! name, as nginx refuses what it does not know.

#[cfg(test)]
mod tests;

use super::text::Text;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

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
            default_type: "application/octet-stream".into(), // as the file nginx.conf of nginx' image says
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
    /// Every address that some server listens on, once.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> =
            self.servers.iter().flat_map(|s| s.listens.iter().map(|(address, _)| *address)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The addresses to bind. One that a wildcard of its port includes has no socket of its own.
    pub(super) fn sockets(&self) -> Vec<SocketAddr> {
        let all = self.addresses();
        let wildcards: Vec<u16> = all.iter().filter(|a| a.ip().is_unspecified()).map(|a| a.port()).collect();
        all.into_iter().filter(|a| a.ip().is_unspecified() || !wildcards.contains(&a.port())).collect()
    }

    /// The address of a server's `listen` that a connection came to: its own one if there is such,
    /// else that of the socket.
    pub(super) fn address(&self, local: SocketAddr, socket: SocketAddr) -> SocketAddr {
        let mut listens = self.servers.iter().flat_map(|s| &s.listens);
        if listens.any(|(known, _)| *known == local) { local } else { socket }
    }

    /// The server of a request: the one whose name the client asked for, else the default of that
    /// address.
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

type Fault = (String, usize);

/// Words, `{`, `}` and `;` with their lines. Quotes hold a word together, over lines too, `#`
/// starts a comment.
fn tokens(text: &str) -> Result<Vec<(String, usize)>, Fault> {
    let mut found = Vec::new();
    let (mut line, mut quote) = (1, None);
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let at = line;
        line += usize::from(c == '\n');
        match (quote, c) {
            (_, '\\') => {
                let into = word.get_or_insert_default();
                match chars.next() {
                    Some('n') => into.push('\n'),
                    Some('t') => into.push('\t'),
                    Some('r') => into.push('\r'),
                    Some(c @ ('"' | '\'' | '\\')) => into.push(c),
                    other => {
                        into.push('\\');
                        into.extend(other);
                    }
                }
            }
            (Some(q), _) if c == q => {
                quote = None;
                let behind = chars.peek().copied();
                let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '{' | ')');
                if let Some(c) = behind.filter(|c| !ends(*c)) {
                    return Err((format!("unexpected \"{c}\""), line));
                }
            }
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') if word.is_none() => {
                quote = Some(c);
                word = Some(String::new());
            }
            (None, '#') if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            (None, '{') if word.as_ref().is_some_and(|w| w.ends_with('$')) => {
                // `${name}`
                let into = word.get_or_insert_default();
                into.push('{');
                while let Some(c) = chars.next_if(|c| !matches!(c, '\n' | ';')) {
                    into.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            (None, '{' | '}' | ';') => {
                found.extend(word.take().map(|w| (w, at)));
                found.push((c.to_string(), at));
            }
            (None, _) if c.is_whitespace() => found.extend(word.take().map(|w| (w, at))),
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(("unexpected end of file, expecting a closing quote".into(), line));
    }
    found.extend(word.take().map(|w| (w, line)));
    Ok(found)
}

/// A server block that is read.
#[derive(Default)]
struct Open {
    server: Server,
    /// Names of directives that were there: those of the open location with `true`.
    said: BTreeSet<(bool, String)>,
}

impl Open {
    /// Begins a location.
    fn begin(&mut self, prefix: &str, exact: bool) -> Result<(), String> {
        let mut locations = self.server.locations.iter();
        if locations.any(|(known, location)| known == prefix && location.exact == exact) {
            return Err(format!("duplicate location \"{prefix}\""));
        }
        self.said.retain(|(in_location, _)| !*in_location);
        Ok(())
    }

    /// Refuses what nginx refuses: a directive that stands twice in its block, and a wrong number
    /// of words. Refuses variables where nginx fills them in and this server does not. Returns
    /// whether it is the first of its name in its block.
    fn check(&mut self, in_location: bool, name: &str, values: &[&str]) -> Result<bool, String> {
        let expanded = matches!(name, "root" | "index" | "error_page" | "server_name" | "charset");
        if expanded && values.iter().any(|value| value.contains('$') && !value.starts_with('~')) {
            let said = values.join(" ");
            return Err(format!("\"{name} {said}\": Ropewalk's nginx has variables in \"return\" only"));
        }
        let takes_one = matches!(name, "root" | "default_type" | "charset");
        let fits = match name {
            "return" => matches!(values.len(), 1 | 2),
            _ => !takes_one || values.len() == 1,
        };
        if !fits {
            return Err(format!("invalid number of arguments in \"{name}\" directive"));
        }
        let is_first = self.said.insert((in_location, name.to_string()));
        if takes_one && !is_first {
            return Err(format!("\"{name}\" directive is duplicate"));
        }
        Ok(is_first)
    }
}

fn parse(text: &str) -> Result<Config, Fault> {
    let mut servers: Vec<Server> = Vec::new();
    let mut open: Option<Open> = None;
    let mut location: Option<(String, Location)> = None;
    let mut words: Vec<String> = Vec::new();
    let mut last = 1;
    for (token, line) in tokens(text)? {
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

fn apply(
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
        // Errors go there whatever is said, and there are few of them.
        ("error_log", ["/dev/stderr" | "stderr" | "/var/log/nginx/error.log", levels @ ..], _) => {
            error_levels(levels)?;
        }
        ("charset", ["off"], None) => server.charset = None,
        ("charset", [charset], None) => server.charset = Some((*charset).to_string()),
        ("default_type", [kind], Some(location)) => location.default_type = Some((*kind).to_string()),
        ("default_type", [kind], None) => server.default_type = (*kind).to_string(),
        ("root", [path], Some(location)) => location.root = Some(Path::new(super::DIRECTORY).join(path)),
        ("root", [path], None) => server.root = Path::new(super::DIRECTORY).join(path),
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
            let said = [&[name][..], values].concat().join(" ");
            return Err(format!("\"{said}\" is not implemented by Ropewalk's nginx"));
        }
        _ => return Err(format!("unknown directive \"{name}\"")),
    }
    Ok(())
}

fn error_levels(levels: &[&str]) -> Result<(), String> {
    const KNOWN: [&str; 8] = ["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"];
    match levels.iter().find(|level| !KNOWN.contains(*level)) {
        Some(level) => Err(format!("invalid log level \"{level}\"")),
        None => Ok(()),
    }
}

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

/// A code of `error_page`.
fn error_code(text: &str) -> Result<u16, String> {
    let code: u32 = text.parse().map_err(|_| format!("invalid value \"{text}\" of \"error_page\""))?;
    let code = u16::try_from(code).ok().filter(|code| (300..600).contains(code));
    code.ok_or_else(|| format!("value \"{text}\" must be between 300 and 599"))
}

/// Whether `access_log` turns the log on.
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
    let (address, shown) = match address.strip_prefix("[::]") {
        // This socket takes IPv4, too.
        Some(port) if parameters.contains(&"ipv6only=off") => (format!("*{port}"), address),
        _ => (address.to_string(), address),
    };
    let wrong = |what: &str| format!("{what} in \"{shown}\" of the \"listen\" directive");
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
