//! The rules of `create role` and `create clusterrole`.

use crate::ctx::Ctx;
use crate::error::{Fail, text};
use api::gostr::quote;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const KNOWN_VERBS: [&str; 14] = [
    "*",
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
];

/// Plural and API group of resources.
type Resources = &'static [(&'static str, &'static str)];

const ROLES: Resources =
    &[("roles", "rbac.authorization.k8s.io"), ("clusterroles", "rbac.authorization.k8s.io")];

/// Verbs that are checked on these resources only. The server need not list them: no request reads
/// `users`. Source: kubectl, `create_role.go`, `specialVerbs`.
const SPECIAL_VERBS: [(&str, Resources); 4] = [
    ("use", &[("podsecuritypolicies", "policy"), ("podsecuritypolicies", "extensions")]),
    ("bind", ROLES),
    ("escalate", ROLES),
    (
        "impersonate",
        &[("users", ""), ("serviceaccounts", ""), ("groups", ""), ("userextras", "authentication.k8s.io")],
    ),
];

/// Verbs of requests that name a URL in place of a resource.
const URL_VERBS: [&str; 8] = ["*", "get", "post", "put", "delete", "patch", "head", "options"];

/// Returns the values of `--verb`, each once; `*` stands for all of them.
pub(super) fn verbs(ctx: &Ctx) -> Result<Vec<String>, Fail> {
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
pub(super) fn url_rule(verbs: &[String], urls: &[String]) -> Result<Value, Fail> {
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

/// A word of `--resource`: `resource.group/subresource`.
struct Word<'a> {
    resource: &'a str,
    /// Empty if the word has none.
    group: &'a str,
    /// Empty if the word has none.
    subresource: &'a str,
}

impl Word<'_> {
    fn parse(word: &str) -> Word<'_> {
        let (whole, subresource) = word.split_once('/').unwrap_or((word, ""));
        let (resource, group) = whole.split_once('.').unwrap_or((whole, ""));
        Word { resource, group, subresource }
    }
}

/// Returns the API group and the plural that a word of `--resource` means.
///
/// `*` stands in the group that is written behind it. Without one that is the core group: `*` reads
/// pods but no Deployments, `*.apps` reads Deployments, and `*.*` is the word for everything.
async fn group_and_plural(ctx: &Ctx, verbs: &[String], word: &Word<'_>) -> Result<(String, String), Fail> {
    if word.resource.is_empty() {
        return text("resource must be specified if apiGroup/subresource specified");
    }
    if word.resource == "*" {
        return Ok((word.group.to_string(), word.resource.to_string()));
    }
    let found = ctx.discovery().await?.find(&match word.group {
        "" => word.resource.to_string(),
        group => format!("{}.{group}", word.resource),
    });
    let mut known = found.is_some();
    let (group, plural) = match found {
        Some(found) => (found.group.clone(), found.plural.clone()),
        None => (word.group.to_string(), word.resource.to_string()),
    };
    for verb in verbs {
        let Some((_, allowed)) = SPECIAL_VERBS.iter().find(|(special, _)| *special == verb.as_str()) else {
            continue;
        };
        if !allowed.iter().any(|(p, g)| *p == plural.as_str() && *g == group.as_str()) {
            return text(format!("can not perform '{verb}' on '{plural}' in group '{group}'"));
        }
        known = true;
    }
    if known {
        return Ok((group, plural));
    }
    let missing = format!("the server doesn't have a resource type {}", quote(word.resource));
    Err(Fail::Plain(match word.group {
        "" => missing,
        group => format!("{missing} in group {}", quote(group)),
    }))
}

