//! Tokens of service accounts: `serviceaccounts/token` (TokenRequest).

use crate::admission;
use crate::auth::authn::ISSUER;
use crate::registry::strategy::{check_has_name, set_namespace};
use crate::request::context::Context;
use crate::request::decode::TOKEN_REQUEST;
use crate::request::http::{Answer, json};
use crate::state::State;
use api::errors::Errors;
use api::kinds;
use api::value::{self, at, int, text};
use api::{Status, meta};
use bytes::Bytes;
use serde_json::{Value, json};
use std::time::Duration;

/// Issues a token for a service account.
///
/// # Errors
/// 400, 404 and 409 for an account or a bound object that is not as the request says; 422 for a
/// lifetime out of bounds.
pub(crate) async fn create(state: &State, ctx: &Context, body: &Bytes) -> Result<Answer, Status> {
    if !ctx.query.get("dryRun").is_empty() {
        ctx.warn("dryRun has no effect: a token is issued"); // as upstream, which says nothing of it
    }
    let mut request = TOKEN_REQUEST.read(ctx, body)?;
    let (namespace, name) = (ctx.info.namespace.clone(), ctx.info.name.clone());
    let kind = kinds::find("", "v1", "ServiceAccount")
        .ok_or_else(|| Status::internal("service accounts are not served"))?;
    set_namespace(ctx, kind, &mut request)?;
    check_account(&request, &name)?;
    let account = state.get(kind, &namespace, &name).await?;
    let (wanted, uid) = (meta::uid(&request), meta::uid(&account.value));
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "the UID in the token request ({wanted}) does not match the UID of the service account ({uid})"
        );
        return Err(Status::conflict("authentication.k8s.io", "TokenRequest", &name, &why));
    }
    value::put(&mut request, "metadata.uid", uid);
    let seconds = int(&request, "spec.expirationSeconds").unwrap_or(3600);
    let mut errors = Errors::default();
    if seconds < 600 {
        errors.invalid(
            "spec.expirationSeconds",
            &json!(seconds),
            "may not specify a duration less than 10 minutes",
        );
    } else if seconds > 1 << 32 {
        errors.invalid(
            "spec.expirationSeconds",
            &json!(seconds),
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    if !errors.is_empty() {
        return Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", &errors)); // as upstream
    }
    admission::nodes::token(state, ctx, &request, &namespace, &name)?;
    admission::policies::check_creation_below(state, ctx, kind, &request)?;
    let mut audiences = at(&request, "spec.audiences").clone();
    if audiences.as_array().is_none_or(|a| a.is_empty()) {
        audiences = json!([ISSUER]);
    }
    let mut own =
        json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": meta::uid(&account.value)}});
    bound_object(state, &request, (&namespace, &name), &mut own)?;
    let now = clock::now();
    let expires = now + Duration::from_secs(seconds as u64);
    let ends = end_of(&mut own, &audiences, seconds, (now, expires));
    let claims = json!({"iss": ISSUER, "aud": audiences, "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "iat": now.as_second(), "nbf": now.as_second(), "exp": ends.as_second(), "jti": state.rng.uuid(), "kubernetes.io": own});
    let token = state.tokens.sign(&claims).map_err(Status::internal)?;
    value::put(&mut request, "spec.audiences", audiences);
    value::put(&mut request, "spec.expirationSeconds", seconds);
    value::put(
        &mut request,
        "status",
        json!({"token": token, "expirationTimestamp": clock::rfc3339(expires)}),
    );
    value::put(&mut request, "metadata.name", name);
    value::put(&mut request, "metadata.creationTimestamp", clock::rfc3339(now));
    Ok(json(201, &request))
}

/// Seconds for which the kubelet asks for the token that every pod has.
const POD_TOKEN_SECS: i64 = 60 * 60 + 7;
/// How long that token is valid.
const POD_TOKEN_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Returns when a token ends that was asked for from `now` until `wanted`. The token of a pod for
/// the API has a year, because programs that read its file only once were written for tokens
/// without an end. Its claim `warnafter` is the end that was asked for, which the answer has, too:
/// the kubelet renews the file by that time (upstream: `TokenREST.Create`, with
/// `--service-account-extend-token-expiration`, which is on by default).
fn end_of(
    own: &mut Value,
    audiences: &Value,
    seconds: i64,
    (now, wanted): (clock::Timestamp, clock::Timestamp),
) -> clock::Timestamp {
    let is_for_api = audiences.as_array().is_some_and(|all| all.iter().all(|one| one == ISSUER));
    if seconds != POD_TOKEN_SECS || !is_for_api || own.get("pod").is_none() {
        return wanted;
    }
    own["warnafter"] = wanted.as_second().into();
    now + POD_TOKEN_LIFE
}

/// Checks the name in a request for a token: it may be that of the account, and no other.
fn check_account(request: &Value, name: &str) -> Result<(), Status> {
    let own_name = meta::name(request);
    if own_name.is_empty() || own_name == name {
        return Ok(());
    }
    let mut errors = Errors::default();
    errors.invalid_text("metadata.name", own_name, "must match the service account name if specified");
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", name, &errors))
}

/// Adds the object that the token is bound to, with which it ends, to the claims `own`: a pod of
/// its account with the pod's node, a Secret, or a node.
///
/// # Errors
/// 400 for another kind, for no name and for a pod of another account, 404 if there is no such
/// object, 409 if it has another uid.
fn bound_object(
    state: &State,
    request: &Value,
    (namespace, account): (&str, &str),
    own: &mut Value,
) -> Result<(), Status> {
    let bound = at(request, "spec.boundObjectRef");
    if bound.is_null() {
        return Ok(());
    }
    let (version, kind, name) = (text(bound, "apiVersion"), text(bound, "kind"), text(bound, "name"));
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let (resource, key, field) = match kind {
        "Pod" if group.is_empty() => ("pods", format!("{namespace}/{name}"), "pod"),
        "Secret" if group.is_empty() => ("secrets", format!("{namespace}/{name}"), "secret"),
        "Node" if group.is_empty() => ("nodes", name.to_string(), "node"),
        _ => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    check_has_name(name)?;
    let found = state.cache.get(resource, &key).ok_or_else(|| Status::not_found("", resource, name))?;
    if kind == "Pod" && text(&found.value, "spec.serviceAccountName") != account {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    let uid = text(bound, "uid");
    if !uid.is_empty() && uid != meta::uid(&found.value) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict("", kind, name, &why)); // upstream names the kind here
    }
    value::put(own, field, json!({"name": name, "uid": meta::uid(&found.value)}));
    let on = text(&found.value, "spec.nodeName");
    if kind == "Pod" && !on.is_empty() {
        // Of a node that is gone the token has the name alone.
        let node = match state.cache.get("nodes", on) {
            Some(node) => json!({"name": on, "uid": meta::uid(&node.value)}),
            None => json!({"name": on}),
        };
        value::put(own, "node", node);
    }
    Ok(())
}
