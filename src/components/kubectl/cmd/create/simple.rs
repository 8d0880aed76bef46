//! create namespace, serviceaccount, quota, priorityclass, poddisruptionbudget, token.

use super::super::common::{enforced, label_selector, metadata, one_name};
use super::super::set_resources::amounts;
use super::{submit, within};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::print::formats;
use crate::wire::paths::segment;
use api::gostr;
use api::labels::{Op, Requirement, Selector};
use api::value;
use serde_json::{Map, Value, json};

pub(crate) async fn namespace(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let object = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": metadata(&name, None, &[]), "spec": {}, "status": {}});
    submit(ctx, "/api/v1/namespaces", object, "").await
}

pub(crate) async fn service_account(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let meta = metadata(&name, enforced(ctx)?.as_deref(), &[]);
    let object = json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": meta});
    submit(ctx, &within(ctx, "api/v1", "serviceaccounts")?, object, "serviceaccount: ").await
}

pub(crate) async fn quota(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let mut spec = Map::new();
    let hard = ctx.flags.text("hard");
    if !hard.is_empty() {
        spec.insert("hard".into(), amounts(hard)?.into());
    }
    let scopes = ctx.flags.text("scopes");
    if !scopes.is_empty() {
        if scopes.split(',').any(str::is_empty) {
            return text("invalid resource quota scope \"\"");
        }
        spec.insert("scopes".into(), scopes.split(',').map(Value::from).collect());
    }
    let meta = metadata(&name, enforced(ctx)?.as_deref(), &[]);
    let object =
        json!({"kind": "ResourceQuota", "apiVersion": "v1", "metadata": meta, "spec": spec, "status": {}});
    submit(ctx, &within(ctx, "api/v1", "resourcequotas")?, object, "quota: ").await
}

pub(crate) async fn priority_class(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let mut object = json!({"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1",
        "metadata": metadata(&name, None, &[]), "value": ctx.flags.int("value")});
    if ctx.flags.is("global-default") {
        value::put(&mut object, "globalDefault", true);
    }
    if !ctx.flags.text("description").is_empty() {
        value::put(&mut object, "description", ctx.flags.text("description"));
    }
    value::put(&mut object, "preemptionPolicy", ctx.flags.text("preemption-policy"));
    submit(ctx, "/apis/scheduling.k8s.io/v1/priorityclasses", object, "priorityclass: ").await
}

