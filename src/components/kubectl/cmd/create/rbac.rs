//! create role, clusterrole, rolebinding, clusterrolebinding.

use super::super::common::{enforced, metadata, one_name};
use super::rules::{resource_rules, url_rule, verbs};
use super::{submit, within};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use api::gostr::quote;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) async fn role(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let rules = resource_rules(ctx, &verbs(ctx)?).await?;
    let object = json!({"kind": "Role", "apiVersion": format!("{GROUP}/v1"),
        "metadata": metadata(&name, enforced(ctx)?.as_deref(), &[]), "rules": rules});
    submit(ctx, &within(ctx, &format!("apis/{GROUP}/v1"), "roles")?, object, "").await
}

/// The labels of the roles whose rules are taken over: those of every `--aggregation-rule`. Source:
/// component-base's `MapStringString`.
///
/// Example: `a=b,c=d`, also with spaces around the words.
fn aggregated(ctx: &Ctx) -> Result<BTreeMap<String, String>, Fail> {
    let mut labels = BTreeMap::new();
    for given in ctx.flags.list("aggregation-rule") {
        for pair in given.split(',').filter(|pair| !pair.is_empty()) {
            let Some((key, text_of)) = pair.split_once('=') else {
                return text(format!(
                    "invalid argument {} for \"--aggregation-rule\" flag: malformed pair, expect string=string\nSee 'kubectl create clusterrole --help' for usage.",
                    quote(&given)
                ));
            };
            labels.insert(key.trim().to_string(), text_of.trim().to_string());
        }
    }
    Ok(labels)
}

pub(crate) async fn cluster_role(ctx: &Ctx) -> Result<(), Fail> {
    // kubectl reads the pairs with the flags, so before it looks for a name.
    let of_others = aggregated(ctx)?;
    let name = one_name(ctx)?;
    let own = ["verb", "resource", "resource-name", "non-resource-url"];
    if !of_others.is_empty() && own.iter().any(|flag| !ctx.flags.list(flag).is_empty()) {
        return text(
            "aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames",
        );
    }
    let mut object = json!({"kind": "ClusterRole", "apiVersion": format!("{GROUP}/v1"), "metadata": metadata(&name, None, &[])});
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
        object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": of_others}]});
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
        match account.split(':').collect::<Vec<_>>().as_slice() {
            [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
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
    use crate::testing::Server;

    #[tokio::test]
    async fn a_cluster_role_binding_needs_a_role() {
        let server = Server::away().await;
        let result = server.kubectl(&["create", "clusterrolebinding", "x", "--user=a"]).await;
        assert_eq!(
            (result.code, result.err.as_str()),
            (1, "error: required flag(s) \"clusterrole\" not set\n")
        );
    }

    #[tokio::test]
    async fn every_aggregation_rule_counts() {
        let server = Server::away().await;
        let create = async |flags: &[&str]| {
            let line =
                ["create", "clusterrole", "x", "--dry-run=client", "-o", "jsonpath={.aggregationRule}"];
            server.kubectl(&[&line[..], flags].concat()).await
        };
        let result = create(&["--aggregation-rule=z=1, b = 2 ,", "--aggregation-rule=a=3"]).await;
        let want = r#"{"clusterRoleSelectors":[{"matchLabels":{"a":"3","b":"2","z":"1"}}]}"#;
        assert_eq!((result.code, result.out.as_str()), (0, want), "{result:?}");
        for (flags, why) in [
            (["--aggregation-rule=a=1", "--aggregation-rule=b"], "malformed pair, expect string=string"),
            (["--aggregation-rule=a=1", "--verb=get"], "aggregation rule must be specified without"),
            (["--aggregation-rule=", "--verb=get"], "one of resource or nonResourceURL must be specified"),
        ] {
            let result = create(&flags).await;
            assert!(result.code == 1 && result.err.contains(why), "{flags:?}: {result:?}");
        }
        for (flags, why) in [
            (["--aggregation-rule=b", "--dry-run=client"], "malformed pair, expect string=string"),
            (["--aggregation-rule=a=1", "--verb=get"], "exactly one NAME is required, got 0"),
        ] {
            let result = server.kubectl(&[&["create", "clusterrole"][..], &flags].concat()).await;
            assert!(result.code == 1 && result.err.contains(why), "{flags:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn a_service_account_has_two_parts() {
        let server = Server::away().await;
        for account in ["a", ":b", "a:", "a:b:c"] {
            let account = format!("--serviceaccount={account}");
            let line = ["create", "rolebinding", "x", "--role=r", "--dry-run=client", &account];
            let result = server.kubectl(&line).await;
            assert_eq!(result.err, "error: serviceaccount must be <namespace>:<name>\n", "{account}");
        }
    }
}
