//! create role, clusterrole, rolebinding, clusterrolebinding.

use super::super::common::{enforced, metadata, one_name};
use super::{submit, within};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::gostr::quote;
use serde_json::{Map, Value, json};

const GROUP: &str = "rbac.authorization.k8s.io";
const KNOWN_VERBS: [&str; 14] = [
    "get",
    "delete",
    "list",
    "create",
    "update",
    "patch",
    "watch",
    "proxy",
    "deletecollection",
    "use",
    "bind",
    "escalate",
    "impersonate",
    "approve",
];

/// Verbs of requests that name a URL in place of a resource.
const URL_VERBS: [&str; 8] = ["*", "get", "post", "put", "delete", "patch", "head", "options"];

/// Returns the values of `--verb`, each once; `*` stands for all of them.
fn verbs(ctx: &Ctx) -> Result<Vec<String>, Fail> {
    let mut verbs: Vec<String> = vec![];
    for verb in ctx.flags.list("verb") {
        if verb == "*" {
            return Ok(vec![verb]);
        }
        if !verbs.contains(&verb) {
            verbs.push(verb);
        }
    }
    if verbs.is_empty() {
        return text("at least one verb must be specified");
    }
    Ok(verbs)
}

/// Returns the rule of `--non-resource-url`.
fn url_rule(verbs: &[String], urls: &[String]) -> Result<Value, Fail> {
    if let Some(verb) = verbs.iter().find(|verb| !URL_VERBS.contains(&verb.as_str())) {
        return text(format!("invalid verb: '{verb}' for nonResourceURL"));
    }
    let mut once: Vec<&String> = vec![];
    for url in urls {
        if !once.contains(&url) {
            once.push(url);
        }
    }
    for url in once.iter().filter(|url| url.as_str() != "*") {
        if !url.starts_with('/') {
            return text("nonResourceURL should start with /");
        }
        if url.find('*').is_some_and(|at| at + 1 < url.len()) {
            return text("nonResourceURL only supports wildcard matches when '*' is at the end");
        }
    }
    Ok(json!({"verbs": verbs, "nonResourceURLs": once}))
}

/// Returns the rules of `--verb --resource --resource-name`, one for each API group.
async fn resource_rules(ctx: &Ctx, verbs: &[String]) -> Result<Vec<Value>, Fail> {
    for verb in verbs {
        if verb != "*"
            && !KNOWN_VERBS.contains(&verb.as_str())
            && !["sign", "attest"].contains(&verb.as_str())
        {
            ctx.note(format!("Warning: '{verb}' is not a standard resource verb"));
        }
    }
    let names = ctx.flags.list("resource-name");
    let mut groups: Vec<(String, Vec<String>)> = vec![];
    let asked = ctx.flags.list("resource");
    if asked.is_empty() {
        return text("at least one resource must be specified");
    }
    for word in asked {
        let (resource, sub) = word.split_once('/').map_or((word.as_str(), ""), |(r, s)| (r, s));
        let (group, plural) = if resource == "*" {
            ("*".to_string(), "*".to_string())
        } else {
            let found = ctx.resource(resource).await;
            let found = found.map_err(|fail| match fail {
                Fail::Text(_) => {
                    let (name, group) = resource.split_once('.').unwrap_or((resource, ""));
                    Fail::Plain(match group {
                        "" => format!("the server doesn't have a resource type {}", quote(name)),
                        group => format!(
                            "the server doesn't have a resource type {} in group {}",
                            quote(name),
                            quote(group)
                        ),
                    })
                }
                other => other,
            })?;
            (found.group.clone(), found.plural.clone())
        };
        let full = if sub.is_empty() { plural } else { format!("{plural}/{sub}") };
        match groups.iter_mut().find(|(g, _)| *g == group) {
            Some((_, list)) if list.contains(&full) => {}
            Some((_, list)) => list.push(full),
            None => groups.push((group, vec![full])),
        }
    }
    Ok(groups
        .into_iter()
        .map(|(group, resources)| {
            let mut rule = Map::new();
            rule.insert("verbs".into(), json!(verbs));
            rule.insert("apiGroups".into(), json!([group]));
            rule.insert("resources".into(), json!(resources));
            if !names.is_empty() {
                rule.insert("resourceNames".into(), json!(names));
            }
            Value::Object(rule)
        })
        .collect())
}

pub(crate) async fn role(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let rules = resource_rules(ctx, &verbs(ctx)?).await?;
    let object = json!({"kind": "Role", "apiVersion": format!("{GROUP}/v1"),
        "metadata": metadata(&name, enforced(ctx)?.as_deref(), &[]), "rules": rules});
    submit(ctx, &within(ctx, &format!("apis/{GROUP}/v1"), "roles")?, object, "").await
}

