//! diff: what apply would change. Exit code 0: nothing, 1: something, more: it failed.

use super::apply::{patch_between, server_side_manager};
use super::common::{LAST_APPLIED, warn_if_deleting};
use super::prune;
use crate::ctx::Ctx;
use crate::error::{Fail, go_io};
use crate::files;
use crate::info::{Info, Options};
use crate::merge;
use crate::print::{json, yaml};
use crate::wire::api::{APPLY_PATCH, encoded};
use api::value;
use client::discovery::Resource;
use serde_json::{Map, Value};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Failures have this exit code or a greater one.
const FAILED: i32 = 2;

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    match compare(ctx).await {
        Ok(true) => Err(Fail::Exit(1)),
        Ok(false) => Ok(()),
        Err(fail) => {
            let (text, code) = fail.report();
            Err(Fail::Coded(text, code.max(FAILED)))
        }
    }
}

/// The two texts of one object that are compared: as it is on the server, and after `apply`.
struct Pair {
    /// `apps.v1.Deployment.default.web`
    name: String,
    /// Empty: it is new.
    live: String,
    /// Empty: a prune would delete it.
    merged: String,
}

async fn compare(ctx: &Ctx) -> Result<bool, Fail> {
    if !ctx.args.is_empty() {
        return ctx.usage(format!("Unexpected args: [{}]", ctx.args.join(" ")));
    }
    let files = ctx.flags.list("filename");
    if !ctx.names_files() {
        return Err(Fail::Text("must specify one of -f and -k".into()));
    }
    if ctx.flags.is("force-conflicts") && !ctx.flags.is("server-side") {
        return Err(Fail::Text("--force-conflicts only works with --server-side".into()));
    }
    let (infos, failures) = files::read(ctx, &files, Options::default()).await?;
    Fail::first(failures)?;
    let (mut pairs, mut seen) = (vec![], prune::Seen::default());
    for info in &infos {
        let (pair, live) = pair(ctx, info).await?;
        let live = live.unwrap_or_default();
        warn_if_deleting(ctx, &info.name, &live);
        seen.add(info, &live);
        pairs.push(pair);
    }
    if ctx.flags.is("prune") {
        let pruned = match prune::find_unseen(ctx, &seen).await {
            Ok(pruned) => pruned,
            // As in kubectl the files are compared also if it is unknown what would be pruned.
            Err(fail @ Fail::Api(_)) => {
                ctx.note(format!("Warning: pruning failed and could not be evaluated: {}", fail.message()));
                vec![]
            }
            Err(other) => return Err(other),
        };
        for (resource, object) in pruned {
            let namespace = value::text(&object, "metadata.namespace").to_string();
            let name = name_of(&resource, &namespace, value::text(&object, "metadata.name"));
            let (live, _) = redacted(ctx, Some(object), Value::Null);
            let live = live.map_or(String::new(), |live| yaml::to_string(&live));
            pairs.push(Pair { name, live, merged: String::new() });
        }
    }
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    let external = ctx.env.vars.get("KUBECTL_EXTERNAL_DIFF").filter(|e| !e.is_empty());
    match external {
        Some(program) => run_program(ctx, program, &pairs).await,
        None => Ok(print(ctx, &pairs)),
    }
}

/// How often an object that other clients change meanwhile is read again before it is compared
/// without a lock.
const TRIES: u32 = 4;

/// Returns the texts of an object to compare, and the live object.
async fn pair(ctx: &Ctx, info: &Info) -> Result<(Pair, Option<Value>), Fail> {
    for _ in 1..TRIES {
        match attempt(ctx, info, true).await {
            Err(Fail::Api(refusal)) if refusal.reason == "Conflict" => {}
            outcome => return outcome,
        }
    }
    attempt(ctx, info, false).await
}

