//! auth reconcile: roles and bindings get what a file says they must have; more is left, unless a
//! flag removes it.

use super::common::{DryRun, Printer};
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::scheme;
use crate::wire::paths;
use api::value;
use serde_json::{Value, json};

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const AGGREGATION: &str = "aggregationRule";
const SELECTORS: &str = "clusterRoleSelectors";

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    if dry_run == DryRun::Server {
        return text("--dry-run=server for command reconcile is not supported yet");
    }
    let printer = Printer::of(ctx, dry_run)?;
    if !ctx.args.is_empty() {
        return text("no arguments are allowed");
    }
    if !ctx.names_files() {
        return text("must specify one of -f and -k");
    }
    let builder::Selection::Objects(infos, mut failures) =
        builder::select(ctx, &[], Options::default()).await?
    else {
        return Ok(());
    };
    for info in scheme::known(infos, &mut failures) {
        let known = ["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"];
        if info.resource.group != "rbac.authorization.k8s.io" || !known.contains(&info.resource.kind.as_str())
        {
            // Other kinds are left alone without a word; kubectl says so with `-v=1` only.
            continue;
        }
        match until_written(ctx, &info, dry_run, &printer).await {
            Ok(()) => {}
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)
}

/// How often an object is reconciled at most, if other clients write it meanwhile.
const TRIES: usize = 3;

/// Reconciles an object, anew after a write of another client.
async fn until_written(ctx: &Ctx, info: &Info, dry_run: DryRun, printer: &Printer) -> Result<(), Fail> {
    for _ in 1..TRIES {
        match reconcile(ctx, info, dry_run, printer).await {
            Err(Fail::Api(refusal)) if refusal.reason == "Conflict" => {}
            outcome => return outcome,
        }
    }
    reconcile(ctx, info, dry_run, printer).await
}

/// Rules or subjects that an object lacks, and those that it has beside the wanted ones.
struct Gap {
    missing: Vec<Value>,
    extra: Vec<Value>,
}

/// The changes of one object, and whether they were made.
struct Outcome {
    /// `create`, `update`, `recreate`; `None` if it was right as it was.
    operation: Option<&'static str>,
    gap: Gap,
    /// Extra rules or subjects are removed.
    remove: bool,
    /// The object says that it is not to be changed.
    protected: bool,
}

fn is_binding(info: &Info) -> bool {
    info.resource.kind.ends_with("Binding")
}

async fn reconcile(ctx: &Ctx, info: &Info, dry_run: DryRun, printer: &Printer) -> Result<(), Fail> {
    let (field, remove) = match is_binding(info) {
        true => ("subjects", ctx.flags.is("remove-extra-subjects")),
        false => ("rules", ctx.flags.is("remove-extra-permissions")),
    };
    let existing = match ctx.api().await?.get(&info.path(), &[]).await {
        Ok(object) => Some(object),
        Err(fail) if fail.is_not_found() => None,
        Err(fail) => return Err(fail),
    };
    let Some(existing) = existing else {
        let made = write(ctx, info, dry_run, &info.object, true).await?;
        let gap = Gap { missing: value::list(&info.object, field).to_vec(), extra: vec![] };
        let outcome = Outcome { operation: Some("create"), gap, remove, protected: false };
        return print_outcome(ctx, info, printer, &made, &outcome);
    };
    let protected = value::at(&existing, "metadata.annotations")[AUTOUPDATE] == "false";
    if is_binding(info) && value::at(&existing, "roleRef") != value::at(&info.object, "roleRef") {
        let gap = Gap { missing: vec![], extra: vec![] }; // kubectl prints no subjects here
        let made = if protected { existing } else { recreate(ctx, info, dry_run, &existing).await? };
        let outcome = Outcome { operation: Some("recreate"), gap, remove, protected };
        return print_outcome(ctx, info, printer, &made, &outcome);
    }
    let gap = match is_binding(info) {
        true => subjects(value::list(&existing, field), value::list(&info.object, field)),
        false => Gap {
            missing: uncovered(value::list(&existing, field), value::list(&info.object, field)),
            extra: match is_aggregated(&existing) && is_aggregated(&info.object) {
                true => vec![], // its rules are the controller's
                false => uncovered(value::list(&info.object, field), value::list(&existing, field)),
            },
        },
    };
    let mut next = existing.clone();
    for map in ["metadata.labels", "metadata.annotations"] {
        for (key, text) in value::pairs(&info.object, map) {
            // What the object says already wins.
            value::slot_map(&mut next, map).entry(key).or_insert(text.into());
        }
    }
    if !gap.missing.is_empty() || (remove && !gap.extra.is_empty()) {
        let mut all = value::list(&existing, field).to_vec();
        match remove {
            true => all = value::list(&info.object, field).to_vec(),
            false => all.extend(gap.missing.iter().cloned()),
        }
        value::put(&mut next, field, all);
    }
    if info.resource.kind == "ClusterRole" {
        match aggregation(value::at(&existing, AGGREGATION), value::at(&info.object, AGGREGATION), remove) {
            Value::Null => drop(value::remove(&mut next, AGGREGATION)),
            rule => value::put(&mut next, AGGREGATION, rule),
        }
    }
    let changed = next != existing;
    let reconciled = match changed && !protected {
        true => write(ctx, info, dry_run, &next, false).await?,
        false => existing,
    };
    let outcome = Outcome { operation: changed.then_some("update"), gap, remove, protected };
    print_outcome(ctx, info, printer, &reconciled, &outcome)
}

