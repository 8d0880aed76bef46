//! Tokens of service accounts in volumes, which are renewed before they end.

use super::super::files;
use super::{Context, Unmade, unread};
use base64::Engine as _;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use linux::beneath::{Kind, Root};
use std::fs;
use std::io::Read;
use std::path::Path;

/// A token is renewed after this part of its life.
const RENEW_AT: f64 = 0.8;
/// A token that lives for long is renewed after so many seconds: a day.
const RENEW_DAILY: i64 = 24 * 3600;
/// Bytes of a token that is read back; those of the API server have about one kilobyte.
const TOKEN_MAX: u64 = 64 << 10;

/// Returns the token that is in the volume, while it is young enough. It is read as any other file
/// of a volume: a regular one, below its directory, of a bounded size.
pub(super) fn kept_token(dir: &Path, path: &str) -> Option<Vec<u8>> {
    let path = Path::new("..data").join(files::clean_path(path).ok()?);
    let file = fs::File::from(Root::open(dir).ok()?.open_beneath(&path, Kind::File).ok()?);
    let mut token = Vec::new();
    file.take(TOKEN_MAX + 1).read_to_end(&mut token).ok()?;
    (token.len() as u64 <= TOKEN_MAX && is_young(&token, clock::now())).then_some(token)
}

/// Returns whether the token is in the first part of its life ([`RENEW_AT`]) and no day old. It
/// says itself when it was issued and when it ends; its file says nothing, since all files of a
/// volume are written anew when one of them changes. A token that counts for longer than was asked
/// for has the claim `warnafter`: the end that was asked for.
fn is_young(token: &[u8], now: clock::Timestamp) -> bool {
    let claims = || -> Option<(i64, i64)> {
        let payload = token.split(|byte| *byte == b'.').nth(1)?;
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
        let asked = claims.get("kubernetes.io").and_then(|own| own.get("warnafter"));
        let ends = asked.or_else(|| claims.get("exp"))?;
        Some((claims.get("iat")?.as_i64()?, ends.as_i64()?))
    };
    claims().is_some_and(|(issued, ends)| {
        let life = ends.saturating_sub(issued);
        let renewed = issued.saturating_add(((life as f64 * RENEW_AT) as i64).min(RENEW_DAILY));
        now.as_second() < renewed
    })
}

/// Asks the API server for a token of the pod's service account, which counts as long as the pod is
/// there.
///
/// # Errors
/// As the API's, or the answer has no token.
pub(super) async fn token(
    context: &Context<'_>,
    namespace: &str,
    audience: Option<String>,
    life: Option<i64>,
) -> Result<String, Unmade> {
    let pod = context.facts.pod;
    let account =
        pod.spec.as_ref().and_then(|s| s.service_account_name.clone()).unwrap_or_else(|| "default".into());
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audience.into_iter().collect(),
            expiration_seconds: life,
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        },
        ..TokenRequest::default()
    };
    let accounts = context.client.within::<ServiceAccount>(namespace);
    let answer: TokenRequest = accounts
        .create_subresource("token", &account, &PostParams::default(), &request)
        .await
        .map_err(|e| unread("failed to fetch token: ", e))?;
    let token = answer.status.map(|s| s.token);
    token.ok_or_else(|| "failed to fetch token: the answer has none".to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A token with these claims.
    fn token_of(claims: &serde_json::Value) -> Vec<u8> {
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.to_string());
        format!("e30.{claims}.x").into_bytes()
    }

    /// The parts of a token that say when it was issued and when it ends.
    fn issued(at: i64, ends: i64) -> Vec<u8> {
        token_of(&serde_json::json!({"iat": at, "exp": ends}))
    }

    #[test]
    fn a_token_is_renewed_by_its_own_age_however_young_its_file_is() {
        let now = clock::Timestamp::from_second(1_000_000).unwrap();
        let young = |age: i64, life: i64| is_young(&issued(1_000_000 - age, 1_000_000 - age + life), now);
        assert!(young(0, 3607) && young(2800, 3607) && young(80_000, 1 << 40));
        assert!(!young(2900, 3607) && !young(3700, 3607), "its life is nearly over");
        assert!(!young(86_400, 1 << 40), "a day is enough");
        let extended = |age: i64| {
            let at = 1_000_000 - age;
            let own = serde_json::json!({"warnafter": at + 3607});
            token_of(&serde_json::json!({"iat": at, "exp": at + (1 << 40), "kubernetes.io": own}))
        };
        assert!(is_young(&extended(2800), now) && !is_young(&extended(2900), now), "as was asked for");
        assert!(!is_young(b"abc", now) && !is_young(b"a.b.c", now) && !is_young(b"", now));
    }

    #[test]
    fn a_kept_token_is_a_small_regular_file_of_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("..1");
        fs::create_dir_all(&data).unwrap();
        symlink("..1", dir.path().join("..data")).unwrap();
        let now = clock::now().as_second();
        fs::write(data.join("token"), issued(now, now + 3600)).unwrap();
        fs::write(data.join("large"), vec![b'x'; TOKEN_MAX as usize + 1]).unwrap();
        symlink("/dev/zero", data.join("zero")).unwrap();
        fs::write(dir.path().join("beside"), "other").unwrap();
        assert_eq!(kept_token(dir.path(), "token"), Some(issued(now, now + 3600)));
        for path in ["large", "zero", "/dev/zero", "/etc/hostname", "../beside", "missing", ""] {
            assert_eq!(kept_token(dir.path(), path), None, "{path}");
        }
    }
}