/// The labels of the roles whose rules are taken over.
fn aggregated(ctx: &Ctx, labels: &str) -> Result<Map<String, Value>, Fail> {
    let own = ["verb", "resource", "resource-name", "non-resource-url"];
    if own.iter().any(|flag| !ctx.flags.list(flag).is_empty()) {
        return text(
            "aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames",
        );
    }
    let pair = |word: &str| match word.split_once('=') {
        Some((key, value)) => Ok((key.to_string(), value.into())),
        None => text(format!(
            "invalid argument {} for \"--aggregation-rule\" flag: malformed pair, expect string=string\nSee 'kubectl create clusterrole --help' for usage.",
            quote(labels)
        )),
    };
    labels.split(',').map(pair).collect()
}

pub(crate) async fn cluster_role(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let mut object = json!({"kind": "ClusterRole", "apiVersion": format!("{GROUP}/v1"), "metadata": metadata(&name, None, &[])});
    let of_others = ctx.flags.text("aggregation-rule");
    if of_others.is_empty() {
        let (verbs, urls) = (verbs(ctx)?, ctx.flags.list("non-resource-url"));
        let mut rules = vec![];
        if !ctx.flags.list("resource").is_empty() {
            rules = resource_rules(ctx, &verbs).await?;
        } else if urls.is_empty() {
            return text("one of resource or nonResourceURL must be specified");
        }
        if !urls.is_empty() {
            rules.push(url_rule(&verbs, &urls)?);
        }
        object["rules"] = rules.into();
    } else {
        object["rules"] = Value::Null;
        object["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": aggregated(ctx, of_others)?}]});
    }
    submit(ctx, &format!("/apis/{GROUP}/v1/clusterroles"), object, "").await
}

fn subjects(ctx: &Ctx) -> Result<Vec<Value>, Fail> {
    let mut found = vec![];
    for (flag, kind) in [("user", "User"), ("group", "Group")] {
        for name in ctx.flags.list(flag) {
            found.push(json!({"kind": kind, "apiGroup": GROUP, "name": name}));
        }
    }
    for account in ctx.flags.list("serviceaccount") {
        match account.split_once(':') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                found.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
            }
            _ => return text("serviceaccount must be <namespace>:<name>"),
        }
    }
    Ok(found)
}

fn binding(ctx: &Ctx, kind: &str, meta: Value, role: (&str, &str)) -> Result<Value, Fail> {
    let subjects = subjects(ctx)?;
    let mut object = json!({"kind": kind, "apiVersion": format!("{GROUP}/v1"), "metadata": meta});
    if !subjects.is_empty() {
        api::value::put(&mut object, "subjects", subjects);
    }
    api::value::put(&mut object, "roleRef", json!({"apiGroup": GROUP, "kind": role.0, "name": role.1}));
    Ok(object)
}

pub(crate) async fn role_binding(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let role = match (ctx.flags.text("clusterrole"), ctx.flags.text("role")) {
        ("", "") => return text("exactly one of clusterrole or role must be specified"),
        (cluster, "") => ("ClusterRole", cluster),
        ("", role) => ("Role", role),
        _ => return text("exactly one of clusterrole or role must be specified"),
    };
    let object = binding(ctx, "RoleBinding", metadata(&name, enforced(ctx)?.as_deref(), &[]), role)?;
    submit(ctx, &within(ctx, &format!("apis/{GROUP}/v1"), "rolebindings")?, object, "rolebinding: ").await
}

pub(crate) async fn cluster_role_binding(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let role = ctx.flags.text("clusterrole");
    if role.is_empty() {
        return text("clusterrole must be specified");
    }
    let object = binding(ctx, "ClusterRoleBinding", metadata(&name, None, &[]), ("ClusterRole", role))?;
    submit(ctx, &format!("/apis/{GROUP}/v1/clusterrolebindings"), object, "clusterrolebinding: ").await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[tokio::test]
    async fn a_cluster_role_has_rules_for_resources_and_for_urls() {
        let server = Server::start().await;
        let create = ["create", "clusterrole", "x", "--dry-run=client", "-o", "json", "--verb=get"];
        let both = ["--resource=pods", "--non-resource-url=/healthz,/metrics*,/healthz"];
        let said = server.kubectl(&[&create[..], &both[..]].concat()).await;
        let made: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(
            made["rules"],
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/metrics*"]}])
        );
        for (word, why) in [
            ("--resource=", "one of resource or nonResourceURL must be specified"),
            ("--non-resource-url=healthz", "nonResourceURL should start with /"),
            ("--non-resource-url=/a*b", "only supports wildcard matches when '*' is at the end"),
        ] {
            let said = server.kubectl(&[&create[..], &[word][..]].concat()).await;
            assert!(said.code == 1 && said.err.contains(why), "{word}: {said:?}");
        }
        let lists = ["create", "clusterrole", "x", "--verb=list", "--non-resource-url=/healthz"];
        let said = server.kubectl(&lists).await;
        assert!(said.code == 1 && said.err.contains("invalid verb: 'list' for nonResourceURL"), "{said:?}");
        assert!(server.asked().is_empty(), "nothing was created");
    }
}