/// Deletes a binding and makes it anew: the role that it refers to cannot be changed.
async fn recreate(ctx: &Ctx, info: &Info, dry_run: DryRun, existing: &Value) -> Result<Value, Fail> {
    if dry_run == DryRun::No {
        let uid = value::text(existing, "metadata.uid");
        let same = json!({"preconditions": {"uid": uid}});
        match ctx.api().await?.delete(&info.path(), &[], &same).await {
            Err(fail) if !fail.is_not_found() => return Err(fail),
            _ => {}
        }
    }
    write(ctx, info, dry_run, &info.object, true).await
}

fn is_aggregated(role: &Value) -> bool {
    !value::at(role, AGGREGATION).is_null()
}

/// The aggregation rule that a ClusterRole gets: that of the file, and unless `remove` says so also
/// the selectors that it has. A role that the file does not aggregate is aggregated no longer.
fn aggregation(have: &Value, want: &Value, remove: bool) -> Value {
    if want.is_null() {
        return Value::Null;
    }
    let (mut all, wanted) = (value::list(have, SELECTORS).to_vec(), value::list(want, SELECTORS));
    let missing: Vec<Value> = wanted.iter().filter(|w| !all.contains(w)).cloned().collect();
    let extra = all.iter().any(|selector| !wanted.contains(selector));
    match (remove && (extra || !missing.is_empty()), missing.is_empty()) {
        (true, _) => want.clone(),
        (false, true) => have.clone(),
        (false, false) => {
            all.extend(missing);
            let mut rule = have.clone();
            value::put(&mut rule, SELECTORS, all);
            rule
        }
    }
}

async fn write(ctx: &Ctx, info: &Info, dry_run: DryRun, object: &Value, new: bool) -> Result<Value, Fail> {
    if dry_run == DryRun::Client {
        return Ok(object.clone());
    }
    let mut query = vec![];
    dry_run.query(&mut query);
    let api = ctx.api().await?;
    if new && dry_run == DryRun::No && !info.namespace.is_empty() {
        ensure_namespace(ctx, &info.namespace).await?;
    }
    match new {
        true => api.post(&info.collection(), &query, object).await,
        false => api.put(&info.path(), &query, object).await,
    }
}

/// Creates the namespace of a Role or a RoleBinding if there is none. A user who may neither read
/// nor create namespaces may still write into one that exists, so that refusal is no failure.
async fn ensure_namespace(ctx: &Ctx, name: &str) -> Result<(), Fail> {
    let api = ctx.api().await?;
    match api.get(&format!("/api/v1/namespaces/{}", paths::segment(name)), &[]).await {
        Ok(_) => return Ok(()),
        Err(fail) if fail.is_not_found() || fail.code() == Some(403) => {}
        Err(fail) => return Err(fail),
    }
    let namespace = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}});
    match api.post("/api/v1/namespaces", &[], &namespace).await {
        Err(fail) if !matches!(fail.code(), Some(403 | 409)) => Err(fail),
        _ => Ok(()),
    }
}

