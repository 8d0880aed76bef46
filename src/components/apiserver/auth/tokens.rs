//! Service-account tokens: the signature is checked once in ten seconds ([`super::verified`]), what
//! the token stands for on every request.

use crate::state::State;
use crate::storage::extra::Extra;
use api::gostr::quote;
use api::value::{self, text};
use api::{kinds, meta};
use base64::Engine as _;
use clock::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// An object may be deleted this long before its tokens end, as upstream: a pod still needs its
/// token while it shuts down.
const LEEWAY: Duration = Duration::from_secs(60);
/// Upstream's words for a token whose bound object has gone.
const INVALIDATED: &str = "service account token has been invalidated";
/// The label of a Secret whose token counts for nothing any more. Upstream's cleaner of unused
/// tokens sets it, and an administrator may.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
/// The label of a Secret with the day on which its token was last used.
pub(crate) const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Why a token counts for nothing, in upstream's text.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The cache lacks an object that the token stands for; the store may have it.
    Missing(String),
    /// The token is not valid, whatever the store has that the cache lacks.
    Invalid(String),
    /// The token is good, and its Secret has the label [`INVALID_SINCE`].
    Marked(String),
}

impl Refusal {
    /// Returns upstream's text.
    pub(crate) fn into_text(self) -> String {
        match self {
            Refusal::Missing(why) | Refusal::Invalid(why) | Refusal::Marked(why) => why,
        }
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Refusal {
        Refusal::Invalid(why)
    }
}

/// Checks that the object is there, is the one with this uid, and was not deleted long ago. `what`
/// is its kind in upstream's sentences.
fn check_alive(
    state: &State,
    (what, resource): (&str, &str),
    key: &str,
    uid: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let is_account = resource == "serviceaccounts";
    let Some(object) = state.cache.get(resource, key) else {
        let name = key.rsplit('/').next().unwrap_or_default();
        return Err(Refusal::Missing(match is_account {
            true => format!("{resource} {} not found", quote(name)),
            false => INVALIDATED.to_string(),
        }));
    };
    let found = meta::uid(&object.value);
    if found != uid {
        let claim =
            if is_account { "claim".to_string() } else { format!("service account {what} ref claim") };
        return Err(Refusal::Invalid(format!("{what} UID ({found}) does not match {claim} ({uid})")));
    }
    let deleted = text(&object.value, "metadata.deletionTimestamp").parse::<Timestamp>();
    match deleted.is_ok_and(|at| clock::after(at, LEEWAY) < now) {
        true if is_account => Err(Refusal::Invalid(format!("{what} {key} has been deleted"))),
        true => Err(Refusal::Invalid(INVALIDATED.to_string())),
        false => Ok(()),
    }
}

/// Checks that the account of a token, and the object that it is bound to, are still there. `own`:
/// the claim `kubernetes.io`.
///
/// A token of a pod names its node for information only; one of a node alone ends with the node.
///
/// # Errors
/// Upstream's text for a token that has ended with one of them.
pub(crate) fn check_bound(state: &State, own: &Value) -> Result<(), Refusal> {
    let (namespace, now) = (text(own, "namespace"), clock::now());
    let within = |field: &str| format!("{namespace}/{}", text(own, &format!("{field}.name")));
    let bound = |field: &str| own.get(field).is_some();
    let check = |kind: (&str, &str), key: &str, field: &str| {
        check_alive(state, kind, key, text(own, &format!("{field}.uid")), now)
    };
    check(("service account", "serviceaccounts"), &within("serviceaccount"), "serviceaccount")?;
    if bound("secret") {
        check(("secret", "secrets"), &within("secret"), "secret")?;
    }
    if bound("pod") {
        check(("pod", "pods"), &within("pod"), "pod")?;
    } else if bound("node") {
        check(("node", "nodes"), text(own, "node.name"), "node")?;
    }
    Ok(())
}

/// Checks the token of a Secret with the type `kubernetes.io/service-account-token`, and returns
/// namespace, name and uid of its account. It ends with the Secret, with the account, when another
/// token takes its place in the Secret, and as long as the Secret has the label [`INVALID_SINCE`].
///
/// Source: upstream's `serviceaccount/legacy.go`.
///
/// # Errors
/// A claim is missing, or the token has ended.
pub(crate) fn check_legacy<'a>(
    state: &State,
    claims: &'a Value,
    token: &str,
) -> Result<(&'a str, &'a str, &'a str), Refusal> {
    // The names of these claims have dots in them, so they are no paths.
    let claim = |name: &str| {
        let found = claims.get(format!("kubernetes.io/serviceaccount/{name}")).and_then(Value::as_str);
        found.filter(|text| !text.is_empty()).ok_or_else(|| format!("{name} claim is missing"))
    };
    let (namespace, secret) = (claim("namespace")?, claim("secret.name")?);
    let (name, uid) = (claim("service-account.name")?, claim("service-account.uid")?);
    if claims["sub"] != format!("system:serviceaccount:{namespace}:{name}") {
        return Err(Refusal::Invalid("sub claim is invalid".into()));
    }
    let alive = |resource: &str, name: &str, why: &str| {
        let Some(object) = state.cache.get(resource, &format!("{namespace}/{name}")) else {
            return Err(Refusal::Missing(why.to_string()));
        };
        match value::empty(&object.value, "metadata.deletionTimestamp") {
            true => Ok(object),
            false => Err(Refusal::Invalid(why.to_string())),
        }
    };
    let stored = alive("secrets", secret, "Token has been invalidated")?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(token);
    if text(&stored.value, "data.token") != encoded {
        return Err(Refusal::Invalid("Token does not match server's copy".into()));
    }
    let gone = format!("ServiceAccount {namespace}/{name} has been deleted");
    if meta::uid(&alive("serviceaccounts", name, &gone)?.value) != uid {
        return Err(Refusal::Invalid(gone));
    }
    match meta::label(&stored.value, INVALID_SINCE) {
        None | Some("") => Ok((namespace, name, uid)),
        Some(_) => Err(Refusal::Marked(format!(
            "the token in secret {namespace}/{secret} for service account {namespace}/{name} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
        ))),
    }
}

/// Writes the day into the Secret of a token that was just used; other tokens have no Secret.
/// Nothing is written where today stands there, or tomorrow, which a server whose clock is ahead
/// has written. A write that fails is left to a later use: the request goes on.
///
/// Source: `patchSecretWithLastUsedDate` in upstream's `serviceaccount/legacy.go`.
pub(crate) async fn note_use(state: &State, token: &str) {
    let Ok(claims) = state.verified.claims(&state.tokens, token) else { return };
    if claims["iss"] != pki::LEGACY_ISSUER {
        return;
    }
    let claim = |name: &str| claims.get(format!("kubernetes.io/serviceaccount/{name}"))?.as_str();
    let (Some(namespace), Some(name)) = (claim("namespace"), claim("secret.name")) else { return };
    let Some(kind) = kinds::stored("secrets") else { return };
    let Some(secret) = state.remembered(kind, namespace, name) else { return };
    let now = clock::now();
    let [today, tomorrow] = [now, clock::after(now, DAY)].map(|at| at.strftime("%Y-%m-%d").to_string());
    if meta::label(&secret.value, LAST_USED).is_some_and(|day| day == today || day == tomorrow) {
        return;
    }
    let mut used = secret.value.clone();
    value::slot_map(&mut used, "metadata.labels").insert(LAST_USED.to_string(), today.into());
    if let Err(refused) = state.write(kind, used, secret.revision, &Extra::default()).await {
        tracing::debug!(?refused, namespace, name, "the day on which a token was used is not noted");
    }
}
