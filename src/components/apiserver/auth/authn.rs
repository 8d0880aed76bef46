//! Authentication: client certificates and service-account tokens, then impersonation.

use crate::auth::bearer;
use crate::auth::impersonation::impersonate;
use crate::auth::tokens::{self, Refusal};
use crate::auth::user::{AUTHENTICATED, UNAUTHENTICATED, User};
use crate::flowcontrol::bounds;
use crate::request::connections::Counted;
use crate::state::State;
use api::Status;
use api::gostr::quote;
use api::value::{at, text};
use clock::{self, Timestamp};
use http::HeaderMap;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use std::sync::Arc;
use tap::TEACHER;

/// The issuer (`iss`) of service-account tokens, and the address at which pods find the keys that
/// verify them. The same as kubeadm sets.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// The extra attribute of a user that tells with which credential it authenticated.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The user of a connection by its client certificate.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// The client sent no certificate, or its certificate names no user.
    Nobody,
    /// A user, until the certificate expires.
    User(User, Timestamp),
    /// The certificate is not believed.
    Stranger,
}

impl Peer {
    /// Finds the user of the certificates that a client has shown.
    pub(crate) fn of(clients: &pki::Clients, certs: &[CertificateDer<'_>]) -> Peer {
        match clients.judge(certs) {
            Ok(None) => Peer::Nobody,
            Ok(Some(client)) => {
                let credential = vec![format!("X509SHA256={}", client.fingerprint)];
                let mut user = User {
                    name: client.name,
                    uid: client.uid,
                    groups: client.groups,
                    extra: [(CREDENTIAL_ID.to_string(), credential)].into(),
                    ..User::default()
                };
                add_authenticated(&mut user);
                Peer::User(user, client.until)
            }
            Err(why) => {
                tracing::warn!(err = why, "Unable to authenticate the request");
                Peer::Stranger
            }
        }
    }
}

/// Adds the group of all who have authenticated to the groups of a certificate, unless these say
/// already which of the two groups the user is in (upstream: `AuthenticatedGroupAdder`).
fn add_authenticated(user: &mut User) {
    let is_named = user.is_in(AUTHENTICATED) || user.is_in(UNAUTHENTICATED);
    if !is_named && !user.is_anonymous() {
        user.groups.push(AUTHENTICATED.to_string());
    }
}

/// Where a request comes from.
pub(crate) enum Caller<'a> {
    /// A connection, with what its certificate says.
    Connection(&'a Peer),
    /// A test: its user needs no credentials.
    #[cfg(any(test, feature = "testing"))]
    InProcess(User),
}

/// Returns the user of a request: authenticated, then impersonated. The connection of the request
/// counts on the account of the authenticated user from now on.
///
/// # Errors
/// 401 for credentials that are not believed, 403 for an impersonation that is not allowed, 429 if
/// the account has too many connections.
pub(crate) async fn authenticate(
    state: &State,
    caller: Caller<'_>,
    headers: &HeaderMap,
    connection: Option<&Arc<Counted>>,
) -> Result<User, Status> {
    let user = match caller {
        #[cfg(any(test, feature = "testing"))]
        Caller::InProcess(user) => user,
        Caller::Connection(peer) => {
            let user = sender(state, peer, headers).await?;
            if !user.is_anonymous() && connection.is_some_and(|counted| !counted.mark_known(&user)) {
                return Err(bounds::too_many());
            }
            user
        }
    };
    impersonate(state, user, headers)
}

/// Returns the user who sent these headers over a connection of `peer`. A certificate that is not
/// believed does not matter where the request has a token.
async fn sender(state: &State, peer: &Peer, headers: &HeaderMap) -> Result<User, Status> {
    let stranger = match peer {
        Peer::User(user, until) if *until >= clock::now() => return believed(user, &state.teachers),
        Peer::Nobody => false,
        Peer::User(..) | Peer::Stranger => true,
    };
    let token = bearer::token(headers)?;
    match token {
        None if stranger => Err(Status::unauthorized()),
        None => Ok(User::anonymous()),
        Some(token) => {
            let known = service_account(state, &token, &[]).await;
            known.map(|(user, _)| user).map_err(|_| Status::unauthorized())
        }
    }
}

/// Returns the user of a certificate, without the group `teachers`. The teacher judges the
/// learner's work, so its name is believed only together with that group, which this process has
/// drawn: a certificate with that name can be had by a request that the learner approves, or made
/// with the authority's key. The group is taken out because the answers to reviews show a user's
/// groups.
///
/// # Errors
/// 401 for the teacher's name without the group.
fn believed(user: &User, teachers: &str) -> Result<User, Status> {
    let mut user = user.clone();
    let groups = user.groups.len();
    user.groups.retain(|group| group != teachers);
    if user.name == TEACHER && user.groups.len() == groups {
        let why = format!(
            "the user name {TEACHER:?} is reserved: Ropewalk checks lessons and grades labs under it; use a certificate with another common name"
        );
        return Err(Status::new(401, "Unauthorized", why));
    }
    Ok(user)
}

/// Authenticates a token. Returns the user of its ServiceAccount, and those of the `wanted`
/// audiences that the token is for. Without any wanted, the API server's own is meant.
///
/// If the cache lacks an object that the token stands for, the store is asked before the token is
/// refused (upstream: `tokengetter.go`): another server may have made the account just now. Only a
/// token with a good signature costs this.
///
/// The use of a Secret's token is noted there, at most once in the time for which its claims are
/// remembered; as upstream also that of a token that is marked invalid, which is refused.
pub(crate) async fn service_account(
    state: &State,
    token: &str,
    wanted: &[String],
) -> Result<(User, Vec<String>), String> {
    let is_remembered = state.verified.knows(token);
    let mut found = remembered_account(state, token, wanted);
    if matches!(found, Err(Refusal::Missing(_))) && state.fresh().await.is_ok() {
        found = remembered_account(state, token, wanted);
    }
    let is_used = matches!(found, Ok(_) | Err(Refusal::Marked(_)));
    if is_used && !is_remembered {
        Box::pin(tokens::note_use(state, token)).await; // on the heap: it writes, and seldom runs
    }
    found.map_err(Refusal::into_text)
}

/// Authenticates a token as [`service_account`] does, by what the cache has now.
fn remembered_account(state: &State, token: &str, wanted: &[String]) -> Result<(User, Vec<String>), Refusal> {
    let claims = state.verified.claims(&state.tokens, token)?;
    let audiences: Vec<String> = match at(&claims, "aud") {
        Value::String(s) => vec![s.clone()],
        other => other.as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect(),
    };
    let ours = [ISSUER.to_string()];
    let is_legacy = at(&claims, "iss") == pki::LEGACY_ISSUER;
    // The token of a Secret names no audience: it is for the API server.
    let audiences = if is_legacy && audiences.is_empty() { ours.to_vec() } else { audiences };
    let wanted = if wanted.is_empty() { &ours[..] } else { wanted };
    let granted: Vec<String> = audiences.iter().filter(|a| wanted.contains(a)).cloned().collect();
    if granted.is_empty() {
        let (has, wanted) = (quoted(&audiences), quoted(wanted));
        let why = format!("token audiences {has} is invalid for the target audiences {wanted}");
        return Err(Refusal::Invalid(why));
    }
    if is_legacy {
        let (namespace, name, uid) = tokens::check_legacy(state, &claims, token)?;
        return Ok((User { uid: uid.into(), ..User::service_account(namespace, name) }, granted));
    }
    let own = claims.get("kubernetes.io").unwrap_or(&Value::Null);
    let (namespace, name, uid) =
        (text(own, "namespace"), text(own, "serviceaccount.name"), text(own, "serviceaccount.uid"));
    tokens::check_bound(state, own)?;
    let mut user = User::service_account(namespace, name);
    user.uid = uid.to_string();
    let mut extra = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_string()]);
        }
    };
    let pod = text(own, "pod.name");
    if !pod.is_empty() {
        extra("pod-name", pod);
        extra("pod-uid", text(own, "pod.uid"));
    }
    extra("node-name", text(own, "node.name"));
    extra("node-uid", text(own, "node.uid"));
    let jti = text(&claims, "jti");
    if !jti.is_empty() {
        user.extra.insert(CREDENTIAL_ID.into(), vec![format!("JTI={jti}")]);
    }
    Ok((user, granted))
}