/// Every single permission of a rule: verb, group, resource, name; or verb and URL. They are added
/// to a role in this order, which is that of upstream's `BreakdownRule`.
fn atoms(rule: &Value) -> Vec<Value> {
    let words = |field: &str| value::list(rule, field).to_vec();
    let (verbs, names) = (words("verbs"), words("resourceNames"));
    let mut out = vec![];
    for group in words("apiGroups") {
        for resource in words("resources") {
            for verb in &verbs {
                if names.is_empty() {
                    out.push(json!({"verbs": [verb], "apiGroups": [group], "resources": [resource]}));
                }
                for name in &names {
                    out.push(json!({"verbs": [verb], "apiGroups": [group], "resources": [resource], "resourceNames": [name]}));
                }
            }
        }
    }
    for url in words("nonResourceURLs") {
        out.extend(verbs.iter().map(|verb| json!({"verbs": [verb], "nonResourceURLs": [url]})));
    }
    out
}

/// Returns whether a rule gives a single permission. `*/scale` gives the subresource `scale` of all
/// resources.
fn covers(owner: &Value, atom: &Value) -> bool {
    let has = |field: &str, star: bool| {
        let all = value::list(owner, field);
        value::list(atom, field).iter().all(|w| all.contains(w) || (star && all.iter().any(|a| a == "*")))
    };
    let urls = value::list(atom, "nonResourceURLs").iter().filter_map(Value::as_str).all(|url| {
        value::list(owner, "nonResourceURLs").iter().filter_map(Value::as_str).any(|o| {
            o == url || o == "*" || o.strip_suffix('*').is_some_and(|prefix| url.starts_with(prefix))
        })
    });
    let names = value::list(owner, "resourceNames").is_empty()
        || (!value::list(atom, "resourceNames").is_empty() && has("resourceNames", false));
    let resources = has("resources", true)
        || value::list(atom, "resources").iter().filter_map(Value::as_str).all(|resource| {
            let of_all = resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
            of_all.is_some_and(|of_all| value::list(owner, "resources").iter().any(|r| *r == of_all))
        });
    has("verbs", true) && has("apiGroups", true) && resources && names && urls
}

/// Single permissions of `wanted` that `owner` does not give.
fn uncovered(owner: &[Value], wanted: &[Value]) -> Vec<Value> {
    wanted.iter().flat_map(atoms).filter(|a| !owner.iter().any(|o| covers(o, a))).collect()
}

/// Compares subjects as upstream's `diffSubjectLists`: one that is named twice is in the gap once.
fn subjects(have: &[Value], want: &[Value]) -> Gap {
    let same = |a: &Value, b: &Value| {
        ["kind", "apiGroup", "name", "namespace"].iter().all(|f| {
            let default = |s: &Value| match (*f, value::text(s, "kind"), value::text(s, f)) {
                ("apiGroup", "User" | "Group", "") => "rbac.authorization.k8s.io".to_string(),
                (_, _, text) => text.to_string(),
            };
            default(a) == default(b)
        })
    };
    let not_in = |these: &[Value], those: &[Value]| -> Vec<Value> {
        let mut only: Vec<Value> = vec![];
        for subject in these {
            let is_in = |subjects: &[Value]| subjects.iter().any(|other| same(subject, other));
            if !is_in(those) && !is_in(&only) {
                only.push(subject.clone());
            }
        }
        only
    };
    Gap { missing: not_in(want, have), extra: not_in(have, want) }
}

/// As Go prints a rule or a subject.
fn go_text(item: &Value, binding: bool) -> String {
    let words = |field: &str| {
        let all: Vec<&str> = value::list(item, field).iter().filter_map(Value::as_str).collect();
        format!("{field}:[{}]", all.join(" "))
    };
    if binding {
        let part = |f: &str| value::text(item, f).to_string();
        return format!(
            "{{Kind:{} APIGroup:{} Name:{} Namespace:{}}}",
            part("kind"),
            part("apiGroup"),
            part("name"),
            part("namespace")
        );
    }
    let fields = [
        ("verbs", "Verbs"),
        ("apiGroups", "APIGroups"),
        ("resources", "Resources"),
        ("resourceNames", "ResourceNames"),
        ("nonResourceURLs", "NonResourceURLs"),
    ];
    let parts: Vec<String> = fields.iter().map(|(field, go)| words(field).replacen(field, go, 1)).collect();
    format!("{{{}}}", parts.join(" "))
}

