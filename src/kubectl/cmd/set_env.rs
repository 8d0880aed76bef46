//! set env, set resources.

use super::common::DryRun;
use super::set::{asked, each, spec_path};
use crate::api::quantity::{self, Quantity};
use crate::api::value;
use crate::kubectl::builder::{self, Options};
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::gostr::quote;
use serde_json::{Map, Value, json};

/// Does `--containers` (a name, or `*` as a wildcard) mean this container?
fn chosen(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.is_empty() || pattern == name,
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        }
    }
}

pub async fn env(ctx: &Ctx) -> Result<(), Fail> {
    let is_change = |w: &&String| w.contains('=') || (w.ends_with('-') && w.len() > 1);
    let (changes, resources): (Vec<&String>, Vec<&String>) = ctx.args.iter().partition(is_change);
    let resources: Vec<String> = resources.into_iter().cloned().collect();
    if resources.is_empty() && ctx.flags.list("filename").is_empty() {
        return text("one or more resources must be specified as <resource> <name> or <resource>/<name>");
    }
    let mut set: Vec<(String, Value)> = vec![];
    let mut remove: Vec<String> = vec![];
    for pair in ctx.flags.list("env").iter().chain(changes) {
        match pair.split_once('=') {
            Some((key, given)) => set.push((key.into(), json!({"value": given}))),
            None => remove.push(pair.trim_end_matches('-').into()),
        }
    }
    for key in set.iter().map(|(key, _)| key) {
        if !is_variable(key) {
            return text(format!("{} is not a valid key name: {VARIABLE}", quote(key)));
        }
    }
    if !ctx.flags.text("from").is_empty() {
        set.extend(imported(ctx).await?);
    }
    if ctx.flags.is("list") {
        return list(ctx, &resources, &set).await;
    }
    let pattern = ctx.flags.text("containers");
    let overwrite = ctx.flags.is("overwrite");
    each(ctx, &resources, "env updated", |info, spec| {
        let mut patch = Map::new();
        let mut any = false;
        for field in CONTAINERS {
            let mut changed = vec![];
            for container in
                value::list(spec, field).iter().filter(|c| chosen(pattern, value::text(c, "name")))
            {
                any = true;
                let env = changes_of(value::list(container, "env"), &set, &remove, overwrite)?;
                if !env.is_empty() {
                    changed.push(json!({"name": value::text(container, "name"), "env": env}));
                }
            }
            if !changed.is_empty() {
                patch.insert(field.into(), changed.into());
            }
        }
        if !any {
            let (kind, name) = (&info.resource.kind, &info.name);
            ctx.note(format!(
                "Warning: {kind}/{name} does not have any containers matching {}",
                quote(pattern)
            ));
        }
        Ok((!patch.is_empty()).then_some(Value::Object(patch)))
    })
    .await
}

/// Where a pod spec has containers, in the order in which they are told of.
const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

const VARIABLE: &str = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')";

fn is_variable(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(fits)
}

/// The patch of a container's variables.
fn changes_of(
    old: &[Value],
    set: &[(String, Value)],
    remove: &[String],
    overwrite: bool,
) -> Result<Vec<Value>, Fail> {
    let mut changed = vec![];
    for (key, given) in set {
        let there = old.iter().find(|e| value::text(e, "name") == key);
        let same = |e: &&Value| ["value", "valueFrom"].iter().all(|field| e.get(field) == given.get(field));
        match there {
            Some(_) if there.filter(same).is_some() => {}
            Some(there) if !overwrite => {
                return text(format!(
                    "'{key}' already has a value ({}), and --overwrite is false",
                    value::text(there, "value")
                ));
            }
            _ => changed
                .push(json!({"name": key, "value": given.get("value"), "valueFrom": given.get("valueFrom")})),
        }
    }
    let there = |key: &&String| old.iter().any(|e| value::text(e, "name") == *key);
    changed.extend(remove.iter().filter(there).map(|key| json!({"$patch": "delete", "name": key})));
    Ok(changed)
}

/// `--from`: a variable for each key of a ConfigMap or a Secret, by reference.
async fn imported(ctx: &Ctx) -> Result<Vec<(String, Value)>, Fail> {
    let from = [ctx.flags.text("from").to_string()];
    let asked = builder::ask(ctx, &from, Options::default()).await?;
    let (infos, failures) = builder::objects(ctx, asked).await?;
    Fail::join(failures)?;
    let (wanted, prefix) = (ctx.flags.list("keys"), ctx.flags.text("prefix"));
    let mut all = vec![];
    for info in infos {
        let reference = match info.resource.kind.as_str() {
            "ConfigMap" => "configMapKeyRef",
            "Secret" => "secretKeyRef",
            _ => return text("unsupported resource specified in --from"),
        };
        let mut keys: Vec<&String> =
            value::at(&info.object, "data").as_object().into_iter().flat_map(Map::keys).collect();
        keys.sort();
        for key in keys.into_iter().filter(|k| wanted.is_empty() || wanted.contains(k)) {
            let from = json!({"valueFrom": {reference: {"key": key, "name": info.name}}});
            let name = variable(key);
            if name != *key {
                ctx.note(format!("Warning: key {key} transferred to {name}"));
            }
            all.push((format!("{prefix}{name}"), from));
        }
    }
    Ok(all)
}

