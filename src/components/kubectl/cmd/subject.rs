//! set subject: adds users, groups and service accounts to role bindings.

use super::common::{DryRun, Printer, strategic_patch};
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Options;
use crate::scheme;
use api::value;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let local = ctx.flags.is("local");
    if ctx.flags.is("all") && !ctx.flags.text("selector").is_empty() {
        return text("cannot set --all and --selector at the same time");
    }
    let options = Options { all_by_type: ctx.flags.is("all"), ..Options::default() };
    let (infos, mut failures) = builder::local_or_there(ctx, &ctx.args, options).await?;
    let infos = scheme::known(infos, &mut failures);
    Fail::join(failures)?;
    let named = |flag: &str| -> BTreeSet<String> { ctx.flags.list(flag).into_iter().collect() };
    let (users, groups, accounts) = (named("user"), named("group"), named("serviceaccount"));
    if users.is_empty() && groups.is_empty() && accounts.is_empty() {
        return text("you must specify at least one value of user, group or serviceaccount");
    }
    let mut pairs: Vec<(&str, &str)> = vec![];
    for account in &accounts {
        match account.split(':').collect::<Vec<_>>().as_slice() {
            [namespace, name] if !name.is_empty() => pairs.push((namespace, name)),
            _ => return text("serviceaccount must be <namespace>:<name>"),
        }
    }
    let nowhere = pairs.iter().any(|(namespace, _)| namespace.is_empty());
    if nowhere && infos.iter().any(|i| i.resource.kind == "ClusterRoleBinding") {
        return text("serviceaccount must be <namespace>:<name>, namespace must be specified");
    }
    let (default, _) = ctx.namespace()?;
    let wanted = subjects(&users, &groups, &pairs, &default);
    let mut failures = vec![];
    for mut info in infos {
        if !["RoleBinding", "ClusterRoleBinding"].contains(&info.resource.kind.as_str()) {
            let why = "setting subjects is only supported for RoleBinding/ClusterRoleBinding";
            failures.push(Fail::Text(format!("error: {} {why}\n", info.name_in_set(local))));
            continue;
        }
        let mut subjects = value::list(&info.object, "subjects").to_vec();
        let fresh: Vec<&Value> = wanted.iter().filter(|w| !subjects.iter().any(|s| is_same(s, w))).collect();
        if fresh.is_empty() {
            continue;
        }
        subjects.extend(fresh.into_iter().cloned());
        if local || dry_run == DryRun::Client {
            value::put(&mut info.object, "subjects", subjects);
        } else {
            match strategic_patch(ctx, &info, dry_run, &json!({"subjects": subjects})).await {
                Ok(object) => info.object = object,
                Err(Fail::Api(refusal)) => {
                    let why = format!("failed to patch subjects to rolebinding: {}", refusal.message);
                    failures.push(Fail::Text(why));
                    continue;
                }
                Err(fail) => return Err(fail),
            }
        }
        printer.print(ctx, &info.object, "subjects updated", true)?;
    }
    Fail::join(failures)
}

/// The subjects that the flags name. `accounts`: namespace and name of service accounts; one
/// without a namespace is in `default`.
fn subjects(
    users: &BTreeSet<String>,
    groups: &BTreeSet<String>,
    accounts: &[(&str, &str)],
    default: &str,
) -> Vec<Value> {
    let named = |kind: &'static str, names: &BTreeSet<String>| -> Vec<Value> {
        names.iter().map(|name| json!({"apiGroup": GROUP, "kind": kind, "name": name})).collect()
    };
    let accounts = accounts.iter().map(|(namespace, name)| {
        let namespace = if namespace.is_empty() { default } else { namespace };
        json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
    });
    [named("User", users), named("Group", groups), accounts.collect()].concat()
}

/// True if two subjects are the same user, group or service account.
fn is_same(a: &Value, b: &Value) -> bool {
    ["kind", "apiGroup", "name", "namespace"].iter().all(|f| value::text(a, f) == value::text(b, f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_name_subjects_of_three_kinds() {
        let names = |all: &[&str]| all.iter().map(|name| name.to_string()).collect::<BTreeSet<String>>();
        let found = subjects(&names(&["b", "a"]), &names(&["g"]), &[("", "x"), ("shop", "y")], "default");
        let want = json!([
            {"apiGroup": GROUP, "kind": "User", "name": "a"},
            {"apiGroup": GROUP, "kind": "User", "name": "b"},
            {"apiGroup": GROUP, "kind": "Group", "name": "g"},
            {"kind": "ServiceAccount", "name": "x", "namespace": "default"},
            {"kind": "ServiceAccount", "name": "y", "namespace": "shop"},
        ]);
        assert_eq!(Value::from(found), want);
    }

    /// The subjects of a binding may have fields in any order; a user is no group of its name.
    #[test]
    fn subjects_are_the_same_by_kind_name_and_namespace() {
        let account = json!({"kind": "ServiceAccount", "name": "x", "namespace": "a"});
        assert!(is_same(&account, &json!({"namespace": "a", "name": "x", "kind": "ServiceAccount"})));
        assert!(!is_same(&account, &json!({"kind": "ServiceAccount", "name": "x", "namespace": "b"})));
        let user = json!({"apiGroup": GROUP, "kind": "User", "name": "x"});
        assert!(!is_same(&user, &json!({"apiGroup": GROUP, "kind": "Group", "name": "x"})));
    }
}