/// Writes a list of texts as Go's `%q` does: `["a" "b"]`.
fn quoted(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn a_certificate_makes_its_user_authenticated_unless_its_groups_say_otherwise() {
        for (name, groups, wanted) in [
            ("jane", vec!["devs"], vec!["devs", AUTHENTICATED]),
            ("jane", vec![AUTHENTICATED], vec![AUTHENTICATED]),
            ("jane", vec![UNAUTHENTICATED], vec![UNAUTHENTICATED]),
            ("system:anonymous", vec!["devs"], vec!["devs"]),
        ] {
            let groups: Vec<String> = groups.into_iter().map(String::from).collect();
            let mut user = User { name: name.into(), groups: groups.clone(), ..User::default() };
            add_authenticated(&mut user);
            assert_eq!(user.groups, wanted, "{name} {groups:?}");
        }
    }

    #[test]
    fn a_certificate_is_the_credential_of_its_user() {
        let dir = tempfile::tempdir().unwrap();
        let ca = pki::Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = ca.issue(&pki::Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let (_, clients) = pki::asking_server_config(&server, ca.pem()).unwrap();
        let jane = ca.issue(&pki::Subject::client("jane", "dev")).unwrap();
        let certs: Vec<_> = CertificateDer::pem_slice_iter(jane.cert_pem.as_bytes()).flatten().collect();
        let Peer::User(user, _) = Peer::of(&clients, &certs) else { panic!("jane is not known") };
        let id = &user.extra["authentication.kubernetes.io/credential-id"][0];
        let digits = id.strip_prefix("X509SHA256=").unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|d| d.is_ascii_hexdigit()), "{id}");
        assert_eq!(user.info()["extra"], serde_json::json!({CREDENTIAL_ID: [id]}));
    }

    #[test]
    fn the_teachers_name_is_believed_only_with_the_group_of_this_process() {
        let believed =
            |name: &str, groups: &[&str]| believed(&User::new(name, groups), "drawn").map(|u| u.groups);
        assert_eq!(believed(TEACHER, &["system:masters"]).unwrap_err().code, 401);
        assert_eq!(believed(TEACHER, &["system:masters", "guessed"]).unwrap_err().code, 401);
        let own = believed(TEACHER, &["system:masters", "drawn"]).unwrap();
        assert_eq!(own, ["system:masters", AUTHENTICATED], "the drawn group is shown to no one");
        assert_eq!(believed("jane", &["drawn"]).unwrap(), [AUTHENTICATED]);
    }

    /// Over a real connection: a certificate of the cluster's authority with the teacher's name, as
    /// a request that the learner approves gives one, and this process's own.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_certificate_with_the_teachers_name_makes_nobody_the_teacher() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let dir = tempfile::tempdir().unwrap();
        let fixture = crate::testing::start(dir.path()).await;
        let server = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
        let subject = pki::Subject::client(TEACHER, "system:masters");
        let own = subject.clone().and_in(crate::testing::TEACHERS);
        for (subject, code) in [(subject, "HTTP/1.1 401"), (own, "HTTP/1.1 200")] {
            let client = fixture.ca.issue(&subject).unwrap();
            let tls = pki::client_config(Some(&client), fixture.ca.pem(), &[]).unwrap();
            let tcp = tokio::net::TcpStream::connect(server).await.unwrap();
            let name = pki::server_name("127.0.0.1").unwrap();
            let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap();
            let head = "GET /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = vec![];
            let _ = stream.read_to_end(&mut answer).await; // it may hang up without TLS's farewell
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with(code), "{code}: {answer}");
            assert_eq!(answer.contains("is reserved"), code.ends_with("401"), "{answer}");
        }
    }

    /// The token in a Secret of a service account of the namespace `default`.
    fn secret_token(keys: &pki::TokenKey, secret: &str, name: &str, uid: &str) -> String {
        let claims = serde_json::json!({
            "iss": pki::LEGACY_ISSUER, "sub": format!("system:serviceaccount:default:{name}"),
            "kubernetes.io/serviceaccount/namespace": "default",
            "kubernetes.io/serviceaccount/secret.name": secret,
            "kubernetes.io/serviceaccount/service-account.name": name,
            "kubernetes.io/serviceaccount/service-account.uid": uid,
        });
        keys.sign(&claims).unwrap()
    }

    /// Its claims are remembered for ten seconds: a Secret or an account that is gone ends it all
    /// the same.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_token_of_a_secret_authenticates_as_long_as_the_secret_and_the_account_live() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        use serde_json::json;
        let dir = tempfile::tempdir().unwrap();
        let fixture = crate::testing::start(dir.path()).await;
        let keys = pki::TokenKey::load_or_create(dir.path()).unwrap();
        let send = async |method: &str, path: &str, body: Value| {
            let admin = User::new("admin", &["system:masters", AUTHENTICATED]);
            let body = ("application/json", body.to_string());
            crate::testing::send(&fixture.server, admin, (method, path), body, "").await
        };
        let review = async |token: &str| {
            let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
            let (code, review) = send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review).await;
            assert_eq!(code, 201, "{review}");
            review["status"].clone()
        };
        let account = async |name: &str| {
            let meta = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
            let (code, made) = send("POST", "/api/v1/namespaces/default/serviceaccounts", meta).await;
            assert_eq!(code, 201, "{made}");
            text(&made, "metadata.uid").to_string()
        };
        let token = |secret: &str, name: &str, uid: &str| secret_token(&keys, secret, name, uid);
        let secret = async |name: &str, account: &str, token: &str| {
            let meta = json!({"name": name, "annotations": {"kubernetes.io/service-account.name": account}});
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta,
                "type": "kubernetes.io/service-account-token", "data": {"token": STANDARD.encode(token)}});
            let (code, made) = send("POST", "/api/v1/namespaces/default/secrets", secret).await;
            assert_eq!(code, 201, "{made}");
        };
        let eventually = async |token: &str, expected: bool| {
            for _ in 0..2000 {
                let status = review(token).await;
                if (status["authenticated"] == true) == expected {
                    return status;
                }
                clock::sleep(std::time::Duration::from_millis(5)).await; // the caches of the server follow its store
            }
            panic!("{:?}", review(token).await);
        };
        for gone in ["secrets/one", "serviceaccounts/first"] {
            let name = if gone.starts_with("secrets") { ("one", "zeroth") } else { ("two", "first") };
            let uid = account(name.1).await;
            let token = token(name.0, name.1, &uid);
            secret(name.0, name.1, &token).await;
            let status = eventually(&token, true).await;
            assert_eq!(status["user"]["username"], format!("system:serviceaccount:default:{}", name.1));
            assert_eq!(status["user"]["uid"], uid.as_str());
            assert_eq!(status["audiences"], json!([ISSUER]));
            let (code, _) = send("DELETE", &format!("/api/v1/namespaces/default/{gone}"), json!({})).await;
            assert_eq!(code, 200);
            eventually(&token, false).await;
        }
        // A token that is not the one in the Secret, and one of an account before.
        let uid = account("second").await;
        let (good, other) = (token("three", "second", &uid), token("three", "second", "another"));
        secret("three", "second", &good).await;
        eventually(&good, true).await;
        let status = review(&other).await;
        assert_eq!(status["error"], "Token does not match server's copy", "{status}");
    }
}