fn print_outcome(
    ctx: &Ctx,
    info: &Info,
    printer: &Printer,
    object: &Value,
    outcome: &Outcome,
) -> Result<(), Fail> {
    let Outcome { operation, gap, remove, protected } = outcome;
    printer.print(ctx, object, "reconciled", true)?;
    let Some(operation) = operation else { return Ok(()) };
    if !ctx.flags.text("output").is_empty() {
        return Ok(());
    }
    let caveat = match protected {
        true => format!(", but object opted out ({AUTOUPDATE}: false)"),
        false => String::new(),
    };
    ctx.note(format!("\treconciliation required {operation}{caveat}"));
    let (binding, what) = (is_binding(info), if is_binding(info) { "subjects" } else { "rules" });
    let lines =
        |items: &[Value]| items.iter().for_each(|item| ctx.note(format!("\t\t{}", go_text(item, binding))));
    if !gap.missing.is_empty() {
        ctx.note(format!("\tmissing {what} added:"));
        lines(&gap.missing);
    }
    // Extra ones that stay are not printed.
    if *remove && !gap.extra.is_empty() {
        ctx.note(format!("\textra {what} removed:"));
        lines(&gap.extra);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ReceivedRequest, Server, refusal};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A binding with another role is deleted and made anew, which cannot be tried.
    #[tokio::test]
    async fn a_dry_run_by_the_server_is_refused() {
        let server = Server::start().await;
        let result = server.kubectl(&["auth", "reconcile", "-f", "x.yaml", "--dry-run=server"]).await;
        let want = "error: --dry-run=server for command reconcile is not supported yet\n";
        assert_eq!((result.code, result.err.as_str()), (1, want), "{result:?}");
        assert!(server.requests().is_empty());
    }

    #[test]
    fn only_what_no_rule_gives_is_missing() {
        let rule = |verbs: &[&str], resources: &[&str]| json!({"apiGroups": [""], "resources": resources, "verbs": verbs});
        let have = [rule(&["get"], &["pods", "services"]), rule(&["*"], &["secrets"])];
        let want = [rule(&["get", "list"], &["pods"]), rule(&["delete"], &["secrets"])];
        assert_eq!(uncovered(&have, &want), [rule(&["list"], &["pods"])]);
        let scales = [rule(&["get"], &["*/scale"])];
        let want = [rule(&["get"], &["rc/scale", "rc/status", "rc"])];
        assert_eq!(uncovered(&scales, &want), [rule(&["get"], &["rc/status"]), rule(&["get"], &["rc"])]);
        // The order in which they are added to the role.
        let want = [
            json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["a", "b"], "nonResourceURLs": ["/x"]}),
        ];
        let single = [("get", "a"), ("list", "a"), ("get", "b"), ("list", "b")];
        let mut added: Vec<Value> = single.map(|(verb, resource)| rule(&[verb], &[resource])).into();
        added.extend(["get", "list"].map(|verb| json!({"verbs": [verb], "nonResourceURLs": ["/x"]})));
        assert_eq!(uncovered(&[], &want), added);
        let user = |name: &str| json!({"kind": "User", "name": name});
        let full = json!({"kind": "User", "name": "a", "apiGroup": "rbac.authorization.k8s.io"});
        let gap = subjects(&[full, user("c")], &[user("a"), user("b")]);
        assert_eq!((gap.missing, gap.extra), (vec![user("b")], vec![user("c")]));
    }

    #[test]
    fn a_subject_that_a_file_names_twice_is_added_once() {
        let user = |name: &str| json!({"kind": "User", "name": name});
        let gap = subjects(&[user("c"), user("c")], &[user("a"), user("b"), user("a")]);
        assert_eq!((gap.missing, gap.extra), (vec![user("a"), user("b")], vec![user("c")]));
    }

    #[test]
    fn selectors_of_an_aggregated_role_are_added_replaced_or_dropped() {
        let rule = |names: &[&str]| {
            let selectors: Vec<Value> = names.iter().map(|n| json!({"matchLabels": {"to": n}})).collect();
            json!({"clusterRoleSelectors": selectors})
        };
        assert_eq!(aggregation(&rule(&["a"]), &rule(&["b"]), false), rule(&["a", "b"]));
        assert_eq!(aggregation(&rule(&["a"]), &rule(&["b"]), true), rule(&["b"]));
        assert_eq!(aggregation(&rule(&["a", "b"]), &rule(&["b"]), false), rule(&["a", "b"]));
        assert_eq!(aggregation(&Value::Null, &rule(&["b"]), false), rule(&["b"]));
        assert_eq!(aggregation(&rule(&["a"]), &Value::Null, false), Value::Null);
    }

    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

    /// Answers discovery with the kinds of roles.
    fn roles(request: &ReceivedRequest) -> Option<(u16, Value)> {
        let resource = |plural: &str, kind: &str, scope: &str| json!({"resource": plural, "responseKind": {"kind": kind}, "scope": scope, "verbs": ["get"]});
        let kinds = json!([
            resource("roles", "Role", "Namespaced"),
            resource("clusterroles", "ClusterRole", "Cluster"),
            resource("clusterrolebindings", "ClusterRoleBinding", "Cluster")
        ]);
        let group = json!({"metadata": {"name": "rbac.authorization.k8s.io"}, "versions": [{"version": "v1", "resources": kinds}]});
        let list = || (200, json!({"kind": "APIGroupDiscoveryList", "items": [group]}));
        (request.path == "/apis").then(list)
    }

    #[tokio::test]
    async fn a_write_of_another_client_is_no_failure_and_a_refusal_keeps_no_other_role() {
        let conflicts = AtomicU32::new(0);
        let server =
            Server::start_with(move |request| match (request.method.as_str(), request.path.as_str()) {
                ("PUT", at) if at.ends_with("/a") => Some(refusal(403, "Forbidden", "you may not")),
                ("PUT", _) if conflicts.fetch_add(1, Ordering::SeqCst) < 2 => {
                    Some(refusal(409, "Conflict", "the object has been modified"))
                }
                _ => roles(request),
            })
            .await;
        let role = |name: &str, verb: &str| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]})
        };
        for name in ["a", "b"] {
            server.hold(&format!("{RBAC}/clusterroles/{name}"), role(name, "get"));
        }
        let file = format!("{}\n{}\n", role("a", "list"), role("b", "list"));
        let line = ["auth", "reconcile", "-f", "-"];
        let result = server.kubectl_in(&line, &file, crate::Env::default()).await;
        assert!(result.code == 1 && result.err.contains("you may not"), "{result:?}");
        assert_eq!(result.out, "clusterrole.rbac.authorization.k8s.io/b reconciled\n", "{result:?}");
        let rules = server.object(&format!("{RBAC}/clusterroles/b")).unwrap()["rules"].clone();
        assert_eq!(rules.as_array().map(Vec::len), Some(2), "{rules}");
    }

    #[tokio::test]
    async fn a_binding_of_another_role_is_made_anew_without_a_list_of_subjects() {
        let server = Server::start_with(roles).await;
        let binding = |role: &str| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "b"},
                "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": "u"}]})
        };
        let at = format!("{RBAC}/clusterrolebindings/b");
        server.hold(&at, binding("old"));
        let line = ["auth", "reconcile", "-f", "-"];
        let result = server.kubectl_in(&line, &binding("new").to_string(), crate::Env::default()).await;
        assert_eq!(
            (result.code, result.err.as_str()),
            (0, "\treconciliation required recreate\n"),
            "{result:?}"
        );
        assert_eq!(server.object(&at).unwrap()["roleRef"]["name"], "new");
    }

    #[tokio::test]
    async fn an_aggregated_role_keeps_its_rules_and_a_missing_namespace_is_made() {
        let server = Server::start_with(roles).await;
        let role = |kind: &str, label: &str, to: &str, rules: Value| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "all", "labels": {"a": label}},
                "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": to}}]}, "rules": rules})
        };
        let at = format!("{RBAC}/clusterroles/all");
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
        server.hold(&at, role("ClusterRole", "server", "x", rules.clone()));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("roles.yaml");
        let mut own = role("Role", "file", "", json!([]));
        own["metadata"]["namespace"] = "n".into();
        value::remove(&mut own, AGGREGATION);
        std::fs::write(&file, format!("{}\n{own}\n", role("ClusterRole", "file", "y", json!([])))).unwrap();
        let file = file.display().to_string();
        let result = server.kubectl(&["auth", "reconcile", "--remove-extra-permissions", "-f", &file]).await;
        assert_eq!(result.code, 0, "{result:?}");
        let after = server.object(&at).unwrap();
        assert_eq!((&after["rules"], &after["metadata"]["labels"]["a"]), (&rules, &json!("server")));
        assert_eq!(after["aggregationRule"]["clusterRoleSelectors"], json!([{"matchLabels": {"to": "y"}}]));
        assert!(server.object("/api/v1/namespaces/n").is_some());
        assert!(server.object(&format!("{RBAC}/namespaces/n/roles/all")).is_some());
    }
}
