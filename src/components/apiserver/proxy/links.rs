//! Links in what a proxied server answers (upstream: `apimachinery/pkg/util/proxy/transport.go`).
//!
//! A server in a pod writes its links as if it were asked directly. A browser that came through the
//! proxy would follow `/style.css` to the API server. So links to the server itself get the proxy's
//! path before their own: in the header `Location`, and in attributes of HTML pages (`html`). Links
//! in scripts and style sheets stay as they are, as upstream.
//!
//! Browsers read some links otherwise than RFC 3986 does (<https://url.spec.whatwg.org>): `\api`
//! and `http:/api` lead to the API server, and `/\web` leads to the host `web`. Upstream takes the
//! first for a relative link, the second for one that stays, and the third for a path. Here a link
//! is written as a browser reads it before it is judged. One that leads to another host stays, and
//! its plain form names that host for every client.

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
    /// relative link, one to another host, and one that leads through the proxy already. If a
    /// browser reads such a link otherwise than it is written, it is returned as the browser does.
    ///
    /// Example: with the prefix `/p/proxy` and the own address `10.244.1.2:80`, `/a?b`, `\a?b` and
    /// `http://10.244.1.2:80/a?b` become `/p/proxy/a?b`.
    pub(super) fn rewritten(&self, link: &str) -> Option<String> {
        let plain = as_browsers_read(link);
        self.rewritten_plain(&plain).or_else(|| (plain != link).then_some(plain))
    }

    /// As [`Links::rewritten`], of a link that [`as_browsers_read`] returned.
    fn rewritten_plain(&self, link: &str) -> Option<String> {
        let (origin, rest) = split_origin(link);
        let host = origin.rsplit_once("//").map_or("", |(_, host)| host);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let kept = match host {
            "" if origin.is_empty() => "",
            host if self.is_own(scheme(link), host) => "",
            host if is_same_host(scheme(link), &self.client_host, host) => origin,
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

    /// Returns whether the host of a link is the server itself. Its address without a port is so
    /// for both schemes, and another port never is.
    fn is_own(&self, scheme: &str, host: &str) -> bool {
        let is_same = |own: &str| split_port(own).1.is_some() && is_same_host(scheme, own, host);
        self.own.iter().any(|own| own.eq_ignore_ascii_case(host) || is_same(own))
    }

    /// Returns where a redirect leads that answers a request for `path` of the server, which is
    /// empty for a URL that ends with `proxy`. Unlike upstream a relative one does not lead out of
    /// the proxy, either: a client that follows it repeats there what it asked here (307, 308),
    /// with its own credentials.
    ///
    /// Example: at `/a/b`, `../../../c` becomes `/p/proxy/c`, and `c` stays.
    pub(super) fn redirected(&self, to: &str, path: &str) -> Option<String> {
        let plain = as_browsers_read(to);
        self.redirected_plain(&plain, path).or_else(|| (plain != to).then_some(plain))
    }

    /// As [`Links::redirected`], of a link that [`as_browsers_read`] returned.
    fn redirected_plain(&self, to: &str, path: &str) -> Option<String> {
        let (relative, more) = to.split_at(to.find(['?', '#']).unwrap_or(to.len()));
        if relative.is_empty() || relative.starts_with('/') || !scheme(relative).is_empty() {
            return self.rewritten_plain(to);
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

/// Returns whether two hosts are the same one for a link of this scheme: upper and lower case are
/// the same, and so are the scheme's own port and none. A link without a scheme has that of its
/// page, which is not known here: its port may be that of HTTP or of HTTPS.
///
/// Example: for `https:` `Web.example:443` is `web.example`, and for `http:` it is another host.
fn is_same_host(scheme: &str, one: &str, other: &str) -> bool {
    let ((one, port), (other, other_port)) = (split_port(one), split_port(other));
    let is_default = |port: u16| match scheme.to_ascii_lowercase().as_str() {
        "http:" => port == 80,
        "https:" => port == 443,
        _ => matches!(port, 80 | 443),
    };
    let is_same_port = match (port, other_port) {
        (Some(port), None) | (None, Some(port)) => is_default(port),
        (port, other_port) => port == other_port,
    };
    is_same_port && one.eq_ignore_ascii_case(other)
}

/// Splits a host into its name or address, and its port if it has one.
fn split_port(host: &str) -> (&str, Option<u16>) {
    let Some((name, port)) = host.rsplit_once(':') else { return (host, None) };
    match port.parse() {
        Ok(port) => (name, Some(port)),
        Err(_) if port.is_empty() => (name, None),
        Err(_) => (host, None), // `[fd00::1]`, for example
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

/// Returns a link as a browser reads it on a page of HTTP (URL Standard, "basic URL parser"):
/// without spaces and control characters around it, and without tabs and newlines in it; a
/// backslash before the query is a slash; a host stands behind two slashes, however many there
/// are. Behind `http:` or `https:` and fewer slashes stands no host: the link leads to the page's
/// own one, if the page has the same scheme, and is written without it here, so that it does so
/// always. A link of another scheme stays as it is, and so does one of which nothing is left:
/// behind an attribute without quotes (`href=http: id=a`) the next one would become its value.
///
/// ```text
/// \a\b?c=\      /a/b?c=\
/// /\web/a       //web/a
/// http:///web   http://web
/// http:/a       /a
/// http:a        ./a
/// ```
fn as_browsers_read(link: &str) -> String {
    let mut text = link.trim_matches(|c: char| c <= ' ').to_string();
    text.retain(|c| !matches!(c, '\t' | '\n' | '\r'));
    let scheme = scheme(&text);
    if !["", "http:", "https:"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return link.into();
    }
    let rest = &text[scheme.len()..];
    let (place, more) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let place = place.replace('\\', "/");
    let behind = place.trim_start_matches('/');
    match place.len() - behind.len() {
        0 if behind.is_empty() && more.is_empty() => link.into(),
        // Else what follows could be read as a scheme: `http:javascript:a`.
        0 if !scheme.is_empty() && !behind.is_empty() => format!("./{behind}{more}"),
        0 | 1 => format!("{place}{more}"),
        _ => format!("{scheme}//{behind}{more}"),
    }
}

/// Splits a link into scheme and host, if it has them, and the rest: `http://web/a` into
/// `http://web` and `/a`.
fn split_origin(link: &str) -> (&str, &str) {
    let before_host = scheme(link).len();
    if !link[before_host..].starts_with("//") {
        return ("", link);
    }
    let begin = before_host + 2;
    let end = link[begin..].find(['/', '?', '#']).map_or(link.len(), |at| begin + at);
    link.split_at(end)
}

/// Returns the scheme of a link with its colon, `https:`, or nothing.
fn scheme(link: &str) -> &str {
    let is_within = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let end = link.find(|c: char| !is_within(c)).unwrap_or(link.len());
    let has_one = link.starts_with(|c: char| c.is_ascii_alphabetic()) && link[end..].starts_with(':');
    if has_one { &link[..=end] } else { "" }
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
            ("https://10.244.1.2:443/a", None),
            ("http://10.244.1.2:080/a", Some(format!("{prefix}/a"))),
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
            ("http:///a", Some("http://a".into())),
            ("\n /a ", Some(format!("{prefix}/a"))),
            ("\\a\\..\\b?c=\\", Some(format!("{prefix}/b?c=\\"))),
            ("/\\10.244.1.2\\a", Some(format!("{prefix}/a"))),
            ("//\t/localhost:8001\\a", Some(format!("//localhost:8001{prefix}/a"))),
            ("HTTP:\\a", Some(format!("{prefix}/a"))),
            ("/\\example.com/a", Some("//example.com/a".into())),
            ("javascript:a('\\n')", None),
            ("http:", None),
            ("\u{1}", None),
        ] {
            assert_eq!(Links::of_a_pod().rewritten(link), wanted, "{link}");
        }
    }

    /// As browsers, which leave out the default port of a scheme.
    #[test]
    fn a_host_with_the_default_port_is_the_same_without_it() {
        for (scheme, one, other, is_same) in [
            ("https:", "Web.example:443", "web.example", true),
            ("https:", "web.example", "web.example:0443", true),
            ("https:", "web.example:80", "web.example", false),
            ("HTTP:", "web.example", "web.example:80", true),
            ("HTTP:", "web.example", "web.example:443", false),
            ("", "web.example:443", "web.example", true),
            ("", "web.example:8443", "web.example", false),
            ("http:", "web.example:", "web.example:80", true),
            ("http:", "web.example:8080", "web.example:80", false),
            ("http:", "[fd00::1]:80", "[FD00::1]", true),
            ("http:", "[fd00::1]", "[fd00::2]", false),
        ] {
            assert_eq!(is_same_host(scheme, one, other), is_same, "{scheme} {one} {other}");
        }
        let links = Links { client_host: "web.example".into(), ..Links::of_a_pod() };
        let wanted = format!("https://web.example:443{}/a", links.prefix);
        assert_eq!(links.rewritten("https://web.example:443/a"), Some(wanted));
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
            ("\\c", "/a/b", Some("/c")),
            ("..\\..\\..\\c", "/a/b", Some("/c")),
            (".\t./../../c", "/a/b", Some("/c")),
            ("http:/c", "/a/b", Some("/c")),
            ("http:..\\..\\c", "/a/b", Some("/c")),
            ("https:\\\\10.244.1.2\\c?d=\\e", "/a/b", Some("/c?d=\\e")),
            ("1:/../../../c", "/a/b", Some("/c")),
        ] {
            let wanted = wanted.map(|path| format!("{}{path}", Links::of_a_pod().prefix));
            assert_eq!(Links::of_a_pod().redirected(to, path), wanted, "{to} at {path}");
        }
    }

    #[test]
    fn a_redirect_that_stays_says_plainly_where_a_browser_goes() {
        for (to, plain) in [
            ("/\\example.com/c", "//example.com/c"),
            ("\\\\example.com\\c?\\", "//example.com/c?\\"),
            ("/\t/example.com", "//example.com"),
            ("http:/\\/example.com", "http://example.com"),
            ("c\\d", "c/d"),
            ("http:javascript:c", "./javascript:c"),
            ("http:?c", "?c"),
        ] {
            assert_eq!(Links::of_a_pod().redirected(to, "/a/b").as_deref(), Some(plain), "{to}");
        }
        for stays in ["//example.com/c", "c/d", "javascript:c\\d", "foo:\\\\example.com"] {
            assert_eq!(Links::of_a_pod().redirected(stays, "/a/b"), None, "{stays}");
        }
    }
}
