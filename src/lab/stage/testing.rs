//! The server of the teacher's kubectl, which answers what a test says.

use super::silent;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server that answers each request with a status and a body. It is given method and path without
/// the query (`GET /api/v1/nodes`), and the body.
pub(crate) async fn answering(
    answer: impl Fn(&str, &str) -> (&'static str, String) + Send + Sync + 'static,
) -> SocketAddr {
    let (listener, address) = silent().await;
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_one(stream, answer.clone()));
        }
    });
    address
}

async fn answer_one(
    mut stream: TcpStream,
    answer: Arc<impl Fn(&str, &str) -> (&'static str, String)>,
) -> Option<()> {
    let (mut asked, mut chunk) = (Vec::new(), [0; 4096]);
    let (head, length) = loop {
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        asked.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&asked).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        break (head.to_string(), length.unwrap_or_default());
    };
    let body_at = head.len() + 4;
    while asked.len() < body_at + length {
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        asked.extend_from_slice(&chunk[..n]);
    }
    let line: Vec<&str> = head.split([' ', '?']).take(2).collect();
    let (code, body) = answer(&line.join(" "), &String::from_utf8_lossy(&asked[body_at..]));
    let answer = format!(
        "HTTP/1.1 {code}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()
}

/// The answer of a server that has no such object.
pub(crate) fn not_found() -> (&'static str, String) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": "NotFound", "code": 404, "message": "not found"});
    ("404 Not Found", status.to_string())
}

/// The answer to `GET /api` or `GET /apis`: resources, each with group, plural, kind and scope, in
/// the version v1 of their group.
pub(crate) fn discovered(resources: &[(&str, &str, &str, &str)]) -> Value {
    let group = |(name, plural, kind, scope): &(&str, &str, &str, &str)| {
        let metadata = if name.is_empty() { json!({}) } else { json!({ "name": name }) };
        let resource = json!({"resource": plural, "responseKind": {"kind": kind}, "scope": scope,
            "singularResource": kind.to_lowercase(), "verbs": ["get", "list", "patch", "delete"]});
        json!({"metadata": metadata, "versions": [{"version": "v1", "resources": [resource]}]})
    };
    let items: Vec<Value> = resources.iter().map(group).collect();
    json!({"kind": "APIGroupDiscoveryList", "items": items})
}
