//! Where a request carries its token: the header `Authorization` or, from a browser, a subprotocol
//! of a WebSocket (upstream: `apiserver/pkg/authentication/request/bearertoken` and `websocket`).

use crate::request::http::header;
use api::Status;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use std::borrow::Cow;

/// How a subprotocol begins that carries a token.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
const PROTOCOLS: &str = "sec-websocket-protocol";
/// The warning for a client whose token stands behind two spaces.
pub(crate) const BEHIND_SPACE: &str =
    "the provided Authorization header contains extra space before the bearer token, and is ignored";

/// Returns the token of a request; `None` without one, or with an empty one.
///
/// In `Authorization` it stands between the first two spaces. Example: `Bearer a b` has the token
/// `a`, and `Bearer  a`, with two spaces, an empty one.
///
/// # Errors
/// 401 for a token among the subprotocols that cannot be read: its client is not anonymous.
pub(crate) fn token(headers: &HeaderMap) -> Result<Option<String>, Status> {
    let value = authorization(headers);
    let mut parts = value.trim().split(' ');
    let (scheme, token) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        true => Ok(Some(token.to_string())),
        false => websocket_token(headers),
    }
}

/// Returns the text of the header `Authorization`. Bytes that are no UTF-8 are replaced in it,
/// which makes a token that no key has signed.
fn authorization(headers: &HeaderMap) -> Cow<'_, str> {
    headers.get("authorization").map(|v| String::from_utf8_lossy(v.as_bytes())).unwrap_or_default()
}

/// Returns whether the header has its token behind two spaces, so that the client is anonymous.
pub(crate) fn is_behind_space(headers: &HeaderMap) -> bool {
    let value = authorization(headers);
    let mut parts = value.trim().split(' ');
    parts.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) && parts.next() == Some("")
}

/// Browsers cannot set headers: the token comes as a subprotocol of the WebSocket. It counts only
/// beside another subprotocol, which the answer can name.
fn websocket_token(headers: &HeaderMap) -> Result<Option<String>, Status> {
    if !is_websocket(headers) {
        return Ok(None);
    }
    let all = protocols(headers);
    let (tokens, others): (Vec<&str>, Vec<&str>) =
        all.iter().map(String::as_str).partition(|p| p.starts_with(TOKEN_PROTOCOL));
    let encoded = match tokens.as_slice() {
        [] => return Ok(None),
        [one] => &one[TOKEN_PROTOCOL.len()..],
        _ => return Err(Status::unauthorized()),
    };
    let decoded = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded {
        Some(token) if token.is_empty() => Ok(None),
        Some(token) if !others.is_empty() => Ok(Some(token)),
        _ => Err(Status::unauthorized()),
    }
}

/// True if the request opens a WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let mut options = header(headers, "connection").split(',').map(str::trim);
    header(headers, "upgrade").eq_ignore_ascii_case("websocket")
        && options.any(|option| option.eq_ignore_ascii_case("upgrade"))
}

/// Returns the subprotocols that the client offers, in its order.
fn protocols(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(PROTOCOLS).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(|protocol| protocol.trim().to_string()).collect()
}

/// Returns the subprotocols that the client offers beside a token, in its order.
pub(crate) fn other_protocols(headers: &HeaderMap) -> Vec<String> {
    let mut all = protocols(headers);
    all.retain(|protocol| !protocol.is_empty() && !protocol.starts_with(TOKEN_PROTOCOL));
    all
}

/// Takes a token out of the subprotocols, as upstream: it is for this server, not for the kubelet
/// behind it.
pub(crate) fn without_token(headers: &mut HeaderMap) {
    let all = protocols(headers);
    let kept: Vec<&str> = all.iter().map(String::as_str).filter(|p| !p.starts_with(TOKEN_PROTOCOL)).collect();
    headers.remove(PROTOCOLS);
    if let Ok(value) = kept.join(", ").parse()
        && !kept.is_empty()
    {
        headers.insert(PROTOCOLS, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of a request that opens a WebSocket with these subprotocols.
    fn websocket(offered: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("upgrade", "WebSocket".parse().unwrap());
        headers.insert("connection", "keep-alive, Upgrade".parse().unwrap());
        for protocols in offered {
            headers.append(PROTOCOLS, protocols.parse().unwrap());
        }
        headers
    }

    fn protocol(token: impl AsRef<[u8]>) -> String {
        format!("{TOKEN_PROTOCOL}{}", URL_SAFE_NO_PAD.encode(token))
    }

    #[test]
    fn a_token_among_the_subprotocols_is_read_and_not_passed_on() {
        let mut headers =
            websocket(&[&format!("v5.channel.k8s.io, {}", protocol("secret")), "v4.channel.k8s.io"]);
        assert_eq!(token(&headers), Ok(Some("secret".into())));
        without_token(&mut headers);
        assert_eq!(headers[PROTOCOLS], "v5.channel.k8s.io, v4.channel.k8s.io");
        assert_eq!(token(&headers), Ok(None));
        without_token(&mut headers);
        let mut alone = websocket(&[&protocol("secret")]);
        assert_eq!(token(&alone).unwrap_err().code, 401, "no protocol is left that the answer could name");
        without_token(&mut alone);
        assert!(!alone.contains_key(PROTOCOLS));
    }

    /// A client that sends a token is never served as the anonymous user.
    #[test]
    fn a_token_that_cannot_be_read_is_refused() {
        for offered in [
            format!("a, {}, {}", protocol("one"), protocol("two")),
            format!("a, {TOKEN_PROTOCOL}***"),
            format!("a, {}", protocol([0xff_u8])),
        ] {
            assert_eq!(token(&websocket(&[&offered])).unwrap_err().code, 401, "{offered}");
        }
        let mut plain = websocket(&[&format!("a, {}", protocol("secret"))]);
        plain.remove("upgrade");
        assert_eq!(token(&plain), Ok(None), "it opens no WebSocket");
        assert_eq!(token(&websocket(&[&format!("a, {TOKEN_PROTOCOL}")])), Ok(None));
    }

    #[test]
    fn the_header_names_the_token() {
        for (value, wanted) in [
            (&b"Bearer a.b.c"[..], Some("a.b.c")),
            (b"bearer a.b.c", Some("a.b.c")),
            (b"Bearer a\xff", Some("a\u{fffd}")),
            (b" Bearer a.b.c d ", Some("a.b.c")),
            (b"Bearer  a.b.c", None),
            (b"Bearer  ", None),
            (b"Bearer", None),
            (b"Basic YTpi", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", http::HeaderValue::from_bytes(value).unwrap());
            assert_eq!(token(&headers), Ok(wanted.map(String::from)), "{value:?}");
        }
    }
}
