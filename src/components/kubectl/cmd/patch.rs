//! patch: some fields of an object.

use super::apply::is_strategic;
use super::common::{DryRun, objects_as_given, subresource, subresources};
use super::record::record_behind;
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, go_io, text};
use crate::info::{Info, Options};
use crate::manifest;
use crate::print::{formats, json};
use crate::wire::api::{JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};
use api::gostr::quote;
use api::status::Status;
use api::{patch as patches, strategic, value};
use bytes::Bytes;
use serde_json::Value;

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let kind = content_type(ctx)?;
    let (patch, bytes) = read_patch(ctx)?;
    let dry_run = DryRun::of(ctx)?;
    let format = formats::of(ctx, false)?;
    if ctx.flags.is("local") && !ctx.args.is_empty() {
        return text("cannot specify --local and server resources");
    }
    let (sub, local) = (subresource(ctx), ctx.flags.is("local"));
    let (infos, mut failures) = match local {
        true => builder::local_or_there(ctx, &ctx.args, Options::default()).await?,
        false => {
            let selection = builder::select(ctx, &ctx.args, Options::default()).await?;
            match sub.as_str() {
                "" => objects_as_given(ctx, selection).await?,
                below => subresources(ctx, selection, below).await?,
            }
        }
    };
    if infos.is_empty() {
        Fail::join(failures)?;
        return text("no objects passed to patch");
    }
    for info in infos {
        let mut query = vec![("fieldManager", "kubectl-patch")];
        if !ctx.flags.text("field-manager").is_empty() {
            query[0].1 = ctx.flags.text("field-manager");
        }
        dry_run.query(&mut query);
        let (here, path) = (dry_run == DryRun::Client || local, format!("{}{sub}", info.path()));
        let outcome = match here {
            true => locally(&info, kind, &patch, &bytes),
            false => ctx.api().await?.patch(&path, &query, kind, bytes.clone()).await,
        };
        let mut object = match outcome {
            Ok(object) => object,
            Err(Fail::Api(refusal)) if refusal.reason == "UnsupportedMediaType" => {
                let gvk = format!("{}, Kind={}", info.resource.api_version(), info.resource.kind);
                failures.push(Fail::Text(format!("{kind} is not supported by {gvk}: {}", refusal.message)));
                continue;
            }
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => {
                failures.push(fail);
                continue;
            }
            Err(other) => return Err(other),
        };
        let same = object == info.object;
        if !here && let Some(recorded) = record_behind(ctx, &path, &query).await {
            object = recorded;
        }
        match &format {
            Some(format) => ctx.out(format.print(&object, true)?),
            None => {
                let operation = if same { "patched (no change)" } else { "patched" };
                ctx.line(format!("{} {operation}", formats::name_of(&object)));
            }
        }
    }
    Fail::join(failures)
}

/// Returns the media type of the patches that `--type` names.
fn content_type(ctx: &Ctx) -> Result<&'static str, Fail> {
    let given = ctx.flags.text("type");
    Ok(match given.to_lowercase().as_str() {
        "strategic" => STRATEGIC_PATCH,
        "merge" => MERGE_PATCH,
        "json" => JSON_PATCH,
        _ => return text(format!("--type must be one of [json merge strategic], not {}", quote(given))),
    })
}

/// Reads the patch of `--patch` or `--patch-file`: its value, and the JSON that is sent.
fn read_patch(ctx: &Ctx) -> Result<(Value, Bytes), Fail> {
    let given = match (ctx.flags.text("patch"), ctx.flags.text("patch-file")) {
        ("", "") => return text("must specify --patch or --patch-file containing the contents of the patch"),
        ("", file) => std::fs::read_to_string(ctx.path(file))
            .map_err(|e| Fail::Text(format!("unable to read patch file: open {file}: {}", go_io(&e))))?,
        (patch, "") => patch.to_string(),
        _ => return text("cannot specify --patch and --patch-file together"),
    };
    // What looks like JSON goes to the server as it is; `locally` refuses it if it is none.
    Ok(if given.trim_start().starts_with('{') {
        (serde_json::from_str(&given).unwrap_or(Value::Null), Bytes::from(given.clone()))
    } else {
        let patch = manifest::yaml_to_json(given.as_bytes())
            .map_err(|why| Fail::Text(format!("unable to parse {}: {why}", quote(&given))))?;
        let bytes = Bytes::from(json::compact(&patch));
        (patch, bytes)
    })
}

