//! describe: finds the objects; `crate::describe` writes the text of each.

use crate::builder::{self, Selection};
use crate::ctx::Ctx;
use crate::describe::describe;
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::lists;
use crate::wire::paths;

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    if ctx.args.is_empty() && !ctx.names_files() {
        return text(
            "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of supported resources.",
        );
    }
    let all_namespaces = ctx.flags.is("all-namespaces");
    let options = Options { all_by_type: true, all_namespaces, ..Options::default() };
    let selection = builder::select(ctx, &ctx.args, options).await?;
    let by_name = matches!(selection, Selection::Objects(..));
    let (infos, mut failures) = builder::objects(ctx, selection).await?;
    if by_name && failures.len() == 1 && failures[0].is_not_found() && ctx.args.len() == 2 {
        let not_found = failures.remove(0);
        // Of `TYPE/NAME TYPE/NAME` none is a prefix; kubectl looks for one all the same and shows
        // nothing.
        return if infos.is_empty() { matching(ctx, not_found).await } else { Err(not_found) };
    }
    let mut first = true;
    for info in &infos {
        match describe(ctx, info).await {
            Ok(description) => {
                if !std::mem::take(&mut first) {
                    ctx.out("\n\n");
                }
                ctx.out(description);
            }
            Err(fail @ Fail::Api(_)) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    if infos.is_empty() && failures.is_empty() {
        if all_namespaces {
            ctx.note("No resources found");
        } else {
            let (namespace, _) = ctx.namespace()?;
            ctx.note(format!("No resources found in {namespace} namespace."));
        }
    }
    Fail::join(failures)
}

/// Describes the objects whose names begin with the argument, which is no object's name. Without
/// any such object, fails with `not_found`.
async fn matching(ctx: &Ctx, not_found: Fail) -> Result<(), Fail> {
    let resource = ctx.resource(&ctx.args[0]).await?;
    let (namespace, _) = ctx.namespace()?;
    let namespace = if resource.namespaced { namespace } else { String::new() };
    let path = paths::collection(&resource, &namespace);
    let list = lists::whole(ctx, &path, &[]).await?;
    let mut found = false;
    for object in super::pages::items_of(&list, &resource) {
        let name = api::value::text(&object, "metadata.name").to_string();
        if !name.starts_with(&ctx.args[1]) {
            continue;
        }
        found = true;
        let info = Info {
            resource: resource.clone(),
            namespace: namespace.clone(),
            name,
            object,
            source: String::new(),
        };
        ctx.line(describe(ctx, &info).await?);
    }
    if found { Ok(()) } else { Err(not_found) }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, at, config_map, refusal};
    use serde_json::json;

    #[tokio::test]
    async fn without_the_right_to_read_events_a_config_map_is_not_described() {
        let server = Server::start_with(|request| {
            request.path.ends_with("/events").then(|| refusal(403, "Forbidden", "events is forbidden"))
        })
        .await;
        server.hold(&at("a"), config_map("a", json!({})));
        let service =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"}});
        server.hold("/api/v1/namespaces/default/services/s", service);
        let result = server.kubectl(&["describe", "cm", "a"]).await;
        let want = "Error from server (Forbidden): events is forbidden\n";
        assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (1, "", want));
        for line in [["describe", "cm", "a", "--show-events=false"].as_slice(), &["describe", "svc", "s"]] {
            let result = server.kubectl(line).await;
            assert!(result.code == 0 && result.out.starts_with("Name:"), "{result:?}");
        }
    }

    #[tokio::test]
    async fn what_is_there_is_described_beside_what_is_not() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        let result = server.kubectl(&["describe", "cm", "a", "missing", "--show-events=false"]).await;
        assert!(result.code == 1 && result.out.starts_with("Name:         a\n"), "{result:?}");
        assert!(result.err.contains("missing not found"), "{result:?}");
    }
}
