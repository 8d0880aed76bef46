//! URLs of http and https (RFC 3986), as people and servers write them.

use nix::net::if_::if_nametoindex;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// `https`.
    pub secure: bool,
    /// A name or an address, an IPv6 address in brackets.
    pub host: String,
    /// The zone of an IPv6 address: the interface that a link-local address is meant on (RFC 6874).
    pub zone: Option<String>,
    pub port: u16,
    /// With the query, always beginning with `/`.
    pub path: String,
    /// `user:password`, decoded.
    pub user: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadUrl {
    /// A scheme other than http and https.
    Scheme(String),
    Malformed,
}

impl Url {
    /// `[http[s]://][USER@]HOST[:PORT][/PATH]`.
    pub(crate) fn parse(text: &str) -> Result<Url, BadUrl> {
        let (secure, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                return Err(BadUrl::Scheme(scheme.to_lowercase()));
            }
            _ => (false, text),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, host)) => {
                let user = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
                (Some(user.into_owned()), host)
            }
            None => (None, authority),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().ok().filter(|p| *p > 0).ok_or(BadUrl::Malformed)?)
            }
            _ => (authority, if secure { 443 } else { 80 }),
        };
        let (host, zone) = without_zone(host).ok_or(BadUrl::Malformed)?;
        if host.is_empty()
            || host.starts_with('[') != host.ends_with(']')
            || text.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err(BadUrl::Malformed);
        }
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        Ok(Url { secure, host, zone, port, path: without_dots(&path), user })
    }

    /// What a `Location` of an answer from here means.
    pub(crate) fn join(&self, location: &str) -> Result<Url, BadUrl> {
        // The fragment is the client's own.
        let location = location.split('#').next().unwrap_or_default();
        // Servers send blanks and letters outside of ASCII as they are; no request may.
        const UNSENDABLE: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ');
        let location = percent_encoding::utf8_percent_encode(location, UNSENDABLE).to_string();
        let location = location.as_str();
        if let Some(scheme) = scheme_of(location) {
            return match location[scheme.len()..].starts_with("://") {
                true => Url::parse(location),
                false => Err(BadUrl::Scheme(scheme.to_lowercase())),
            };
        }
        if let Some(other) = location.strip_prefix("//") {
            return Url::parse(&format!("{}://{other}", self.scheme()));
        }
        let mut url = self.clone();
        let base = self.path.split('?').next().unwrap_or("/");
        url.path = match location {
            "" => self.path.clone(),
            absolute if absolute.starts_with('/') => absolute.to_string(),
            query if query.starts_with('?') => format!("{base}{query}"),
            relative => format!("{}{relative}", &base[..base.rfind('/').map_or(0, |at| at + 1)]),
        };
        url.path = without_dots(&url.path);
        Ok(url)
    }

    /// Whether scheme, host and port are the same.
    pub(crate) fn is_same_server(&self, other: &Url) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
            && (self.port, self.secure, &self.zone) == (other.port, other.secure, &other.zone)
    }

    /// `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// The `Host` header: the port only if it is not the scheme's own, and no zone, which is a
    /// matter of this host.
    pub(crate) fn authority(&self) -> String {
        self.with_port(&self.host)
    }

    fn with_port(&self, host: &str) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host.to_string() } else { format!("{host}:{}", self.port) }
    }

    /// The URL without its user.
    pub(crate) fn full(&self) -> String {
        let host = match &self.zone {
            Some(zone) => format!("[{}%25{zone}]", self.bare_host()),
            None => self.host.clone(),
        };
        format!("{}://{}{}", self.scheme(), self.with_port(&host), self.path)
    }

    /// The host without the brackets of an IPv6 address.
    pub(crate) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The number of the zone's interface; 0, which is none, if there is no such interface.
    pub(super) fn scope(&self) -> u32 {
        let zone = self.zone.as_deref().unwrap_or("0");
        zone.parse::<u32>().or_else(|_| if_nametoindex(zone)).unwrap_or(0)
    }

    /// The last part of the path; empty for a directory.
    pub(crate) fn file_name(&self) -> &str {
        self.path.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default()
    }
}

/// Takes the zone out of the brackets of an address. `None` if there is a `%` without a zone.
fn without_zone(host: &str) -> Option<(String, Option<String>)> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner.and_then(|inner| inner.split_once('%')) {
        Some((address, text)) => Some((format!("[{address}]"), Some(zone(text)?.to_string()))),
        None => Some((host.to_string(), None)),
    }
}

/// The longest name of an interface (IFNAMSIZ without its NUL).
const ZONE_MAX: usize = 15;

/// The zone behind the `%` of an address. RFC 6874 writes that as `%25`; curl takes both.
pub(crate) fn zone(text: &str) -> Option<&str> {
    let zone = text.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(text);
    (1..=ZONE_MAX).contains(&zone.len()).then_some(zone)
}

/// A path, and what follows its `?`, without the parts `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    // What ends with dots is a directory.
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    format!("/{}{query}", kept.join("/"))
}

/// The scheme of an absolute URL (RFC 3986, 3.1). A colon further behind, as in
/// `/login?next=http://h/`, makes none.
fn scheme_of(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(inner)).then_some(scheme)
}
