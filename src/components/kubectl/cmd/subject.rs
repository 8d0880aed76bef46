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
    let people = [("User", &users), ("Group", &groups)];
    let mut wanted: Vec<Value> = people
        .iter()
        .flat_map(|(kind, names)| {
            names.iter().map(move |n| json!({"apiGroup": GROUP, "kind": kind, "name": n}))
        })
        .collect();
    wanted.extend(pairs.iter().map(|(namespace, name)| {
        let namespace = if namespace.is_empty() { default.as_str() } else { namespace };
        json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
    }));
    let mut failures = vec![];
    for mut info in infos {
        if !["RoleBinding", "ClusterRoleBinding"].contains(&info.resource.kind.as_str()) {
            let why = "setting subjects is only supported for RoleBinding/ClusterRoleBinding";
            failures.push(Fail::Text(format!("error: {} {why}\n", info.plural_named())));
            continue;
        }
        let mut subjects = value::list(&info.object, "subjects").to_vec();
        let fresh: Vec<&Value> = wanted.iter().filter(|w| !subjects.iter().any(|s| same(s, w))).collect();
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

fn same(a: &Value, b: &Value) -> bool {
    ["kind", "apiGroup", "name", "namespace"].iter().all(|f| value::text(a, f) == value::text(b, f))
}
