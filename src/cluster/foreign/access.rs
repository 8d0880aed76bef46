//! The first questions to a foreign cluster: does it know the user, and which nodes has it?

use crate::node::objects::CONTROL_PLANE;
use crate::{Error, ForeignRefusal, Refusal};
use api::value::{at, list, text};
use client::remote::Upstream;
use client::segment;
use http::Method;
use serde_json::Value;

/// Nodes of one question. A Node may have 30 kB, with the images that its machine has.
const PAGE: usize = 200;
/// Questions for nodes: twice as many nodes as Kubernetes supports.
const PAGES_MAX: usize = 50;

/// Checks that the cluster accepts the user. Returns for each node whether it is one of the control
/// plane; no node if the user may see none.
///
/// # Errors
/// [`Refusal::ForeignCluster`]: the cluster does not answer, or refuses the user.
pub(super) async fn check_access(upstream: &Upstream) -> Result<Vec<bool>, Error> {
    let url = upstream.url();
    let refusal = match upstream.ask(Method::GET, "/api", None).await {
        Ok((200, _)) => return Ok(count_nodes(upstream).await),
        Ok((401 | 403, said)) => {
            let (context, said) = (upstream.context.clone(), text(&said, "message").to_string());
            ForeignRefusal::UserRejected { url, context, said }
        }
        Ok((code, _)) => ForeignRefusal::Unusable { url, why: format!("HTTP {code}") },
        Err(why) => ForeignRefusal::Unusable { url, why },
    };
    Err(Refusal::ForeignCluster(refusal).into())
}

/// Asks for all nodes, in pages. They are only counted, so a page that does not come ends the count
/// and no more.
async fn count_nodes(upstream: &Upstream) -> Vec<bool> {
    let control = |node: &Value| !at(node, "metadata.labels")[CONTROL_PLANE].is_null();
    let (mut nodes, mut path) = (Vec::new(), format!("/api/v1/nodes?limit={PAGE}"));
    for _ in 0..PAGES_MAX {
        let Ok((200, page)) = upstream.ask(Method::GET, &path, None).await else { break };
        nodes.extend(list(&page, "items").iter().map(control));
        match text(&page, "metadata.continue") {
            "" => break,
            next => path = format!("/api/v1/nodes?limit={PAGE}&continue={}", segment(next)),
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use lang::Lang;
    use serde_json::json;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    /// What a server says to a path: the code and the body.
    type Says = fn(&str) -> (u16, String);

    async fn answer(mut stream: TcpStream, says: Says) -> Option<()> {
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        let first = lines.next_line().await.ok()??;
        while !lines.next_line().await.ok()??.is_empty() {}
        let (code, body) = says(first.split(' ').nth(1)?);
        let length = body.len();
        let head = format!("HTTP/1.1 {code} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        write.write_all((head + &body).as_bytes()).await.ok()
    }

    async fn known(says: Says) -> Result<Vec<bool>, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let config = json!({"current-context": "c", "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}]});
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config"), config.to_string()).unwrap();
        let upstream = Upstream::of(&dir.path().join("config")).unwrap();
        let serving = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                answer(stream, says).await;
            }
        };
        tokio::select! {
            known = check_access(&upstream) => known,
            () = serving => unreachable!(),
        }
    }

    #[tokio::test]
    async fn nodes_are_counted_in_pages() {
        let says: Says = |path| {
            let page = |nodes: Value, next: &str| json!({"items": nodes, "metadata": {"continue": next}});
            let node = |labels: Value| json!({"metadata": {"name": "n", "labels": labels}});
            let page = match path {
                "/api" => json!({}),
                "/api/v1/nodes?limit=200" => page(json!([node(json!({ CONTROL_PLANE: "" }))]), "a b/="),
                "/api/v1/nodes?limit=200&continue=a%20b%2F%3D" => page(json!([node(json!({}))]), ""),
                other => panic!("{other}"),
            };
            (200, page.to_string())
        };
        assert_eq!(known(says).await.unwrap(), [true, false]);
    }

    #[tokio::test]
    async fn a_cluster_whose_nodes_cannot_be_read_can_be_used() {
        let says: Says = |path| match path {
            "/api" => (200, "{}".into()),
            _ => (200, "no JSON".into()),
        };
        assert!(known(says).await.unwrap().is_empty());
    }

    /// `ropewalk --kubeconfig FILE` in a Korean session.
    #[tokio::test]
    async fn a_cluster_that_cannot_be_used_says_so_in_both_languages() {
        let stranger: Says = |_| (401, json!({"message": "Unauthorized"}).to_string());
        let busy: Says = |_| (503, "{}".into());
        for (says, parts) in [(stranger, ["Unauthorized", "context"]), (busy, ["HTTP 503", "kubeconfig"])] {
            let refused = known(says).await.unwrap_err();
            let (english, korean) = (refused.say(Lang::En), refused.say(Lang::Ko));
            assert!(parts.iter().all(|part| english.contains(part)), "{english}");
            assert!(korean.contains(parts[0]) && !korean.is_ascii(), "{korean}");
        }
    }
}
