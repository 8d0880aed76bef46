//! Tokens of service accounts: what opens nothing, and what opens as long as it lives.

use super::{Door, unauthorized};
use crate::support::{Cluster, PATIENCE, any_kubectl, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki::TokenKey;
use serde_json::{Value, json};
use std::path::Path;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A service account's token opens what RBAC says, as long as it and its account live; a changed
/// one opens nothing.
pub(super) fn tokens(door: &Door, cluster: &Cluster, pki: &Path) {
    let any = any_kubectl();
    let k = |args: &[&str]| cluster.kubectl(&any, args).ok();
    k(&["create", "serviceaccount", "robot"]);
    let token = k(&["create", "token", "robot"]).trim().to_string();
    let secrets = "/api/v1/namespaces/default/secrets";
    let maps = MAPS;
    assert_eq!((door.get(&token, secrets), door.get(&token, maps)), (403, 403));
    k(&["create", "role", "look", "--verb=get,list", "--resource=configmaps"]);
    k(&["create", "rolebinding", "look", "--role=look", "--serviceaccount=default:robot"]);
    eventually(PATIENCE, || door.get(&token, maps), |code| *code == 200);
    assert_eq!(
        (door.get(&token, secrets), door.get(&token, "/api/v1/configmaps")),
        (403, 403),
        "no more than that"
    );
    let made = door.ask(None, &token, "POST", maps, r#"{"metadata":{"name":"x"}}"#).expect("an answer");
    assert_eq!(made.0, 403, "it may look");

    refuse_forgeries(door, cluster, pki, &token);
    end_with_the_pod(door, cluster, &token);
    k(&["delete", "serviceaccount", "robot"]);
    eventually(PATIENCE, || door.get(&token, maps), |code| *code == 401);
    k(&["create", "serviceaccount", "robot"]);
    assert_eq!(door.get(&token, maps), 401, "another one of that name");
}

/// Tokens that are nearly the account's, some of them signed with the cluster's own key, so that
/// nothing is wrong but the time.
fn refuse_forgeries(door: &Door, cluster: &Cluster, pki: &Path, token: &str) {
    let any = any_kubectl();
    let k = |args: &[&str]| cluster.kubectl(&any, args).ok();
    let maps = MAPS;
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else { panic!("no token: {token}") };
    let decoded: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
    let mut promoted = decoded.clone();
    promoted["sub"] = json!("system:serviceaccount:kube-system:generic-garbage-collector");
    promoted["kubernetes.io"]["namespace"] = json!("kube-system");
    let mut eternal = decoded.clone();
    eternal["exp"] = json!(4_102_444_800_u64);
    // With the cluster's own key, so that nothing is wrong but the time; and the other way round.
    let (own, dir) =
        (TokenKey::load_or_create(pki).expect("a key"), tempfile::tempdir().expect("a directory"));
    let other = TokenKey::load_or_create(dir.path()).expect("a key");
    let again = own.sign(&decoded).expect("a token");
    assert_eq!(door.get(&again, maps), 200, "the key signs what is believed");
    let issued = decoded["iat"].as_i64().expect("a time");
    let at = |from: i64, until: i64| {
        let mut claims = decoded.clone();
        (claims["iat"], claims["nbf"], claims["exp"]) = (from.into(), from.into(), until.into());
        own.sign(&claims).expect("a token")
    };
    let encoded = |claims: &Value| URL_SAFE_NO_PAD.encode(claims.to_string());
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let forgeries = [
        ("another account", format!("{head}.{}.{signature}", encoded(&promoted))),
        ("another end", format!("{head}.{}.{signature}", encoded(&eternal))),
        ("no signature", format!("{head}.{claims}.")),
        ("no algorithm", format!("{unsigned}.{claims}.")),
        ("nonsense", "nonsense".to_string()),
        ("another key", other.sign(&decoded).expect("a token")),
        ("an end in the past", at(issued - 7200, issued - 3600)),
        ("a beginning in the future", at(issued + 3600, issued + 7200)),
        ("for somebody else", k(&["create", "token", "robot", "--audience=vault"]).trim().to_string()),
    ];
    for (what, forged) in forgeries {
        let (code, text) = door.ask(None, &forged, "GET", maps, "").expect("an answer");
        assert_eq!(code, 401, "a token with {what}");
        unauthorized(&text, what);
    }
    assert_eq!(door.get(token, maps), 200);
}

/// One that lives as long as a pod.
fn end_with_the_pod(door: &Door, cluster: &Cluster, token: &str) {
    let any = any_kubectl();
    let k = |args: &[&str]| cluster.kubectl(&any, args).ok();
    let maps = MAPS;
    k(&[
        "run",
        "host",
        "--image=busybox",
        "--overrides",
        r#"{"spec":{"serviceAccountName":"robot"}}"#,
        "--",
        "sleep",
        "3600",
    ]);
    let bound = ["create", "token", "robot", "--bound-object-kind=Pod", "--bound-object-name=host"];
    let bound = k(&bound).trim().to_string();
    assert_eq!(door.get(&bound, maps), 200);
    k(&["delete", "pod", "host", "--now"]);
    assert_eq!(
        (door.get(&bound, maps), door.get(token, maps)),
        (401, 200),
        "the pod is gone, its account is not"
    );
}
