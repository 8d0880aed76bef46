//! Links in what a proxied server answers (upstream: `apimachinery/pkg/util/proxy/transport.go`).
//!
//! A server in a pod writes its links as if it were asked directly. A browser that came through the
//! proxy would follow `/style.css` to the API server. So links to the server itself get the proxy's
//! path before their own: in the header `Location`, and in attributes of HTML pages (`html`). Links
//! in scripts and style sheets stay as they are, as upstream.

use super::names;

/// Which links lead to the proxied server, and what is put before their paths.
pub(super) struct Links {
    /// Path of the proxy: `/api/v1/namespaces/shop/services/web:80/proxy`.
    pub prefix: String,
    /// The server's own address, with its port and, if that is the scheme's, without. A link with
    /// it loses scheme and host.
    pub own: Vec<String>,
    /// The host that the client asked for. A link with it keeps scheme and host.
    pub client_host: String,
}

impl Links {
    /// Returns the link that leads through the proxy, or `None` for one that stays as it is: a
    /// relative link, one to another host, and one that leads through the proxy already.
    ///
    /// Example: with the prefix `/p/proxy` and the own address `10.244.1.2:80`, both `/a?b` and
    /// `http://10.244.1.2:80/a?b` become `/p/proxy/a?b`.
    pub(super) fn rewritten(&self, link: &str) -> Option<String> {
        let (origin, rest) = split_origin(link);
        let host = origin.rsplit_once("//").map_or("", |(_, host)| host);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let kept = match host {
            "" if origin.is_empty() => "",
            host if self.own.iter().any(|own| own.eq_ignore_ascii_case(host)) => "",
            host if host.eq_ignore_ascii_case(&self.client_host) => origin,
            _ => return None,
        };
        if !rest.starts_with('/') {
            return None;
        }
        let (path, more) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        let inner = path.strip_prefix(self.prefix.as_str());
        let within = inner.is_some_and(|p| (p.is_empty() || p.starts_with('/')) && !climbs(p));
        match within {
            true if kept == origin => None,
            true => Some(format!("{kept}{rest}")),
            false => {
                let path = names::clean(&with_dots(path), path.ends_with('/'));
                Some(format!("{kept}{}{path}{more}", self.prefix))
            }
        }
    }

    /// Returns where a redirect leads that answers a request for `path` of the server, which is
    /// empty for a URL that ends with `proxy`. Unlike upstream a relative one does not lead out of
    /// the proxy, either: a client that follows it repeats there what it asked here (307, 308),
    /// with its own credentials.
    ///
    /// Example: at `/a/b`, `../../../c` becomes `/p/proxy/c`, and `c` stays.
    pub(super) fn redirected(&self, to: &str, path: &str) -> Option<String> {
        let (relative, more) = to.split_at(to.find(['?', '#']).unwrap_or(to.len()));
        let first = relative.split('/').next().unwrap_or_default();
        if first.is_empty() || first.contains(':') {
            return self.rewritten(to);
        }
        if !path.is_empty() && !climbs(relative) {
            return None;
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let relative = with_dots(relative);
        let is_folder = matches!(relative.rsplit('/').next(), Some("" | "." | ".."));
        let path = names::clean(&format!("{folder}/{relative}"), is_folder);
        Some(format!("{}{path}{more}", self.prefix))
    }
}

#[cfg(test)]
impl Links {
    /// Returns the links of a pod's server on port 80, for a client of `localhost:8001`.
    pub(super) fn of_a_pod() -> Links {
        let own = vec!["10.244.1.2:80".to_string(), "10.244.1.2".to_string()];
        Links {
            prefix: "/api/v1/namespaces/n/pods/p/proxy".into(),
            own,
            client_host: "localhost:8001".into(),
        }
    }
}

/// Writes the dots of a path as dots: `%2e%2e` leads up as `..` does.
fn with_dots(path: &str) -> String {
    path.replace("%2e", ".").replace("%2E", ".")
}

/// Returns whether a path leads up anywhere.
fn climbs(path: &str) -> bool {
    with_dots(path).split('/').any(|segment| segment == "..")
}

/// Splits a link into scheme and host, if it has them, and the rest: `http://web/a` into
/// `http://web` and `/a`.
fn split_origin(link: &str) -> (&str, &str) {
    let before_host = match link.find("//") {
        Some(0) => Some(2),
        Some(at) if is_scheme(&link[..at]) => Some(at + 2),
        _ => None,
    };
    let Some(begin) = before_host else { return ("", link) };
    let end = link[begin..].find(['/', '?', '#']).map_or(link.len(), |at| begin + at);
    link.split_at(end)
}

/// True for a scheme with its colon: `https:`.
fn is_scheme(text: &str) -> bool {
    let letters = |scheme: &str| scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    text.strip_suffix(':').is_some_and(|scheme| !scheme.is_empty() && letters(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_server_itself_lead_through_the_proxy() {
        let prefix = Links::of_a_pod().prefix;
        for (link, wanted) in [
            ("/", Some(format!("{prefix}/"))),
            ("/a/b/?c=/d#e", Some(format!("{prefix}/a/b/?c=/d#e"))),
            ("/a//../b", Some(format!("{prefix}/b"))),
            ("http://10.244.1.2:80/a", Some(format!("{prefix}/a"))),
            ("https://10.244.1.2/a", Some(format!("{prefix}/a"))),
            ("//10.244.1.2/a", Some(format!("{prefix}/a"))),
            ("http://localhost:8001/a", Some(format!("http://localhost:8001{prefix}/a"))),
            (&format!("http://10.244.1.2:80{prefix}/a"), Some(format!("{prefix}/a"))),
            (&format!("{prefix}/a"), None),
            (&format!("{prefix}es"), Some(format!("{prefix}{prefix}es"))),
            (&format!("{prefix}/../../a"), Some(format!("{prefix}/api/v1/namespaces/n/pods/a"))),
            ("/%2e%2E/a/.%2e/b", Some(format!("{prefix}/b"))),
            ("http://LocalHost:8001/a", Some(format!("http://LocalHost:8001{prefix}/a"))),
            ("http://me@10.244.1.2/a", Some(format!("{prefix}/a"))),
            ("a/b", None),
            ("", None),
            ("?a=//b", None),
            ("#a", None),
            ("mailto:a@b", None),
            ("http://10.244.1.2:80", None),
            ("http://10.244.1.2:81/a", None),
            ("//example.com/a", None),
            ("http:///a", None),
        ] {
            assert_eq!(Links::of_a_pod().rewritten(link), wanted, "{link}");
        }
    }

    #[test]
    fn a_redirect_does_not_lead_out_of_the_proxy() {
        for (to, path, wanted) in [
            ("/c", "/a/b", Some("/c")),
            ("../c", "/a/b", Some("/c")),
            ("../../../../c?d=..#e", "/a/b", Some("/c?d=..#e")),
            ("c/%2E%2e/../../../d/", "/a/b", Some("/d/")),
            ("..", "/a/b", Some("/")),
            ("c", "/a/b", None),
            ("./c/", "/", None),
            ("c", "", Some("/c")),
            ("?c=../d", "/a/b", None),
            ("", "", None),
            ("https://example.com/../c", "/a/b", None),
        ] {
            let wanted = wanted.map(|path| format!("{}{path}", Links::of_a_pod().prefix));
            assert_eq!(Links::of_a_pod().redirected(to, path), wanted, "{to} at {path}");
        }
    }
}
