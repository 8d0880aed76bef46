//! Requests that nginx refuses before it chooses a location.

use http::{Method, Request, StatusCode, Version, header};

/// Returns the status that refuses a request:
///
/// ```text
/// get / HTTP/1.1               400: letters of a method are large
/// GET / without a Host         400, but not in HTTP/1.0 (RFC 9112, 3.2)
/// GET / with two, or `a/b`     400
/// TRACE /                      405, as CONNECT
/// OPTIONS *                    400: no path
/// ```
///
/// Source: `ngx_http_parse_request_line`, `ngx_http_process_request_header`.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<StatusCode> {
    let is_letter = |byte: u8| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-');
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let has_host = match (hosts.next(), hosts.next()) {
        (None, _) => request.version() != Version::HTTP_11,
        (Some(host), None) => is_host(host.as_bytes()),
        (Some(_), Some(_)) => false,
    };
    if !has_host || !request.method().as_str().bytes().all(is_letter) {
        return Some(StatusCode::BAD_REQUEST);
    }
    if matches!(*request.method(), Method::TRACE | Method::CONNECT) {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    (!request.uri().path().starts_with('/')).then_some(StatusCode::BAD_REQUEST)
}

/// Returns whether it may be a name with a port. Source: `ngx_http_validate_host`.
fn is_host(value: &[u8]) -> bool {
    !matches!(value, [] | [b':', ..] | [b'.'] | [b'.', b':', ..])
        && value.iter().all(|byte| *byte > b' ' && !matches!(byte, b'/' | 127))
        && !value.windows(2).any(|two| two == b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, uri: &str, hosts: &[&str]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        refusal(&request.body(()).unwrap()).map(|status| status.as_u16())
    }

    #[test]
    fn what_nginx_does_not_understand_is_refused() {
        for (method, uri, hosts, status) in [
            ("GET", "/", &["web"][..], None),
            ("FOO-BAR", "/", &["web:80"], None),
            ("GET", "http://web/x", &["web"], None),
            ("get", "/", &["web"], Some(400)),
            ("GET", "/", &[], Some(400)),
            ("GET", "/", &["web", "web"], Some(400)),
            ("TRACE", "/", &["web"], Some(405)),
            ("CONNECT", "web:80", &["web"], Some(405)),
            ("TRACE", "/", &[], Some(400)),
            ("OPTIONS", "*", &["web"], Some(400)),
            ("GET", "a.txt", &["web"], Some(400)),
        ] {
            assert_eq!(of(method, uri, hosts), status, "{method} {uri} {hosts:?}");
        }
    }

    #[test]
    fn a_host_is_a_name() {
        for host in ["web", "Web:8080", "web.", "[::1]:80", "_", "10.0.0.1", "a:b"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for other in ["", ":80", ".", "a b", "a/b", "a..b", "a\u{7f}"] {
            assert!(!is_host(other.as_bytes()), "{other}");
        }
        assert!(is_host(b"\xc3\xa4"), "nginx takes any large byte");
    }
}