pub(crate) async fn pod_disruption_budget(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    let selector = ctx.flags.text("selector");
    let (min, max) = (ctx.flags.text("min-available"), ctx.flags.text("max-unavailable"));
    if selector.is_empty() {
        return text("a selector must be specified");
    }
    let mut spec = Map::new();
    match (min, max) {
        ("", "") => return text("one of min-available or max-unavailable must be specified"),
        (min, "") => spec.insert("minAvailable".into(), int_or_percent(min, "min-available")?),
        ("", max) => spec.insert("maxUnavailable".into(), int_or_percent(max, "max-unavailable")?),
        _ => return text("min-available and max-unavailable cannot be both specified"),
    };
    spec.insert("selector".into(), selector_value(&label_selector(selector)?));
    let order = ["minAvailable", "selector", "maxUnavailable"];
    let spec: Map<String, Value> =
        order.iter().filter_map(|k| Some((k.to_string(), spec.get(*k)?.clone()))).collect();
    let object = json!({"kind": "PodDisruptionBudget", "apiVersion": "policy/v1",
        "metadata": metadata(&name, enforced(ctx)?.as_deref(), &[]), "spec": spec,
        "status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}});
    submit(ctx, &within(ctx, "apis/policy/v1", "poddisruptionbudgets")?, object, "poddisruptionbudgets: ")
        .await
}

/// A `metav1.LabelSelector`: `key=value` becomes `matchLabels`, other requirements, also `key in
/// (value)`, become expressions.
fn selector_value(selector: &Selector) -> Value {
    let (mut labels, mut expressions) = (Map::new(), vec![]);
    for Requirement { key, op, values } in &selector.0 {
        let operator = match (op, values.as_slice()) {
            (Op::Equals, [one]) => {
                labels.insert(key.clone(), one.as_str().into());
                continue;
            }
            (Op::Equals | Op::In, _) => "In",
            (Op::NotIn, _) => "NotIn",
            (Op::Exists, _) => "Exists",
            (Op::DoesNotExist, _) => "DoesNotExist",
            (Op::NotEquals | Op::GreaterThan | Op::LessThan, _) => continue, // refused as it was read
        };
        let mut expression = json!({"key": key, "operator": operator});
        if !values.is_empty() {
            value::put(&mut expression, "values", json!(values));
        }
        expressions.push(expression);
    }
    let mut made = json!({});
    if !labels.is_empty() {
        value::put(&mut made, "matchLabels", labels);
    }
    if !expressions.is_empty() {
        value::put(&mut made, "matchExpressions", expressions);
    }
    made
}

/// `3` or `50%`
fn int_or_percent(text_of: &str, flag: &str) -> Result<Value, Fail> {
    let digits = text_of.strip_suffix('%').unwrap_or(text_of);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return text(format!("invalid format specified for {flag}"));
    }
    Ok(text_of.parse::<i32>().map_or_else(|_| text_of.into(), Value::from))
}

pub(crate) async fn token(ctx: &Ctx) -> Result<(), Fail> {
    let name = one_name(ctx)?;
    if name.is_empty() {
        return text("service account name is required");
    }
    let format = formats::of(ctx, false)?;
    let mut spec = Map::new();
    let audiences = ctx.flags.list("audience");
    if audiences.iter().any(String::is_empty) {
        return text("--audience must not be an empty string");
    }
    spec.insert("audiences".into(), if audiences.is_empty() { Value::Null } else { json!(audiences) });
    let duration = gostr::parse_duration(ctx.flags.text("duration")).map_or(0, |d| d.0);
    if duration < 0 {
        return text("--duration must be greater than or equal to 0");
    }
    if duration % gostr::Nanos::secs(1).0 != 0 {
        return text("--duration cannot be expressed in units less than seconds");
    }
    let seconds = ctx.flags.duration("duration").as_secs();
    spec.insert("expirationSeconds".into(), if seconds == 0 { Value::Null } else { seconds.into() });
    let kind = ctx.flags.text("bound-object-kind");
    let bound = match kind {
        "" if !ctx.flags.text("bound-object-name").is_empty() => {
            return text("--bound-object-name can only be set if --bound-object-kind is provided");
        }
        "" if !ctx.flags.text("bound-object-uid").is_empty() => {
            return text("--bound-object-uid can only be set if --bound-object-kind is provided");
        }
        "" => Value::Null,
        "Pod" | "Secret" | "Node" if ctx.flags.text("bound-object-name").is_empty() => {
            return text("--bound-object-name is required if --bound-object-kind is provided");
        }
        "Pod" | "Secret" | "Node" => {
            json!({"kind": kind, "apiVersion": "v1", "name": ctx.flags.text("bound-object-name"), "uid": ctx.flags.text("bound-object-uid")})
        }
        _ => return text("supported --bound-object-kind values are Node, Pod, Secret"),
    };
    spec.insert("boundObjectRef".into(), bound);
    let request = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
        "spec": spec, "status": {"token": "", "expirationTimestamp": null}});
    let path = format!("{}/{}/token", within(ctx, "api/v1", "serviceaccounts")?, segment(&name));
    let answer = match ctx.api().await?.post(&path, &[], &request).await {
        Ok(answer) => answer,
        Err(fail @ (Fail::Api(_) | Fail::Text(_))) => {
            return text(format!("failed to create token: {}", fail.message()));
        }
        Err(fail) => return Err(fail),
    };
    if value::empty(&answer, "status.token") {
        return text("failed to create token: no token in server response");
    }
    match format {
        Some(format) => ctx.out(format.print(&answer, false)?),
        None if ctx.stdout_is_terminal => ctx.line(value::text(&answer, "status.token")),
        // A file or pipe gets the token alone, without the end of a line that a terminal gets.
        None => ctx.out(value::text(&answer, "status.token")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use serde_json::json;

    #[tokio::test]
    async fn a_token_is_bound_to_an_object_of_a_kind() {
        let server = Server::away().await;
        for flag in ["name", "uid"] {
            let result = server.kubectl(&["create", "token", "a", &format!("--bound-object-{flag}=x")]).await;
            let why =
                format!("error: --bound-object-{flag} can only be set if --bound-object-kind is provided\n");
            assert_eq!(result.err, why);
        }
        let result = server.kubectl(&["create", "token", "a", "--audience="]).await;
        assert_eq!(result.err, "error: --audience must not be an empty string\n");
    }

    #[tokio::test]
    async fn a_token_is_written_to_a_file_as_it_is() {
        let server = Server::start_with(|request| {
            let answer = || (201, json!({"status": {"token": "t"}}));
            request.path.ends_with("/serviceaccounts/a/token").then(answer)
        })
        .await;
        let result = server.kubectl(&["create", "token", "a"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "t"), "{result:?}");
        let result = server.kubectl_at_terminal(&["create", "token", "a"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "t\n"), "{result:?}");
        let result = server.kubectl(&["create", "token", "a/b"]).await;
        let why = "error: failed to create token: invalid resource name \"a/b\": [may not contain '/']\n";
        assert_eq!((result.code, result.err.as_str()), (1, why), "{result:?}");
    }

    #[tokio::test]
    async fn a_budgets_selector_has_no_signs_but_equals() {
        let server = Server::away().await;
        for (selector, why) in [
            ("a!=b", "\"!=\" is not a valid label selector operator"),
            ("a>1", "\"gt\" isn't supported in label selectors"),
            ("a<1", "\"lt\" isn't supported in label selectors"),
            (
                "a=b=",
                "couldn't parse the selector string \"a=b=\": found '=', expected: ',' or 'end of string'",
            ),
        ] {
            let line =
                ["create", "pdb", "x", "--min-available=1", "--dry-run=client", "--selector", selector];
            let result = server.kubectl(&line).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{selector}");
        }
    }

    /// The results are those of `ParseQuantity` and `String` of apimachinery 0.35.
    #[tokio::test]
    async fn amounts_of_a_quota_are_written_as_they_are_stored() {
        let server = Server::start().await;
        let quota = |hard| ["create", "quota", "q", hard, "--dry-run=client", "-o", "jsonpath={.spec.hard}"];
        let result = server.kubectl(&quota("--hard=cpu=0.5,memory=0.1Gi,pods=2")).await;
        let want = r#"{"cpu":"500m","memory":"107374182400m","pods":"2"}"#;
        assert_eq!((result.code, result.out.as_str()), (0, want), "{result:?}");
        let result = server.kubectl(&quota("--hard=cpu=x")).await;
        assert!(result.code == 1 && result.err.contains("quantities must match"), "{result:?}");
        let pair = "expected <resource>=<value>";
        for (flag, why) in [
            ("--hard=cpu=1,", format!("Invalid argument syntax , {pair}")),
            ("--hard=cpu=1=2", format!("Invalid argument syntax cpu=1=2, {pair}")),
            ("--scopes=BestEffort,", "invalid resource quota scope \"\"".to_string()),
        ] {
            let result = server.kubectl(&quota(flag)).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{flag}");
        }
    }
}
