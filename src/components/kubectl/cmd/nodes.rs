//! cordon and uncordon: whether new pods may come to a node.

use super::common::{DryRun, select_names};
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::wire::api::{STRATEGIC_PATCH, encoded};
use api::gostr::quote;
use api::value;
use serde_json::{Value, json};

pub(crate) async fn cordon(ctx: &Ctx) -> Result<(), Fail> {
    mark(ctx, &nodes(ctx).await?, true).await
}

pub(crate) async fn uncordon(ctx: &Ctx) -> Result<(), Fail> {
    mark(ctx, &nodes(ctx).await?, false).await
}

/// Returns the nodes that the arguments or the selector name.
///
/// # Errors
/// The first of them that cannot be read: then nothing is done to the others either.
pub(super) async fn nodes(ctx: &Ctx) -> Result<Vec<Info>, Fail> {
    let selector = ctx.flags.text("selector");
    if ctx.args.is_empty() && !ctx.flags.changed("selector") {
        return ctx.usage(format!("USAGE: {} [flags]", ctx.usage_line.trim_end_matches(" [options]")));
    }
    if !ctx.args.is_empty() && !selector.is_empty() {
        return ctx.usage("error: cannot specify both a node name and a --selector option");
    }
    let selection = match selector {
        "" => select_names(ctx, "nodes", &ctx.args).await?,
        // A selector of spaces, such as an unset variable leaves, is refused: it is not every node.
        _ => builder::by_arguments(ctx, &["nodes".to_string()], Options::default()).await?,
    };
    let (infos, failures) = builder::objects(ctx, selection).await?;
    Fail::first(failures)?;
    let other = infos.iter().map(|info| info.resource.clone()).find(|r| r.qualified() != "nodes");
    other.map_or(Ok(infos), |r| {
        let gvr = quote(&format!("{}/{}, Resource={}", r.group, r.version, r.plural));
        text(format!("expected resource of type node, got {gvr}"))
    })
}

/// Cordons nodes, or uncordons them. A refusal is printed and is no failure of the command: `drain`
/// goes on and evicts the node's pods, as in kubectl (`RunCordonOrUncordon`).
///
/// # Errors
/// No server can be reached.
pub(super) async fn mark(ctx: &Ctx, nodes: &[Info], unschedulable: bool) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let word = if unschedulable { "cordoned" } else { "uncordoned" };
    for info in nodes {
        if value::flag(&info.object, "spec.unschedulable") == unschedulable {
            ctx.line(format!("node/{} {}", info.name, dry_run.suffixed(&format!("already {word}"))));
            continue;
        }
        if dry_run != DryRun::Client {
            let mut query = vec![];
            dry_run.query(&mut query);
            let wanted = if unschedulable { json!(true) } else { Value::Null };
            let patch = encoded(&json!({"spec": {"unschedulable": wanted}}));
            match ctx.api().await?.patch(&info.path(), &query, STRATEGIC_PATCH, patch).await {
                Ok(_) => {}
                Err(fail @ (Fail::Api(_) | Fail::Text(_))) => {
                    let (verb, name) = (word.trim_end_matches("ed"), quote(&info.name));
                    ctx.note(format!("error: unable to {verb} node {name}: {}", fail.message()));
                    continue;
                }
                Err(other) => return Err(other),
            }
        }
        ctx.line(format!("node/{} {}", info.name, dry_run.suffixed(word)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, at, config_map, refusal};
    use serde_json::json;

    /// A server with the nodes `a` and `b`, of which the first may not be changed.
    async fn server() -> Server {
        let server = Server::start_with(|request| {
            let nodes = json!({"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster", "verbs": ["get"]});
            let core = json!({"metadata": {}, "versions": [{"version": "v1", "resources": [nodes]}]});
            match (request.method.as_str(), request.path.as_str()) {
                ("GET", "/api") => Some((200, json!({"kind": "APIGroupDiscoveryList", "items": [core]}))),
                ("PATCH", "/api/v1/nodes/a") => Some(refusal(403, "Forbidden", "you may not")),
                _ => None,
            }
        })
        .await;
        for name in ["a", "b"] {
            let node = json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}});
            server.hold(&format!("/api/v1/nodes/{name}"), node);
        }
        server
    }

    #[tokio::test]
    async fn a_node_that_may_not_be_cordoned_keeps_no_other_from_it() {
        let server = server().await;
        let result = server.kubectl(&["cordon", "a", "b"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "node/b cordoned\n"), "{result:?}");
        assert_eq!(result.err, "error: unable to cordon node \"a\": you may not\n");
        let result = server.kubectl(&["drain", "a"]).await;
        assert!(result.code == 0 && result.out.contains("node/a drained"), "{result:?}");
    }

    #[tokio::test]
    async fn a_node_is_named_with_its_type_or_without() {
        let server = server().await;
        let result = server.kubectl(&["cordon", "b", "Node/a", "--dry-run=client"]).await;
        assert_eq!((result.code, result.out.lines().count()), (0, 2), "{result:?}");
        for (name, why) in [
            ("foo/a", "the server doesn't have a resource type \"foo\""),
            ("", "resource name may not be empty"),
            ("/a", "arguments in resource/name form must have a single resource and name"),
        ] {
            let result = server.kubectl(&["cordon", name]).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")));
        }
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        let result = server.kubectl(&["cordon", "cm/a"]).await;
        let why = "error: expected resource of type node, got \"/v1, Resource=configmaps\"\n";
        assert_eq!((result.code, result.err.as_str()), (1, why));
    }

    #[tokio::test]
    async fn a_selector_of_spaces_is_not_every_node() {
        let server = server().await;
        let nothing = format!("error: {}\n", crate::builder::NOTHING);
        let unnamed = "error: resource(s) were provided, but no name was specified\n";
        for verb in ["cordon", "uncordon", "drain"] {
            for (selector, why) in [("", nothing.as_str()), (" ", unnamed)] {
                let result = server.kubectl(&[verb, "-l", selector]).await;
                assert_eq!((result.code, result.err.as_str()), (1, why), "{verb}");
            }
        }
        assert!(server.requests().is_empty(), "no node was read");
    }

    #[tokio::test]
    async fn no_node_is_cordoned_if_one_is_missing() {
        let server = server().await;
        let result = server.kubectl(&["cordon", "b", "missing", "none"]).await;
        assert!(result.code == 1 && result.out.is_empty(), "{result:?}");
        assert_eq!(result.err.lines().count(), 1, "{result:?}");
        assert!(server.object("/api/v1/nodes/b").unwrap()["spec"].is_null());
    }
}
