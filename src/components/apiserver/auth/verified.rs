//! Claims of service-account tokens whose signature was checked in the last ten seconds.
//!
//! Upstream has the same cache (`authentication/token/cache`), in front of the whole check. Here it
//! holds the claims only: a token whose account, pod, node or secret has gone is refused at once,
//! by every API server, also while its signature is remembered ([`super::tokens`]).

use clock::Instant;
use parking_lot::Mutex;
use pki::TokenKey;
use rng::Rng;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a verified signature is remembered: upstream's `TokenSuccessCacheTTL`.
const KEPT: Duration = Duration::from_secs(10);
/// Verified tokens that are remembered. At the bound all are forgotten: each then costs one more
/// check.
const KEPT_MAX: usize = 4096;

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

    /// Returns the claims of a token that `keys` signed and that is valid now.
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
        let claims = Arc::new(keys.verify(token).map_err(|error| match error {
            pki::Error::Token(why) => why,
            other => other.to_string(),
        })?);
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

    /// Returns whether the claims of a token are remembered.
    pub(crate) fn knows(&self, token: &str) -> bool {
        let (key, now) = (self.key(token), Instant::now());
        self.table.lock().get(&key).is_some_and(|entry| now < entry.until)
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
