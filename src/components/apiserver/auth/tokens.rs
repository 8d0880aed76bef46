//! Service-account tokens: the signature is checked once in ten seconds, what the token stands for
//! on every request.
//!
//! Upstream has the same cache (`authentication/token/cache`), in front of the whole check. Here it
//! holds the claims only: a token whose account, pod, node or secret has gone is refused at once,
//! by every API server, also while its signature is remembered.

use crate::state::State;
use api::meta;
use api::value::{self, text};
use base64::Engine as _;
use clock::{self, Timestamp};
use parking_lot::Mutex;
use pki::TokenKey;
use rng::Rng;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a verified signature is remembered: upstream's `TokenSuccessCacheTTL`.
const KEPT: Duration = Duration::from_secs(10);
/// Verified tokens that are remembered. At the bound all are forgotten: each then costs one more
/// check.
const KEPT_MAX: usize = 4096;
/// An object may be deleted this long before its tokens end, as upstream: a pod still needs its
/// token while it shuts down.
const LEEWAY: Duration = Duration::from_secs(60);
const INVALIDATED: &str = "service account token has been invalidated";

/// Claims of tokens whose signature was found good lately.
///
/// The key is a hash with a secret of this process: the table holds no token, and the time of a
/// look-up tells nothing about one.
pub(crate) struct Verified {
    secret: [u8; 32],
    table: Mutex<HashMap<[u8; 32], Entry>>,
}

struct Entry {
    claims: Arc<Value>,
    until: Instant,
}

impl Verified {
    pub(crate) fn new() -> Verified {
        let rng = Rng::from_os();
        let mut secret = [0; 32];
        secret.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&rng.u64().to_ne_bytes()));
        Verified { secret, table: Mutex::default() }
    }

    fn key(&self, token: &str) -> [u8; 32] {
        Sha256::new_with_prefix(self.secret).chain_update(token).finalize().into()
    }

    /// The claims of a token that `keys` signed and that is valid now.
    ///
    /// # Errors
    /// The signature is not ours, or the token is not valid yet or any more. Failures are not
    /// remembered.
    pub(crate) fn claims(&self, keys: &TokenKey, token: &str) -> Result<Arc<Value>, String> {
        let (key, now) = (self.key(token), Instant::now());
        let table = || self.table.lock();
        let known = table().get(&key).filter(|e| now < e.until).map(|e| e.claims.clone());
        if let Some(claims) = known.filter(|c| !is_expired(c)) {
            return Ok(claims);
        }
        let claims = Arc::new(keys.verify(token).map_err(|e| e.to_string())?);
        let mut table = table();
        if table.len() >= KEPT_MAX {
            table.retain(|_, e| now < e.until);
        }
        if table.len() >= KEPT_MAX {
            table.clear();
        }
        table.insert(key, Entry { claims: claims.clone(), until: now + KEPT });
        Ok(claims)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().len()
    }
}

/// Returns whether verified claims have ended meanwhile. Those of a Secret's token have no end.
fn is_expired(claims: &Value) -> bool {
    claims.get("exp").and_then(Value::as_i64).is_some_and(|exp| exp <= clock::now().as_second())
}

/// Why a token counts for nothing, in upstream's text.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The cache lacks an object that the token stands for; the store may have it.
    Missing(String),
    /// The store would say nothing else.
    Invalid(String),
}

impl Refusal {
    pub(crate) fn into_text(self) -> String {
        match self {
            Refusal::Missing(why) | Refusal::Invalid(why) => why,
        }
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Refusal {
        Refusal::Invalid(why)
    }
}

/// Checks that the object is there, is the one with this uid, and was not deleted long ago.
fn check_alive(state: &State, resource: &str, key: &str, uid: &str, now: Timestamp) -> Result<(), Refusal> {
    let Some(object) = state.cache.get(resource, key) else {
        return Err(Refusal::Missing(INVALIDATED.to_string()));
    };
    let deleted = text(&object.value, "metadata.deletionTimestamp").parse::<Timestamp>();
    match meta::uid(&object.value) == uid && !deleted.is_ok_and(|at| clock::after(at, LEEWAY) < now) {
        true => Ok(()),
        false => Err(Refusal::Invalid(INVALIDATED.to_string())),
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
    let check = |resource: &str, key: &str, field: &str| {
        check_alive(state, resource, key, text(own, &format!("{field}.uid")), now)
    };
    check("serviceaccounts", &within("serviceaccount"), "serviceaccount")?;
    if bound("secret") {
        check("secrets", &within("secret"), "secret")?;
    }
    if bound("pod") {
        check("pods", &within("pod"), "pod")?;
    } else if bound("node") {
        check("nodes", text(own, "node.name"), "node")?;
    }
    Ok(())
}

/// Checks the token of a Secret with the type `kubernetes.io/service-account-token`, and returns
/// namespace, name and uid of its account. It ends with the Secret, with the account, and when
/// another token takes its place in the Secret.
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
    match alive("serviceaccounts", name, &gone)? {
        account if meta::uid(&account.value) == uid => Ok((namespace, name, uid)),
        _ => Err(Refusal::Invalid(gone)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(keys: &TokenKey, n: i64, seconds: i64) -> String {
        let now = clock::now().as_second();
        keys.sign(&json!({"sub": n.to_string(), "nbf": now - 100, "exp": now + seconds})).unwrap()
    }

    #[test]
    fn a_signature_is_checked_once_and_never_counts_beyond_the_tokens_end() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = TokenKey::load_or_create(dir.path()).unwrap();
        let stranger = TokenKey::load_or_create(other.path()).unwrap();
        let verified = Verified::new();
        let good = token(&keys, 1, 600);
        let first = verified.claims(&keys, &good).unwrap();
        // Found in the table: a key that did not sign it is not asked.
        assert!(Arc::ptr_eq(&first, &verified.claims(&stranger, &good).unwrap()));
        // One byte more or less is another token.
        assert!(verified.claims(&keys, &good[..good.len() - 1]).is_err());
        assert!(verified.claims(&keys, &token(&stranger, 1, 600)).is_err());
        assert_eq!(verified.len(), 1, "failures are not remembered");
        // The leeway of the signature's check lets it pass; the table must not prolong it.
        let late = token(&keys, 2, -5);
        verified.claims(&keys, &late).unwrap();
        assert!(verified.claims(&stranger, &late).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_signature_is_checked_again_after_ten_seconds() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = TokenKey::load_or_create(dir.path()).unwrap();
        let stranger = TokenKey::load_or_create(other.path()).unwrap();
        let (verified, good) = (Verified::new(), token(&keys, 1, 600));
        verified.claims(&keys, &good).unwrap();
        tokio::time::advance(KEPT - Duration::from_millis(1)).await;
        assert!(verified.claims(&stranger, &good).is_ok());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(verified.claims(&stranger, &good).is_err());
    }

    #[test]
    fn the_table_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let keys = TokenKey::load_or_create(dir.path()).unwrap();
        let verified = Verified::new();
        let claims = Arc::new(json!({"exp": i64::MAX}));
        let until = Instant::now() + KEPT;
        for n in 0..KEPT_MAX as u64 {
            let entry = Entry { claims: claims.clone(), until };
            verified.table.lock().insert(verified.key(&n.to_string()), entry);
        }
        assert_eq!(verified.len(), KEPT_MAX);
        verified.claims(&keys, &token(&keys, 1, 600)).unwrap();
        assert!(verified.len() <= KEPT_MAX);
    }
}