/// Returns the failure of a JSON patch that kubectl itself applies: the cause alone. The message of
/// the status is in a server's words, and no request was sent.
pub(crate) fn unpatched(status: &Status) -> Fail {
    Fail::Text(cause_of(status).to_string())
}

fn cause_of(status: &Status) -> &str {
    let cause = value::list(&status.details, "causes").first();
    cause.map_or(status.message.as_str(), |cause| value::text(cause, "message"))
}

/// As [`unpatched`]; a field that is to be replaced and is not there has words of its own. Source:
/// kubectl's `pkg/cmd/patch/patch.go`, `getPatchedJSON`.
fn unpatched_here(status: &Status) -> Fail {
    match cause_of(status).split_once("doc is missing key: ") {
        Some((_, field)) => Fail::Text(format!("Object to be patched is missing field ({field})")),
        None => unpatched(status),
    }
}

fn locally(info: &Info, how: &str, patch: &Value, bytes: &[u8]) -> Result<Value, Fail> {
    let mut object = info.object.clone();
    match how {
        STRATEGIC_PATCH if !is_strategic(&info.resource) => {
            return text(format!(
                "strategic merge patch is not supported for {}, Kind={} locally, try --type merge",
                info.resource.api_version(),
                info.resource.kind
            ));
        }
        // Go reads a null as a patch without fields.
        STRATEGIC_PATCH if bytes == b"null" => {}
        STRATEGIC_PATCH => {
            strategic::apply(&info.resource.kind, &mut object, patch).map_err(Fail::Text)?;
        }
        JSON_PATCH => patches::json(&mut object, bytes).map_err(|status| unpatched_here(&status))?,
        // Null is what could not be read as JSON.
        _ if !patch.is_object() => return text("Invalid JSON Patch"),
        _ => patches::merge(&mut object, patch),
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, at, config_map, refusal};
    use serde_json::json;

    #[tokio::test]
    async fn a_broken_merge_patch_fails_in_a_dry_run_too() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        for broken in ["{data: {k: v}}", "null", "5", "{"] {
            for kind in ["merge", "strategic", "json"] {
                let how = format!("--type={kind}");
                let result =
                    server.kubectl(&["patch", "cm", "a", &how, "--dry-run=client", "-p", broken]).await;
                let as_kubectl = match (broken, kind) {
                    ("null", "strategic" | "json") => (0, "configmap/a patched (no change)\n"),
                    _ => (1, ""),
                };
                assert_eq!((result.code, result.out.as_str()), as_kubectl, "{broken} {kind}: {result:?}");
            }
            let line = ["patch", "cm", "a", "--type=merge", "--dry-run=client", "-o", "yaml", "-p", broken];
            let result = server.kubectl(&line).await;
            assert_eq!((result.out.as_str(), result.err.as_str()), ("", "error: Invalid JSON Patch\n"));
        }
    }

    #[tokio::test]
    async fn a_patch_that_does_not_fit_one_object_is_tried_on_the_others() {
        let server = Server::start().await;
        for (name, labels) in [("a", json!({})), ("b", json!({"x": "1"}))] {
            server.hold(&at(name), config_map(name, labels));
        }
        let test = r#"[{"op":"test","path":"/metadata/labels/x","value":"1"}]"#;
        let line = ["patch", "cm", "a", "b", "--type=json", "--dry-run=client", "-p", test];
        let result = server.kubectl(&line).await;
        assert_eq!(
            (result.code, result.out.as_str()),
            (1, "configmap/b patched (no change)\n"),
            "{result:?}"
        );
        // The reason alone: a server's answer has more words before it.
        assert_eq!(result.err, "error: testing value /metadata/labels/x failed: test failed\n");
        // As in the library of upstream, a key that is not there is set; a place in a list is not.
        let mut finalized = config_map("c", json!({}));
        finalized["metadata"]["finalizers"] = json!(["example.com/f"]);
        server.hold(&at("c"), finalized);
        let replace = r#"[{"op":"replace","path":"/metadata/finalizers/2","value":"1"}]"#;
        let result =
            server.kubectl(&["patch", "cm", "c", "--type=json", "--dry-run=client", "-p", replace]).await;
        let why = "error: Object to be patched is missing field (/metadata/finalizers/2: missing value)\n";
        assert_eq!((result.code, result.err.as_str()), (1, why));
        server.hold(&format!("{}/status", at("b")), config_map("b", json!({"x": "1"})));
        let line = ["patch", "cm", "a", "b", "--subresource=status", "--type=merge", "-p", "{}"];
        let result = server.kubectl(&line).await;
        assert!(result.code == 1 && result.out.starts_with("configmap/b patched"), "{result:?}");
    }

    #[tokio::test]
    async fn an_object_of_a_file_is_not_read() {
        let server = Server::start_with(|request| {
            (request.method == "GET" && request.path == at("a")).then(|| refusal(403, "Forbidden", "no"))
        })
        .await;
        server.hold(&at("a"), config_map("a", json!({})));
        let file = config_map("a", json!({})).to_string();
        let line = ["patch", "-f", "-", "--type=merge", "-p", r#"{"data":{"k":"v"}}"#];
        let result = server.kubectl_in(&line, &file, crate::Env::default()).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a patched\n"), "{result:?}");
        assert_eq!(server.object(&at("a")).unwrap()["data"]["k"], "v");
    }

    #[tokio::test]
    async fn a_subresource_is_patched_without_the_right_to_read_its_object() {
        let server = Server::start_with(|request| {
            (request.method == "GET" && request.path == at("a")).then(|| refusal(403, "Forbidden", "no"))
        })
        .await;
        let status = format!("{}/status", at("a"));
        server.hold(&status, config_map("a", json!({})));
        let patch = r#"{"data":{"k":"v"}}"#;
        let line = ["patch", "cm", "a", "--subresource=status", "--type=merge", "-p", patch];
        let result = server.kubectl(&line).await;
        assert_eq!((result.code, result.out.as_str()), (0, "configmap/a patched\n"), "{result:?}");
        assert_eq!(server.object(&status).unwrap()["data"]["k"], "v");
    }

    #[tokio::test]
    async fn local_changes_are_of_the_file_and_ask_no_server() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, config_map("a", json!({"from": "file"})).to_string()).unwrap();
        let file = file.display().to_string();
        let lines: [&[&str]; 3] = [
            &["patch", "--type=merge", "-p", r#"{"data":{"k":"v"}}"#],
            &["label", "tier=x"],
            &["annotate", "tier=x"],
        ];
        for line in lines {
            let result = server.kubectl(&[line, &["--local", "-o", "json", "-f", &file]].concat()).await;
            assert_eq!(result.code, 0, "{result:?}");
            let object: serde_json::Value = serde_json::from_str(&result.out).unwrap();
            assert_eq!(object["metadata"]["labels"]["from"], "file");
            assert!(
                result.out.contains("\"k\": \"v\"") || result.out.contains("\"tier\": \"x\""),
                "{result:?}"
            );
        }
        let widget = dir.path().join("w.yaml");
        std::fs::write(&widget, "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}").unwrap();
        let widget = widget.display().to_string();
        let result = server.kubectl(&["patch", "-p", "{}", "--local", "-f", &widget]).await;
        let why = "error: strategic merge patch is not supported for example.com/v1, Kind=Widget locally, try --type merge\n";
        assert_eq!((result.code, result.err.as_str()), (1, why));
        std::fs::write(
            &widget,
            "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: w}}",
        )
        .unwrap();
        let result = server.kubectl(&["patch", "-p", "{}", "--local", "-f", &widget]).await;
        assert!(result.err.contains("Kind=CustomResourceDefinition locally, try --type merge"), "{result:?}");
        let result = server.kubectl(&["patch", "-p", "{}", "--local"]).await;
        assert!(result.code == 1 && result.err.contains("by --filename when --local is set"), "{result:?}");
        let result = server.kubectl(&["patch", "cm", "a", "-p", "{}", "--local"]).await;
        assert_eq!(result.err, "error: cannot specify --local and server resources\n");
    }
}
