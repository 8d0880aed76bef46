//! Manifests from the web: `-f https://…`.

use crate::error::{Fail, text};
use api::gostr::quote;
use base64::Engine as _;
use bytes::Bytes;
use client::kubeconfig::Target;
use client::remote::{Http, resolve_location};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use percent_encoding::percent_decode_str;
use std::time::Duration;

/// Tries of a server that fails, and the pause between them, as kubectl's.
const TRIES: usize = 3;
const PAUSE: Duration = Duration::from_secs(1);
/// Redirects that are followed.
const REDIRECTS: usize = 10;
/// Bytes of an answer that are read at most; a longer one is refused.
const LENGTH_MAX: usize = 32 << 20;

/// Reads the document of a URL, over at most [`REDIRECTS`] redirects.
///
/// # Errors
/// [`Fail::Refused`] or [`Fail::Transport`]: the server does not answer, or redirects too often.
/// [`Fail::Text`]: it is no URL, the server fails [`TRIES`] times, the answer is another than 200
/// or longer than [`LENGTH_MAX`].
pub(crate) async fn read(url: &str) -> Result<Bytes, Fail> {
    let mut here = url.to_string();
    for _ in 0..=REDIRECTS {
        match get(url, &here).await? {
            Answer::Body(bytes) => return Ok(bytes),
            Answer::Moved(there) => here = there,
        }
    }
    Err(Fail::Transport(format!("stopped after {REDIRECTS} redirects")))
}

enum Answer {
    Body(Bytes),
    Moved(String),
}

async fn get(original: &str, url: &str) -> Result<Answer, Fail> {
    let uri: Uri = url.parse().map_err(|e| {
        Fail::Text(format!("the URL passed to filename {} is not valid: {e}", quote(original)))
    })?;
    let Some(authority) = uri.authority().map(|a| a.as_str()) else {
        return text(format!(
            "the URL passed to filename {} is not valid: it names no host",
            quote(original)
        ));
    };
    let scheme = uri.scheme_str().unwrap_or("http").to_string();
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let http = Http::new(Target::anybody(&scheme, host))?;
    // The request does not repeat the user and the password that its header has.
    let sent = format!("{scheme}://{host}{}", uri.path_and_query().map_or("/", |path| path.as_str()));
    for left in (0..TRIES).rev() {
        let mut request = Request::get(sent.as_str()).header("user-agent", "kubectl");
        if let Some(user) = user {
            request = request.header("authorization", basic(user));
        }
        let request =
            request.body(Full::default()).map_err(|e| Fail::Text(format!("parse {}: {e}", quote(url))))?;
        let response = match http.send(request).await.map_err(Fail::from) {
            Ok(response) => response,
            Err(refused @ Fail::Refused(_)) if left == 0 => return Err(refused),
            Err(fail) if left == 0 => return Err(Fail::Transport(fail.message())),
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let status = response.status();
        if status.is_redirection()
            && let Some(to) = response.headers().get("location").and_then(|l| l.to_str().ok())
        {
            return Ok(Answer::Moved(resolve_location(&uri, to)));
        }
        if status.is_server_error() && left > 0 {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        // As with kubectl, other answers of success have no manifest.
        if status != StatusCode::OK {
            let words = response.extensions().get::<hyper::ext::ReasonPhrase>();
            let words = words.map(|w| String::from_utf8_lossy(w.as_bytes()).into_owned());
            let words = words.unwrap_or_else(|| status.canonical_reason().unwrap_or("").to_string());
            let status_line = format!("{} {words}", status.as_u16());
            return text(format!(
                "unable to read URL {}, server reported {status_line}, status code={}",
                quote(original),
                status.as_u16()
            ));
        }
        let body = Limited::new(response.into_body(), LENGTH_MAX).collect().await;
        let bytes = body.map_err(|e| Fail::Text(format!("unable to read URL {}: {e}", quote(original))))?;
        return Ok(Answer::Body(bytes.to_bytes()));
    }
    text(format!("unable to read URL {}", quote(original)))
}

/// The header `Authorization` for the user of a URL, `name:password` with escapes, as Go's client
/// sends it.
fn basic(user: &str) -> String {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut plain: Vec<u8> = percent_decode_str(name).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;
    use serde_json::json;

    #[tokio::test]
    async fn another_success_than_200_has_no_manifest() {
        let server = Server::start_with(|_| Some((201, json!({})))).await;
        let message = read(&format!("http://{}/x.yaml", server.address)).await.unwrap_err().report().0;
        assert!(message.ends_with("server reported 201 Created, status code=201\n"), "{message}");
    }

    #[tokio::test]
    async fn the_user_of_a_url_is_sent_to_its_server() {
        let server =
            Server::start_with(|request| (request.path == "/x.yaml").then(|| (200, json!({"k": 1})))).await;
        for (user, want) in
            [("", ""), ("me%40home:s:ec%2Fret@", "Basic bWVAaG9tZTpzOmVjL3JldA=="), ("me@", "Basic bWU6")]
        {
            let bytes = read(&format!("http://{user}{}/x.yaml?v=1", server.address)).await.unwrap();
            assert_eq!(&bytes[..], b"{\"k\":1}");
            let request = server.requests().pop().unwrap();
            assert_eq!((request.user.as_str(), request.query.as_str()), (want, "v=1"));
        }
    }
}
