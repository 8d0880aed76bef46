//! set: one field of pod templates.

use super::common::{DryRun, Printer, label_selector, strategic_patch};
use super::record::{changes_cause, record};
use super::typed::{self, spec_path};
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::scheme;
use api::gostr::quote;
use api::labels::{Op, Requirement, Selector};
use api::{strategic, value};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// The words that name resources, and the containers with their new images.
type Images<'a> = (&'a [String], Vec<(&'a str, &'a str)>);

/// Splits words that name resources from the `CONTAINER=IMAGE` words behind them. Source: kubectl's
/// `GetResourcesAndPairs` and `ParsePairs`.
fn split_images(words: &[String]) -> Result<Images<'_>, Fail> {
    let is_pair = |word: &str| {
        (word.contains('=') && !word.starts_with('=')) || (word.ends_with('-') && word.len() > 1)
    };
    let at = words.iter().position(|word| is_pair(word)).unwrap_or(words.len());
    let (resources, images) = words.split_at(at);
    if let Some(word) = images.iter().find(|word| !is_pair(word)) {
        return text(format!("all resources must be specified before image changes: {word}"));
    }
    let (mut pairs, mut invalid) = (vec![], vec![]);
    for word in images {
        match word.split_once('=') {
            Some(pair) => pairs.push(pair),
            None => invalid.push(word.as_str()),
        }
    }
    match invalid.is_empty() {
        true => Ok((resources, pairs)),
        false => text(format!("invalid image format: {}", invalid.join(", "))),
    }
}

/// Puts a change where the kind keeps its pod spec.
fn wrapped(path: &str, change: Value) -> Value {
    path.rsplit('.').fold(change, |inner, field| json!({field: inner}))
}

/// The objects whose fields are to be set: the server's, or with `--local` those of the files and
/// nothing else.
async fn selected_objects(ctx: &Ctx, resources: &[String]) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    if ctx.flags.is("all") && !ctx.flags.text("selector").is_empty() {
        return text("cannot set --all and --selector at the same time");
    }
    let options = Options { all_by_type: ctx.flags.is("all"), ..Options::default() };
    let (infos, mut failures) = builder::local_or_there(ctx, resources, options).await?;
    let mut infos = scheme::known(infos, &mut failures);
    if ctx.flags.is("local") {
        infos.iter_mut().for_each(|info| typed::zeros(&info.resource.kind, &mut info.object));
    }
    Ok((infos, failures))
}

/// As [`selected_objects`], for verbs that change nothing unless every object is found.
///
/// Example: `set image deploy/web deploy/typo c=nginx:2` leaves `deploy/web` as it is. Source: the
/// `Infos()` of `set_image.go`, `set_env.go`, `set_resources.go` and `set_serviceaccount.go`.
///
/// # Errors
/// Those of [`selected_objects`], and all objects that cannot be read.
pub(super) async fn all_or_none(ctx: &Ctx, resources: &[String]) -> Result<Vec<Info>, Fail> {
    let (infos, failures) = selected_objects(ctx, resources).await?;
    Fail::join(failures)?;
    Ok(infos)
}

/// Patches each object with what `change` makes of its pod spec, and prints the outcome.
pub(super) async fn each(
    ctx: &Ctx,
    resources: &[String],
    operation: &str,
    change: impl Fn(&Info, &Value) -> Result<Option<Value>, Fail>,
) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let local = ctx.flags.is("local");
    let mut failures = vec![];
    for mut info in all_or_none(ctx, resources).await? {
        let Some(path) = spec_path(&info.resource.kind) else {
            failures.push(Fail::Text(format!(
                "error: {} the object is not a pod or does not have a pod template: *{}.{}\n",
                info.name_in_set(local),
                info.resource.version,
                info.resource.kind
            )));
            continue;
        };
        let mut patch = match change(&info, value::at(&info.object, path)) {
            Ok(Some(patch)) => wrapped(path, patch),
            Ok(None) if changes_cause(ctx, &info.object) => json!({}), // the cause is the change
            Ok(None) => continue,
            Err(Fail::Text(why)) if operation == "env updated" => {
                failures.push(Fail::Text(format!("error: {} {why}\n", info.name_in_set(local))));
                continue;
            }
            Err(fail) => {
                failures.push(fail);
                continue;
            }
        };
        record(ctx, &mut patch);
        if local || dry_run == DryRun::Client {
            typed::zeros(&info.resource.kind, &mut info.object);
            strategic::apply(&info.resource.kind, &mut info.object, &patch).map_err(Fail::Text)?;
            if local {
                // An older name of `serviceAccountName`, which only a server fills in.
                value::remove(&mut info.object, &format!("{path}.serviceAccount"));
            }
        } else {
            match strategic_patch(ctx, &info, dry_run, &patch).await {
                Ok(object) => info.object = object,
                Err(Fail::Api(refusal)) => {
                    // Every verb has its own words here.
                    let what = match operation {
                        "image updated" => "image update to pod template:",
                        "env updated" => "env update to pod template:",
                        "serviceaccount updated" => "ServiceAccountName",
                        _ => "resources update to pod template",
                    };
                    failures.push(Fail::Text(format!("failed to patch {what} {}", refusal.message)));
                    continue;
                }
                Err(fail) => return Err(fail),
            }
        }
        printer.print(ctx, &info.object, operation, true)?;
    }
    Fail::join(failures)
}