/// Returns the rules of `--verb --resource --resource-name`, one for each API group, by its name.
///
/// A `*` alone stands for all other words, as in kubectl. kubectl checks no word behind `*.GROUP`;
/// here all words are checked.
pub(super) async fn resource_rules(ctx: &Ctx, verbs: &[String]) -> Result<Vec<Value>, Fail> {
    for verb in verbs.iter().filter(|verb| !KNOWN_VERBS.contains(&verb.as_str())) {
        ctx.note(format!("Warning: '{verb}' is not a standard resource verb"));
    }
    let mut names: Vec<String> = vec![];
    for name in ctx.flags.list("resource-name") {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut words = ctx.flags.list("resource");
    if words.is_empty() {
        return text("at least one resource must be specified");
    }
    if words.iter().any(|word| word == "*") {
        words = vec!["*".to_string()];
    }
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for word in &words {
        let word = Word::parse(word);
        let (group, plural) = group_and_plural(ctx, verbs, &word).await?;
        let full = match word.subresource {
            "" => plural,
            subresource => format!("{plural}/{subresource}"),
        };
        let resources = groups.entry(group).or_default();
        if !resources.contains(&full) {
            resources.push(full);
        }
    }
    let rule = |(group, resources): (String, Vec<String>)| {
        let mut rule = Map::new();
        rule.insert("verbs".into(), json!(verbs));
        rule.insert("apiGroups".into(), json!([group]));
        rule.insert("resources".into(), json!(resources));
        if !names.is_empty() {
            rule.insert("resourceNames".into(), json!(names));
        }
        Value::Object(rule)
    };
    Ok(groups.into_iter().map(rule).collect())
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
        let result = server.kubectl(&[&create[..], &both[..]].concat()).await;
        let made: Value = serde_json::from_str(&result.out).unwrap();
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
            let result = server.kubectl(&[&create[..], &[word][..]].concat()).await;
            assert!(result.code == 1 && result.err.contains(why), "{word}: {result:?}");
        }
        let lists = ["create", "clusterrole", "x", "--verb=list", "--non-resource-url=/healthz"];
        let result = server.kubectl(&lists).await;
        assert!(
            result.code == 1 && result.err.contains("invalid verb: 'list' for nonResourceURL"),
            "{result:?}"
        );
        assert!(server.requests().is_empty(), "nothing was created");
    }

    /// Returns the API group and the resources of each rule of `create role` with these flags.
    async fn rules(server: &Server, verb: &str, resource: &str) -> Result<Value, String> {
        let (verb, resource) = (format!("--verb={verb}"), format!("--resource={resource}"));
        let line = ["create", "role", "r", "--dry-run=client", "-o", "json", &verb, &resource];
        let result = server.kubectl(&line).await;
        if result.code != 0 {
            return Err(result.err);
        }
        let made: Value = serde_json::from_str(&result.out).unwrap();
        let rules = made["rules"].as_array().unwrap().iter();
        Ok(rules.map(|rule| json!([rule["apiGroups"][0], rule["resources"]])).collect())
    }

    #[tokio::test]
    async fn all_resources_are_those_of_the_group_that_is_written() {
        let server = Server::start().await;
        for (resource, want) in [
            ("*", json!([["", ["*"]]])),
            ("*/scale", json!([["", ["*/scale"]]])),
            ("*.*", json!([["*", ["*"]]])),
            ("*.apps", json!([["apps", ["*"]]])),
            ("*.apps/scale", json!([["apps", ["*/scale"]]])),
            ("*,pods", json!([["", ["*"]]])),
            ("deploy,*", json!([["", ["*"]]])),
            ("deploy.apps,po,pods/log", json!([["", ["pods", "pods/log"]], ["apps", ["deployments"]]])),
        ] {
            assert_eq!(rules(&server, "get", resource).await, Ok(want), "{resource}");
        }
    }

    #[tokio::test]
    async fn special_verbs_are_for_their_resources_only() {
        let server = Server::start().await;
        let extras = "users,groups,serviceaccounts,userextras.authentication.k8s.io/scopes";
        let want = json!([
            ["", ["users", "groups", "serviceaccounts"]],
            ["authentication.k8s.io", ["userextras/scopes"]]
        ]);
        assert_eq!(rules(&server, "impersonate", extras).await, Ok(want));
        for (verb, resource, why) in [
            ("bind", "pods", "error: can not perform 'bind' on 'pods' in group ''\n"),
            ("get,use", "deploy", "error: can not perform 'use' on 'deployments' in group 'apps'\n"),
            ("get", "users", "the server doesn't have a resource type \"users\"\n"),
            ("get", "users.a.b", "the server doesn't have a resource type \"users\" in group \"a.b\"\n"),
            ("get", "/log", "error: resource must be specified if apiGroup/subresource specified\n"),
        ] {
            assert_eq!(rules(&server, verb, resource).await, Err(why.to_string()), "{verb} {resource}");
        }
    }
}
