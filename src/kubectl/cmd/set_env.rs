//! set env, set resources.

use super::common::DryRun;
use super::set::{asked, each, spec_path};
use crate::api::quantity::{self, Quantity};
use crate::api::value;
use crate::kubectl::builder::{self, Options};
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
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
    if ctx.flags.is("list") {
        return list(ctx, &resources).await;
    }
    if !ctx.flags.text("from").is_empty() {
        set.extend(imported(ctx).await?);
    }
    let pattern = ctx.flags.text("containers");
    let overwrite = ctx.flags.is("overwrite");
    each(ctx, &resources, "env updated", |_, spec| {
        let mut containers = vec![];
        for container in value::list(spec, "containers") {
            let name = value::text(container, "name");
            if !chosen(pattern, name) {
                continue;
            }
            let old = value::list(container, "env");
            let mut changed: Vec<Value> = vec![];
            for (key, given) in &set {
                let there = old.iter().find(|e| value::text(e, "name") == key);
                let same =
                    |e: &&Value| ["value", "valueFrom"].iter().all(|field| e.get(field) == given.get(field));
                if there.filter(same).is_some() {
                    continue;
                }
                if there.is_some() && !overwrite {
                    return text(format!(
                        "'{key}' already has a value ({}), and --overwrite is false",
                        value::text(there.unwrap_or(&Value::Null), "value")
                    ));
                }
                changed.push(
                    json!({"name": key, "value": given.get("value"), "valueFrom": given.get("valueFrom")}),
                );
            }
            for key in &remove {
                if old.iter().any(|e| value::text(e, "name") == key) {
                    changed.push(json!({"$patch": "delete", "name": key}));
                }
            }
            if !changed.is_empty() {
                containers.push(json!({"name": name, "env": changed}));
            }
        }
        Ok((!containers.is_empty()).then(|| json!({"containers": containers})))
    })
    .await
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

async fn list(ctx: &Ctx, resources: &[String]) -> Result<(), Fail> {
    let (infos, failures) = asked(ctx, resources, DryRun::No).await?;
    for info in infos {
        let spec = spec_path(&info.resource.kind).unwrap_or_default();
        let containers = value::list(&info.object, &format!("{spec}.containers"));
        for container in
            containers.iter().filter(|c| chosen(ctx.flags.text("containers"), value::text(c, "name")))
        {
            ctx.line(format!(
                "# {} {}, container {}",
                info.resource.kind,
                info.name,
                value::text(container, "name")
            ));
            for variable in value::list(container, "env") {
                let name = value::text(variable, "name");
                match variable.get("valueFrom") {
                    None => ctx.line(format!("{name}={}", value::text(variable, "value"))),
                    Some(from) => ctx.line(format!("# {name} from {}", source(from))),
                }
            }
        }
    }
    Fail::join(failures)
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
        let containers: Vec<Value> = value::list(spec, "containers")
            .iter()
            .filter(|c| chosen(pattern, value::text(c, "name")))
            .map(|c| json!({"name": value::text(c, "name"), "resources": wanted}))
            .collect();
        if containers.is_empty() {
            return text(format!("error: unable to find container named {pattern}"));
        }
        Ok(Some(json!({"containers": containers})))
    })
    .await
}