/// Refuses a line that names no objects, before its images and accounts are looked at; with
/// `--local` the builder has words of its own.
fn require_objects(ctx: &Ctx, resources: &[String]) -> Result<(), Fail> {
    let local = ctx.flags.is("local");
    if resources.is_empty() && !ctx.names_files() && !local { text(builder::NOTHING) } else { Ok(()) }
}

pub(crate) async fn image(ctx: &Ctx) -> Result<(), Fail> {
    let (resources, images) = split_images(&ctx.args)?;
    require_objects(ctx, resources)?;
    if images.is_empty() {
        return text("at least one image update is required");
    }
    if images.len() > 1 && images.iter().any(|(name, _)| *name == "*") {
        return text(
            "all containers are already specified by *, but saw more than one container_name=container_image pairs",
        );
    }
    // An image for a container that is not there does not keep the others from being set.
    let unknown: Mutex<Vec<Fail>> = Mutex::default();
    let outcome = each(ctx, resources, "image updated", |_, spec| {
        let mut patch = serde_json::Map::new();
        for (name, _) in &images {
            let known = ["containers", "initContainers"].iter().any(|field| {
                value::list(spec, field).iter().any(|c| *name == "*" || value::text(c, "name") == *name)
            });
            if !known {
                let why = format!("error: unable to find container named {}", quote(name));
                unknown.lock().push(Fail::Text(why));
            }
        }
        for field in ["containers", "initContainers"] {
            let containers = value::list(spec, field);
            let changed: Vec<Value> = containers
                .iter()
                .filter_map(|container| {
                    let name = value::text(container, "name");
                    // Of two images for one container the last one counts.
                    let (_, image) = images.iter().rfind(|(n, _)| *n == "*" || *n == name)?;
                    (value::text(container, "image") != *image).then(|| json!({"image": image, "name": name}))
                })
                .collect();
            if !changed.is_empty() {
                let order: Vec<Value> =
                    containers.iter().map(|c| json!({"name": value::text(c, "name")})).collect();
                patch.insert(format!("$setElementOrder/{field}"), order.into());
                patch.insert(field.into(), changed.into());
            }
        }
        Ok((!patch.is_empty()).then_some(Value::Object(patch)))
    })
    .await;
    let mut failures = unknown.into_inner();
    match outcome {
        Ok(()) => {}
        Err(Fail::Many(all)) => failures.extend(all),
        Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
        Err(other) => return Err(other),
    }
    Fail::join(failures)
}

pub(crate) async fn service_account(ctx: &Ctx) -> Result<(), Fail> {
    let Some((account, resources)) = ctx.args.split_last() else {
        return text("serviceaccount is required");
    };
    require_objects(ctx, resources)?;
    each(ctx, resources, "serviceaccount updated", |_, spec| {
        // As in kubectl an object that has this account already is printed as updated all the same.
        Ok(Some(match value::text(spec, "serviceAccountName") == account {
            true => json!({}),
            false => json!({"serviceAccount": account, "serviceAccountName": account}),
        }))
    })
    .await
}

/// What a selector of the oldest form, a map, can say. `a in (b)` is refused, although `a=b` means
/// the same.
fn as_map(selector: &Selector) -> Result<serde_json::Map<String, Value>, Fail> {
    let (mut map, mut others) = (serde_json::Map::new(), Vec::new());
    let mut requirements: Vec<&Requirement> = selector.0.iter().collect();
    requirements.sort_by(|a, b| a.key.cmp(&b.key));
    for Requirement { key, op, values } in requirements {
        let operator = match (op, values.as_slice()) {
            (Op::Equals, [one]) => {
                map.insert(key.clone(), one.as_str().into());
                continue;
            }
            (Op::Equals | Op::In, _) => "In",
            (Op::NotIn, _) => "NotIn",
            (Op::Exists, _) => "Exists",
            (Op::DoesNotExist, _) => "DoesNotExist",
            (Op::NotEquals | Op::GreaterThan | Op::LessThan, _) => continue, // refused as it was read
        };
        others.push(format!("{{{key} {operator} [{}]}}", values.join(" ")));
    }
    match others.is_empty() {
        true => Ok(map),
        false => text(format!("match expression [{}] not supported on this object", others.join(" "))),
    }
}