async fn attempt(ctx: &Ctx, info: &Info, locked: bool) -> Result<(Pair, Option<Value>), Fail> {
    let api = ctx.api().await?;
    let manager = match ctx.flags.text("field-manager") {
        "" => "kubectl-client-side-apply",
        named => named,
    };
    let query = [("dryRun", "All"), ("fieldManager", manager)];
    let live = match api.get(&info.path(), &[]).await {
        Ok(live) => Some(live),
        Err(fail) if fail.is_not_found() => None,
        Err(fail) => return Err(fail),
    };
    let merged = match &live {
        _ if ctx.flags.is("server-side") => {
            let force = ctx.flags.is("force-conflicts").to_string();
            let query =
                [("dryRun", "All"), ("fieldManager", server_side_manager(ctx)), ("force", force.as_str())];
            let body = bytes::Bytes::from(json::compact(&info.object));
            api.patch(&info.path(), &query, APPLY_PATCH, body).await?
        }
        None => api.create(&info.collection(), &query, &info.object).await?,
        Some(live) => {
            let mut modified = info.object.clone();
            value::slot_map(&mut modified, "metadata.annotations").shift_remove(LAST_APPLIED);
            let (mut patch, kind) = patch_between(info, &modified, live)?;
            if merge::is_empty(&patch) {
                live.clone()
            } else {
                if locked {
                    let version = value::at(live, "metadata.resourceVersion").clone();
                    value::put(&mut patch, "metadata.resourceVersion", version);
                }
                api.patch(&info.path(), &query, kind, encoded(&patch)).await?
            }
        }
    };
    let name = name_of(&info.resource, &info.namespace, value::text(&merged, "metadata.name"));
    let (bare, merged) = redacted(ctx, live.clone(), merged);
    let bare = bare.map_or(String::new(), |live| yaml::to_string(&live));
    Ok((Pair { name, live: bare, merged: yaml::to_string(&merged) }, live))
}

/// `apps.v1.Deployment.default.web`
fn name_of(resource: &Resource, namespace: &str, name: &str) -> String {
    let group = if resource.group.is_empty() { String::new() } else { format!("{}.", resource.group) };
    format!("{group}{}.{}.{namespace}.{name}", resource.version, resource.kind)
}

/// Returns both objects without managed fields, and with the data of a Secret masked.
fn redacted(ctx: &Ctx, live: Option<Value>, merged: Value) -> (Option<Value>, Value) {
    let drop_managed = |mut object: Value| {
        if !ctx.flags.is("show-managed-fields") {
            value::remove(&mut object, "metadata.managedFields");
        }
        object
    };
    let (mut live, mut merged) = (live.map(drop_managed), drop_managed(merged));
    let secret = |o: &Value| value::text(o, "kind") == "Secret" && value::text(o, "apiVersion") == "v1";
    if secret(&merged) || live.as_ref().is_some_and(secret) {
        let empty = Map::new();
        let data = |o: &Value| value::map(o, "data").unwrap_or(&empty).clone();
        let (before, after) = (live.as_ref().map_or(Map::new(), data), data(&merged));
        let mask = |object: &mut Value, own: &Map<String, Value>, other: &Map<String, Value>, word: &str| {
            for (key, text) in own {
                let differs = other.get(key).is_some_and(|o| o != text);
                let stars = if differs { format!("*** ({word})") } else { "***".into() };
                if let Some(Value::Object(data)) = object.get_mut("data") {
                    data.insert(key.clone(), stars.into());
                }
            }
        };
        if let Some(live) = &mut live {
            mask(live, &before, &after, "before");
        }
        mask(&mut merged, &after, &before, "after");
    }
    (live, merged)
}

fn directories() -> (String, String) {
    let number = || uuid::Uuid::new_v4().as_u128() as u32;
    (format!("LIVE-{}", number()), format!("MERGED-{}", number()))
}

/// Prints the differences in the form of `diff -u -N LIVE MERGED`. Returns whether there are any.
fn print(ctx: &Ctx, pairs: &[Pair]) -> bool {
    let (live, merged) = directories();
    let base = std::env::temp_dir();
    let now = jiff::Zoned::new(clock::now(), jiff::tz::TimeZone::system());
    let at = now.strftime("%Y-%m-%d %H:%M:%S.%9f %z");
    let mut differs = false;
    for pair in pairs.iter().filter(|p| p.live != p.merged) {
        differs = true;
        let side = |dir: &str| base.join(dir).join(&pair.name).display().to_string();
        let (from, to) = (side(&live), side(&merged));
        ctx.line(format!("diff -u -N {from} {to}"));
        let changes = similar::TextDiff::from_lines(&pair.live, &pair.merged);
        let text = changes
            .unified_diff()
            .context_radius(3)
            .header(&format!("{from}\t{at}"), &format!("{to}\t{at}"))
            .to_string();
        ctx.out(text);
    }
    differs
}

