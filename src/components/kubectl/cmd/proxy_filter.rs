//! Which requests `proxy` lets through: by host, path, method, and the origin of a page.

use crate::ctx::Ctx;
use crate::error::Fail;
use crate::go_path;
use regex::Regex;

/// The regular expressions of `--accept-*` and `--reject-*`.
pub(super) struct Filter {
    /// `--disable-filter`
    pub off: bool,
    hosts: Vec<Regex>,
    paths: Vec<Regex>,
    not_paths: Vec<Regex>,
    not_methods: Vec<Regex>,
}

impl Filter {
    pub(super) fn of(ctx: &Ctx) -> Result<Filter, Fail> {
        let all = |flag: &str| {
            regexes(ctx.flags.text(flag))
                .map_err(|error| Fail::Text(format!("error parsing --{flag}: {error}")))
        };
        Ok(Filter {
            off: ctx.flags.is("disable-filter"),
            hosts: all("accept-hosts")?,
            paths: all("accept-paths")?,
            not_paths: all("reject-paths")?,
            not_methods: all("reject-methods")?,
        })
    }

    /// `path` is decoded; `host` may have a port.
    pub(super) fn lets(&self, method: &str, path: &str, host: &str) -> bool {
        let any = |list: &[Regex], text: &str| list.iter().any(|r| r.is_match(text));
        self.off
            || (any(&self.hosts, bare(host))
                && any(&self.paths, path)
                && !any(&self.not_paths, path)
                && !any(&self.not_methods, method))
    }

    /// Returns whether a page of this origin may use the proxy: its host must be one of
    /// `--accept-hosts`.
    ///
    /// A browser sends the header with every WebSocket and with every request that may change
    /// something. No rule of the browser keeps another site's page from sending these to localhost;
    /// their `Host` is the proxy's own.
    pub(super) fn lets_origin(&self, origin: &str) -> bool {
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        self.off || self.hosts.iter().any(|r| r.is_match(bare(host)))
    }
}

/// The regular expressions of a flag: none of an empty value. An empty one of several (`POST,`) is
/// one, too, and matches everything. Source: kubectl's `MakeRegexpArray`.
fn regexes(given: &str) -> Result<Vec<Regex>, regex::Error> {
    given.split(',').filter(|_| !given.is_empty()).map(Regex::new).collect()
}

/// A host without its port.
fn bare(host: &str) -> &str {
    host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(h, _)| h)
}

/// A path as the API server reads it: percent-decoded, once.
pub(super) fn decoded(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// The absolute path without empty, `.` and `..` segments, its last slash kept.
pub(super) fn clean(path: &str) -> String {
    let mut clean = go_path::clean(&format!("/{path}"));
    if path.ends_with('/') && !clean.ends_with('/') {
        clean.push('/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_expression_among_others_matches_everything() {
        let matches = |given: &str| regexes(given).unwrap().iter().any(|r| r.is_match("GET"));
        assert_eq!(["", "POST", "POST,", ",POST", "POST,^G"].map(matches), [false, false, true, true, true]);
        assert!(regexes("(").is_err());
    }

    #[test]
    fn only_this_machine_is_let_in_and_no_terminal_is_given_away() {
        let all = |texts: &[&str]| texts.iter().map(|t| Regex::new(t).unwrap()).collect::<Vec<_>>();
        let filter = Filter {
            off: false,
            hosts: all(&["^localhost$", r"^127\.0\.0\.1$", r"^\[::1\]$"]),
            paths: all(&["^.*"]),
            not_paths: all(&["^/api/.*/pods/.*/exec", "^/api/.*/pods/.*/attach"]),
            not_methods: all(&["^PUT$"]),
        };
        assert!(filter.lets("GET", "/api/v1/pods", "127.0.0.1:8001"));
        assert!(filter.lets("GET", "/api/v1/pods", "[::1]:8001"));
        assert!(!filter.lets("GET", "/api/v1/pods", "example.com"));
        assert!(!filter.lets("PUT", "/api/v1/pods", "localhost"));
        assert!(!filter.lets("POST", "/api/v1/namespaces/d/pods/p/exec", "localhost"));
        for path in [
            "/api/v1/namespaces/d/pods/p/%65xec",
            "/%61pi/v1/namespaces/d/%70ods/p/exe%63",
            "//api//v1//namespaces/d//pods/p//attach",
            "/api/v1/namespaces/d/pods/p/./exec",
            "/x/../api/v1/namespaces/d/pods/p/exec/",
            "/api/v1/namespaces/d/pods/p%2fexec",
            "/%2e%2e/api/v1/namespaces/d/pods/p/exec",
        ] {
            assert!(!filter.lets("GET", &clean(&decoded(path)), "localhost:8001"), "{path}");
        }
        let twice = clean(&decoded("/api/v1/namespaces/d/pods/p/%2565xec"));
        assert_eq!(twice, "/api/v1/namespaces/d/pods/p/%65xec", "decoded once, as by the API server");
        assert_eq!((clean("/"), clean("/a//b/"), clean("/..")), ("/".into(), "/a/b/".into(), "/".into()));
        assert!(filter.lets_origin("http://127.0.0.1:8001") && filter.lets_origin("http://localhost"));
        for origin in
            ["https://example.com", "null", "http://localhost.example.com", "http://example.com:80", ""]
        {
            assert!(!filter.lets_origin(origin), "{origin}");
        }
    }
}