/// The whole selector is replaced: keys that are not named go.
pub(crate) async fn selector(ctx: &Ctx) -> Result<(), Fail> {
    let Some((expression, resources)) = ctx.args.split_last() else {
        return text("one selector is required");
    };
    let selector = label_selector(expression)?;
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let (infos, mut failures) = selected_objects(ctx, resources).await?;
    for mut info in infos {
        if info.resource.kind != "Service" {
            failures.push(Fail::Text("setting a selector is only supported for Services".into()));
            continue;
        }
        let wanted = match as_map(&selector) {
            Ok(wanted) => wanted,
            Err(fail) => {
                failures.push(fail);
                continue;
            }
        };
        let now = value::at(&info.object, "spec.selector").as_object().cloned().unwrap_or_default();
        let gone = now.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null));
        let fresh = wanted.iter().filter(|(key, text)| now.get(*key) != Some(text));
        let change: serde_json::Map<String, Value> =
            gone.chain(fresh.map(|(key, text)| (key.clone(), text.clone()))).collect();
        let mut patch = match change.is_empty() {
            true => json!({}),
            false => json!({"spec": {"selector": change}}),
        };
        let version = ctx.flags.text("resource-version");
        if !version.is_empty() {
            patch["metadata"] = json!({ "resourceVersion": version });
        }
        record(ctx, &mut patch);
        if ctx.flags.is("local") || dry_run == DryRun::Client {
            value::put(&mut info.object, "spec.selector", Value::Object(wanted));
            record(ctx, &mut info.object);
        } else {
            match strategic_patch(ctx, &info, dry_run, &patch).await {
                Ok(object) => info.object = object,
                Err(fail @ Fail::Api(_)) => {
                    failures.push(fail);
                    continue;
                }
                Err(fail) => return Err(fail),
            }
        }
        printer.print(ctx, &info.object, "selector updated", true)?;
    }
    Fail::join(failures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn a_container_that_is_not_there_keeps_no_other_from_its_image() {
        let server = Server::start().await;
        let containers = json!([{"name": "c", "image": "n:1"}, {"name": "d", "image": "n:1"}]);
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"template": {"spec": {"containers": containers}}}});
        server.hold("/apis/apps/v1/namespaces/default/deployments/web", web);
        let result = server.kubectl(&["set", "image", "deploy/web", "x=n:2", "c=n:2", "y=n:2"]).await;
        assert_eq!(
            (result.code, result.out.as_str()),
            (1, "deployment.apps/web image updated\n"),
            "{result:?}"
        );
        let want =
            "error: unable to find container named \"x\"\nerror: unable to find container named \"y\"\n";
        assert_eq!(result.err, want);
        let patches: Vec<Value> =
            server.requests().into_iter().filter(|a| a.method == "PATCH").map(|a| a.body).collect();
        assert_eq!(patches.len(), 1);
        let set = &patches[0]["spec"]["template"]["spec"]["containers"];
        assert_eq!(*set, json!([{"name": "c", "image": "n:2"}]));
    }

    #[tokio::test]
    async fn nothing_is_set_unless_every_object_is_found() {
        let server = Server::start().await;
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "n:1"}]}}}});
        server.hold("/apis/apps/v1/namespaces/default/deployments/web", web);
        for line in [
            &["set", "image", "deploy/web", "deploy/typo", "c=n:2"][..],
            &["set", "env", "deploy/web", "deploy/typo", "A=1"],
            &["set", "env", "deploy/web", "deploy/typo", "--list"],
            &["set", "resources", "deploy/web", "deploy/typo", "--limits=cpu=1"],
            &["set", "serviceaccount", "deploy/web", "deploy/typo", "sa"],
        ] {
            let result = server.kubectl(line).await;
            assert_eq!((result.code, result.out.as_str()), (1, ""), "{line:?}: {result:?}");
            assert!(result.err.contains("typo not found"), "{line:?}: {result:?}");
        }
        assert!(server.requests().iter().all(|request| request.method == "GET"), "nothing was changed");
    }

    #[tokio::test]
    async fn a_file_is_read_as_its_kind() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("d.yaml").display().to_string();
        let line = ["set", "image", "--local", "-o", "jsonpath={.spec}", "-f", &file, "c=n:2"];
        let spec = json!({"nope": 1, "template": {"spec": {"containers": [{"name": "c", "image": "n:1"}]}}});
        let web = |spec: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec});
        std::fs::write(&file, web(spec).to_string()).unwrap();
        let result = server.kubectl(&line).await;
        assert!(result.code == 0 && result.out.contains("n:2") && !result.out.contains("nope"), "{result:?}");
        std::fs::write(&file, web(json!({"replicas": "3"})).to_string()).unwrap();
        let result = server.kubectl(&line).await;
        let why =
            format!("error: unable to decode \"{file}\": json: cannot unmarshal string into Go struct field");
        assert!(result.code == 1 && result.err.starts_with(&why), "{result:?}");
    }

    /// The errors are those of kubectl.
    #[tokio::test]
    async fn an_error_about_an_object_of_a_file_names_its_kind() {
        let (server, dir) = (Server::away().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("f.yaml").display().to_string();
        let only = "setting subjects is only supported for RoleBinding/ClusterRoleBinding";
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}});
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        let template = "the object is not a pod or does not have a pod template: *v1.ConfigMap";
        for (object, words, want) in [
            (&deployment, ["subject", "--user=u"], format!("error: deployment.apps/web\n {only}\n")),
            (&config, ["subject", "--user=u"], format!("error: configmap/c {only}\n")),
            (&config, ["env", "A=1"], format!("error: configmap/c {template}\n")),
        ] {
            std::fs::write(&file, object.to_string()).unwrap();
            let line = [words[0], words[1], "--local", "-f", &file];
            let result = server.kubectl(&[&["set"], &line[..]].concat()).await;
            assert_eq!((result.code, result.err), (1, want), "{line:?}");
        }
    }

    #[tokio::test]
    async fn images_stand_behind_the_objects_that_they_are_for() {
        let server = Server::start().await;
        let both = "cannot set --all and --selector at the same time";
        for (line, why) in [
            (
                &["set", "image", "deploy/web", "c=n:2", "deploy/api"][..],
                "all resources must be specified before image changes: deploy/api",
            ),
            (
                &["set", "image", "c=n:2", "deploy/web"],
                "all resources must be specified before image changes: deploy/web",
            ),
            (&["set", "image", "deploy/web", "c=n:2", "d-"], "invalid image format: d-"),
            (&["set", "image", "c=n:2"], builder::NOTHING),
            (&["set", "image"], builder::NOTHING),
            (&["set", "serviceaccount", "sa"], builder::NOTHING),
            (&["set", "image", "deploy/web"], "at least one image update is required"),
            (&["set", "image", "deploy", "--all", "--selector=a=b", "c=n:2"], both),
            (&["set", "env", "deploy", "--all", "--selector=a=b", "A=1"], both),
            (&["set", "resources", "deploy", "--all", "--selector=a=b", "--limits=cpu=1"], both),
        ] {
            let result = server.kubectl(line).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{line:?}");
        }
        assert!(server.requests().is_empty(), "nothing was asked");
    }

    #[tokio::test]
    async fn an_object_that_has_the_account_already_is_printed() {
        let server = Server::start().await;
        let spec = json!({"serviceAccountName": "a", "containers": [{"name": "c", "image": "n:1"}]});
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"template": {"spec": spec}}});
        let at = "/apis/apps/v1/namespaces/default/deployments/web";
        server.hold(at, web);
        let result = server.kubectl(&["set", "serviceaccount", "deploy/web", "a"]).await;
        let want = "deployment.apps/web serviceaccount updated\n";
        assert_eq!((result.code, result.out.as_str()), (0, want), "{result:?}");
        assert_eq!(server.object(at).unwrap()["spec"]["template"]["spec"], spec, "nothing changed");
    }

    #[test]
    fn a_services_selector_is_a_map_and_nothing_more() {
        let map_of = |expression: &str| {
            let map = label_selector(expression).and_then(|selector| as_map(&selector));
            map.map(|map| Value::Object(map).to_string()).map_err(|fail| fail.message())
        };
        assert_eq!(map_of("b=2,a==1").as_deref(), Ok(r#"{"a":"1","b":"2"}"#));
        assert_eq!(
            map_of("a=1,x in (y, z),!w").unwrap_err(),
            "match expression [{w DoesNotExist []} {x In [y z]}] not supported on this object"
        );
        assert_eq!(
            map_of("x in (y)").unwrap_err(),
            "match expression [{x In [y]}] not supported on this object"
        );
        assert_eq!(map_of("x>3").unwrap_err(), "\"gt\" isn't supported in label selectors");
        assert_eq!(map_of("x!=3").unwrap_err(), "\"!=\" is not a valid label selector operator");
    }
}