/// A key as the name of a variable: `log.level` is `LOG_LEVEL`.
fn variable(key: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_uppercase() } else { '_' };
    key.chars().map(fit).collect()
}

/// Tells the variables that containers have, and those that `more` would add.
async fn list(ctx: &Ctx, resources: &[String], more: &[(String, Value)]) -> Result<(), Fail> {
    let (infos, failures) = asked(ctx, resources, DryRun::No).await?;
    for info in infos {
        let spec = value::at(&info.object, spec_path(&info.resource.kind).unwrap_or_default());
        let containers = CONTAINERS.iter().flat_map(|field| value::list(spec, field));
        for container in containers.filter(|c| chosen(ctx.flags.text("containers"), value::text(c, "name"))) {
            let name = value::text(container, "name");
            ctx.line(format!("# {} {}, container {name}", info.resource.kind, info.name));
            let old = value::list(container, "env");
            let fresh = |key: &str| more.iter().rfind(|(k, _)| k == key).map(|(_, given)| given);
            for variable in old {
                let name = value::text(variable, "name");
                tell(ctx, name, fresh(name).unwrap_or(variable));
            }
            for (key, given) in more.iter().filter(|(k, _)| !old.iter().any(|e| value::text(e, "name") == k))
            {
                tell(ctx, key, given);
            }
        }
    }
    Fail::join(failures)
}

fn tell(ctx: &Ctx, name: &str, variable: &Value) {
    match variable.get("valueFrom") {
        None => ctx.line(format!("{name}={}", value::text(variable, "value"))),
        Some(from) => ctx.line(format!("# {name} from {}", source(from))),
    }
}

fn source(from: &Value) -> String {
    let part = |path: &str| value::text(from, path).to_string();
    if from.get("configMapKeyRef").is_some() {
        format!("configmap {}, key {}", part("configMapKeyRef.name"), part("configMapKeyRef.key"))
    } else if from.get("secretKeyRef").is_some() {
        format!("secret {}, key {}", part("secretKeyRef.name"), part("secretKeyRef.key"))
    } else if from.get("fieldRef").is_some() {
        format!("field path {}", part("fieldRef.fieldPath"))
    } else {
        format!("resource field {}", part("resourceFieldRef.resource"))
    }
}

/// `cpu=100m,memory=1Gi`
fn amounts(given: &str) -> Result<Map<String, Value>, Fail> {
    let mut map = Map::new();
    for pair in given.split(',').filter(|p| !p.is_empty()) {
        let Some((name, amount)) = pair.split_once('=') else {
            return text(format!("Invalid argument syntax {pair}, expected <resource>=<value>"));
        };
        if Quantity::parse(amount).is_none() {
            return text(quantity::INVALID);
        }
        map.insert(name.into(), amount.into());
    }
    Ok(map)
}

pub async fn resources(ctx: &Ctx) -> Result<(), Fail> {
    let (limits, requests) = (ctx.flags.text("limits"), ctx.flags.text("requests"));
    if limits.is_empty() && requests.is_empty() {
        return text("you must specify an update to requests or limits (in the form of --requests/--limits)");
    }
    let mut wanted = Map::new();
    for (key, given) in [("limits", limits), ("requests", requests)] {
        if !given.is_empty() {
            wanted.insert(key.into(), amounts(given)?.into());
        }
    }
    let pattern = ctx.flags.text("containers");
    each(ctx, &ctx.args, "resource requirements updated", |_, spec| {
        let mut patch = Map::new();
        for field in CONTAINERS {
            let chosen: Vec<Value> = value::list(spec, field)
                .iter()
                .filter(|c| chosen(pattern, value::text(c, "name")))
                .map(|c| json!({"name": value::text(c, "name"), "resources": wanted}))
                .collect();
            if !chosen.is_empty() {
                patch.insert(field.into(), chosen.into());
            }
        }
        if patch.is_empty() {
            return text(format!("error: unable to find container named {pattern}"));
        }
        Ok(Some(Value::Object(patch)))
    })
    .await
}
