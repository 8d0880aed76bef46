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

/// A token is renewed when it is older than this part of its life, or than a day (in seconds).
const RENEW_AT: f64 = 0.8;
const RENEW_DAILY: i64 = 24 * 3600;
/// Bytes of a token that is read back; those of the API server have about one kilobyte.
pub(super) const TOKEN_MAX: u64 = 64 << 10;

/// The token in use, while it is young enough. What is there is read as any other file of a volume:
/// a regular one, below its directory, of a bounded size.
pub(super) fn kept_token(dir: &Path, path: &str) -> Option<Vec<u8>> {
    let path = Path::new("..data").join(files::clean_path(path).ok()?);
    let file = fs::File::from(Root::open(dir).ok()?.open_beneath(&path, Kind::File).ok()?);
    let mut token = Vec::new();
    file.take(TOKEN_MAX + 1).read_to_end(&mut token).ok()?;
    (token.len() as u64 <= TOKEN_MAX && is_young(&token, clock::now())).then_some(token)
}

/// Is the token in the first four fifths of its life, and no day old? It says itself when it was
/// issued and when it ends; its file says nothing, since all files of a volume are written anew
/// when one of them changes. A token that counts for longer than was asked for has the claim
/// `warnafter`: the end that was asked for.
pub(super) fn is_young(token: &[u8], now: clock::Timestamp) -> bool {
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