/// A temporary folder that only the user can read. It is removed when the command ends, also by an
/// interrupt.
struct Folder(PathBuf);

impl Folder {
    fn make(path: PathBuf) -> std::io::Result<Folder> {
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // the program may have removed it
    }
}

/// `$KUBECTL_EXTERNAL_DIFF LIVE MERGED`
async fn run_program(ctx: &Ctx, program: &str, pairs: &[Pair]) -> Result<bool, Fail> {
    let (live, merged) = directories();
    let base = std::env::temp_dir();
    let outcome = async {
        let (live, merged) = (Folder::make(base.join(live))?, Folder::make(base.join(merged))?);
        for pair in pairs {
            // A new object has an empty file, so that a program without `-N` compares it, too. For
            // an object that a prune would delete kubectl writes the live file only.
            std::fs::write(live.0.join(&pair.name), &pair.live)?;
            if !pair.merged.is_empty() {
                std::fs::write(merged.0.join(&pair.name), &pair.merged)?;
            }
        }
        let mut words = program.split_whitespace();
        let mut command = tokio::process::Command::new(words.next().unwrap_or("diff"));
        command.args(words).arg(&live.0).arg(&merged.0).kill_on_drop(true);
        // kubectl has these words for every failure to start a program, also one with a path.
        // Source: `handleError` of k8s.io/utils/exec.
        command.output().await.map_err(|_| std::io::Error::other("executable file not found in $PATH"))
    }
    .await;
    let output = outcome.map_err(|error| {
        let name = program.split_whitespace().next().unwrap_or(program);
        Fail::Text(format!("failed to run {}: {}", api::gostr::quote(name), go_io(&error)))
    })?;
    ctx.output.bytes(&output.stdout);
    ctx.output.err_bytes(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        code => {
            let how = code.map_or_else(|| output.status.to_string(), |code| format!("exit status {code}"));
            let name = program.split_whitespace().next().unwrap_or(program);
            Err(Fail::Text(format!("failed to run {}: {how}", api::gostr::quote(name))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Folder;
    use crate::Env;
    use crate::cmd::common::LAST_APPLIED;
    use crate::testing::{Server, at, config_map, refusal};
    use serde_json::json;

    #[tokio::test]
    async fn files_are_compared_where_pruning_cannot_be() {
        let server = Server::start_with(|request| {
            (request.path == "/api/v1/namespaces").then(|| refusal(403, "Forbidden", "you may not"))
        })
        .await;
        let file = config_map("a", json!({})).to_string();
        let result = server.kubectl_in(&["diff", "--prune", "-f", "-"], &file, Env::default()).await;
        let want = "Warning: pruning failed and could not be evaluated: you may not\n";
        assert_eq!((result.code, result.err.as_str()), (1, want), "{result:?}");
        assert!(result.out.contains("+  name: a\n"), "{result:?}");
    }

    #[tokio::test]
    async fn what_a_program_compares_is_the_users_alone_and_does_not_stay() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, config_map("a", json!({})).to_string()).unwrap();
        let program = ("KUBECTL_EXTERNAL_DIFF".to_string(), "stat -c %a:%n".to_string());
        let env = Env { vars: [program].into(), ..Env::default() };
        let result = server.kubectl_in(&["diff", "-f", &file.display().to_string()], "", env).await;
        let folders: Vec<(&str, &str)> = result.out.lines().filter_map(|line| line.split_once(':')).collect();
        assert_eq!(folders.len(), 2, "{result:?}");
        for (mode, folder) in folders {
            assert!(mode == "700" && !std::path::Path::new(folder).exists(), "{result:?}");
        }
        // A command that is interrupted while the program runs drops its folders.
        let folder = Folder::make(dir.path().join("LIVE-1")).unwrap();
        std::fs::write(folder.0.join("v1.ConfigMap.default.a"), "").unwrap();
        drop(folder);
        assert!(!dir.path().join("LIVE-1").exists());
    }

    /// `apply` drops the resource version of a new object, which a file that was exported from a
    /// cluster has.
    #[tokio::test]
    async fn a_new_object_is_compared_without_its_resource_version() {
        let server = Server::start().await;
        let mut object = config_map("a", json!({}));
        object["metadata"]["resourceVersion"] = "7".into();
        let result = server.kubectl_in(&["diff", "-f", "-"], &object.to_string(), Env::default()).await;
        assert_eq!(result.code, 1, "{result:?}");
        let tried = server.requests().into_iter().find(|request| request.method == "POST").unwrap();
        assert!(tried.query.contains("dryRun=All"), "{tried:?}");
        assert!(tried.body["metadata"].get("resourceVersion").is_none(), "{tried:?}");
    }

    #[tokio::test]
    async fn what_a_prune_would_delete_is_a_difference() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        for name in ["stays", "goes"] {
            let mut object = config_map(name, json!({"app": "x"}));
            object["metadata"]["annotations"] = json!({LAST_APPLIED: "{}"});
            server.hold(&at(name), object);
        }
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, config_map("stays", json!({"app": "x"})).to_string()).unwrap();
        let file = file.display().to_string();
        let result = server.kubectl(&["diff", "-f", &file, "-l", "app=x"]).await;
        assert_eq!(result.code, 0, "{result:?}");
        let result = server.kubectl(&["diff", "--prune", "-f", &file, "-l", "app=x"]).await;
        assert!(result.code == 1 && result.out.contains("-  name: goes\n"), "{result:?}");
        assert!(server.object(&at("goes")).is_some(), "a diff deletes nothing");
    }

    #[tokio::test]
    async fn a_program_is_given_an_empty_file_for_what_is_new() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, config_map("a", json!({})).to_string()).unwrap();
        let program = ("KUBECTL_EXTERNAL_DIFF".to_string(), "ls".to_string());
        let env = Env { vars: [program].into(), ..Env::default() };
        let result = server.kubectl_in(&["diff", "-f", &file.display().to_string()], "", env).await;
        assert_eq!(result.out.matches("v1.ConfigMap.default.a").count(), 2, "{result:?}");
        for name in ["no-such-diff", "/no/such/diff"] {
            let program = ("KUBECTL_EXTERNAL_DIFF".to_string(), format!("{name} -q"));
            let env = Env { vars: [program].into(), ..Env::default() };
            let result = server.kubectl_in(&["diff", "-f", &file.display().to_string()], "", env).await;
            let want = format!("error: failed to run \"{name}\": executable file not found in $PATH\n");
            assert_eq!((result.code, result.err), (2, want));
        }
        let program = ("KUBECTL_EXTERNAL_DIFF".to_string(), "ls --no-such-flag".to_string());
        let env = Env { vars: [program].into(), ..Env::default() };
        let result = server.kubectl_in(&["diff", "-f", &file.display().to_string()], "", env).await;
        assert!(
            result.code == 2 && result.err.ends_with("failed to run \"ls\": exit status 2\n"),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn an_object_that_is_being_deleted_is_warned_of() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, config_map("a", json!({})).to_string()).unwrap();
        let file = file.display().to_string();
        let mut object = config_map("a", json!({}));
        object["metadata"]["annotations"] = json!({LAST_APPLIED: "{}"});
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        server.hold(&at("a"), object);
        let result = server.kubectl(&["diff", "-f", &file]).await;
        let want = "Warning: Detected changes to resource a which is currently being deleted.\n";
        assert_eq!((result.code, result.err.as_str()), (0, want), "{result:?}");
        let result = server.kubectl(&["diff", "--force-conflicts", "-f", &file]).await;
        let want = "error: --force-conflicts only works with --server-side\n";
        assert_eq!((result.code, result.err.as_str()), (2, want), "{result:?}");
    }
}
