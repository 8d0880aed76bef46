//! # Service accounts: every namespace has one, and the cluster's certificate to trust
//!
//! Three queues: namespaces, which get the account `default` and the ConfigMap `kube-root-ca.crt`;
//! Secrets that ask for a token by their type; and such Secrets that are gone, which leave the list
//! of their account. Source: `pkg/controller/serviceaccount`,
//! `pkg/controller/certificates/rootcacertpublisher`.

use super::write::unless_gone;
use crate::error::{Error, is_namespace_ending};
use crate::shared::{Controller, Shared};
use client::{Change, Client, Key, Outcome, WorkQueue, is_code, optional, reference};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use pki::LEGACY_ISSUER;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tap::Cause;

const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const ABOUT_ROOT_CA: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such \
                             as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
                             distributions of Kubernetes clusters.";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<Namespace>();
        informers.all::<ServiceAccount>();
        informers.only::<ConfigMap>("metadata.name=kube-root-ca.crt");
        informers.only::<Secret>("type=kubernetes.io/service-account-token");
    },
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<String> = WorkQueue::new(&shared.crew);
    let q = queue.clone();
    shared.informer::<Namespace>().on(move |change| q.add(change.key().name, change.cause()));
    let q = queue.clone();
    shared.informer::<ServiceAccount>().on(move |change| q.add(change.key().namespace, change.cause()));
    let q = queue.clone();
    shared.informer::<ConfigMap>().on(move |change| q.add(change.key().namespace, change.cause()));
    let all = Arc::new(shared.clone());
    let reporter = shared.clone();
    queue.on_panic(move |namespace, panic| {
        if let Some(object) = reporter.informer::<Namespace>().get(&Key::new("", namespace.clone())) {
            reporter.report_panic(&reference(&*object), "serviceaccount", panic);
        }
    });
    queue.work("serviceaccount", 2, move |namespace, cause| {
        let shared = all.clone();
        async move { sync_namespace(&shared, &namespace, cause).await }
    });
    start_tokens(shared);
}

/// Makes what a namespace lacks: the account `default`, and the ConfigMap with the certificate of
/// the cluster. A namespace that is being deleted gets neither.
async fn sync_namespace(shared: &Shared, namespace: &str, cause: Option<Cause>) -> Result<Outcome, Error> {
    let known = shared.informer::<Namespace>().get(&Key::new("", namespace));
    if known.is_none_or(|object| object.metadata.deletion_timestamp.is_some()) {
        return Ok(Outcome::Done);
    }
    let client = shared.config.client.caused_by(cause);
    // Two controllers upstream: neither waits for the other.
    let made = make_account(shared, &client, namespace).await;
    publish_root_ca(shared, &client, namespace).await?;
    made?;
    Ok(Outcome::Done)
}

async fn make_account(shared: &Shared, client: &Client, namespace: &str) -> Result<(), kube::Error> {
    if shared.informer::<ServiceAccount>().get(&Key::new(namespace, "default")).is_some() {
        return Ok(());
    }
    let account = ServiceAccount { metadata: named(namespace, "default"), ..ServiceAccount::default() };
    unless_made_or_gone(client.within(namespace).create(&PostParams::default(), &account).await)
}

async fn publish_root_ca(shared: &Shared, client: &Client, namespace: &str) -> Result<(), kube::Error> {
    let known = shared.informer::<ConfigMap>().get(&Key::new(namespace, ROOT_CA));
    let is_new = known.is_none();
    let known = known.map_or_else(
        || ConfigMap { metadata: named(namespace, ROOT_CA), ..ConfigMap::default() },
        |known| ConfigMap::clone(&known),
    );
    let Some(map) = published(known, shared.config.ca.pem()) else { return Ok(()) };
    let (api, params) = (client.within::<ConfigMap>(namespace), PostParams::default());
    unless_made_or_gone(match is_new {
        true => api.create(&params, &map).await,
        false => api.replace(ROOT_CA, &params, &map).await,
    })
}

fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), namespace: Some(namespace.into()), ..ObjectMeta::default() }
}

fn start_tokens(shared: &Shared) {
    let tokens: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = tokens.clone();
    shared.informer::<Secret>().on(move |change| q.add(change.key(), change.cause()));
    let (q, all) = (tokens.clone(), shared.clone());
    shared.informer::<ServiceAccount>().on(move |change| {
        for secret in all.informer::<Secret>().within(&change.key().namespace) {
            q.add(Key::of(&*secret), change.cause());
        }
    });
    let all = Arc::new(shared.clone());
    shared.report_panics(&tokens, shared.informer::<Secret>(), "token");
    tokens.work("token", 2, move |key, _| {
        let shared = all.clone();
        async move { sync_token(&shared, key).await }
    });
    let removed: WorkQueue<Removed> = WorkQueue::new(&shared.crew);
    let q = removed.clone();
    shared.informer::<Secret>().on(move |change| {
        let annotations = change.object().metadata.annotations.as_ref();
        let annotation = |name: &str| annotations.and_then(|all| all.get(name)).cloned();
        if let (Change::Deleted(_), Some(account)) = (change, annotation(ACCOUNT)) {
            let uid = annotation(ACCOUNT_UID).unwrap_or_default();
            q.add(Removed { secret: change.key(), account, uid }, change.cause());
        }
    });
    let all = Arc::new(shared.clone());
    removed.work("token-reference", 1, move |removed, cause| {
        let shared = all.clone();
        async move { remove_reference(&shared, &removed, cause).await }
    });
}

/// A secret with a token that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Removed {
    secret: Key,
    /// The name of its account.
    account: String,
    /// The uid of its account; empty: the secret did not say.
    uid: String,
}

/// Takes a secret that is gone out of the list `secrets` of its account. Upstream:
/// `removeSecretReference`.
async fn remove_reference(
    shared: &Shared,
    removed: &Removed,
    cause: Option<Cause>,
) -> Result<Outcome, Error> {
    let Removed { secret, account, uid } = removed;
    if shared.informer::<Secret>().get(secret).is_some() {
        return Ok(Outcome::Done); // it was made again
    }
    let api = shared.config.client.caused_by(cause).within::<ServiceAccount>(&secret.namespace);
    let Some(mut found) = optional(api.get(account).await)? else { return Ok(Outcome::Done) };
    let is_same = uid.is_empty() || found.metadata.uid.as_ref() == Some(uid);
    let named = found.secrets.get_or_insert_default();
    let before = named.len();
    named.retain(|one| one.name.as_ref() != Some(&secret.name));
    if is_same && named.len() < before {
        unless_gone(api.replace(account, &PostParams::default(), &found).await)?;
    }
    Ok(Outcome::Done)
}

/// Pure: the ConfigMap with the certificate of the cluster and the annotation that describes it;
/// `None` if it has both. What else is in it stays, but for other keys of its data. Upstream:
/// `pkg/controller/certificates/rootcacertpublisher`.
fn published(mut map: ConfigMap, ca: &str) -> Option<ConfigMap> {
    let data = Some(BTreeMap::from([("ca.crt".to_string(), ca.to_string())]));
    let notes = map.metadata.annotations.get_or_insert_default();
    if map.data == data && notes.get(DESCRIPTION).is_some_and(|text| !text.is_empty()) {
        return None;
    }
    notes.insert(DESCRIPTION.into(), ABOUT_ROOT_CA.into());
    map.data = data;
    Some(map)
}

/// Turns a refusal into success if the object was made meanwhile, or if it or its namespace is gone
/// or going.
fn unless_made_or_gone<T>(result: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if is_code(&error, 404) || is_code(&error, 409) || is_namespace_ending(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Fills a secret of type `kubernetes.io/service-account-token`, and deletes it when its account is
/// gone.
async fn sync_token(shared: &Shared, key: Key) -> Result<Outcome, Error> {
    let Some(secret) = shared.informer::<Secret>().get(&key) else { return Ok(Outcome::Done) };
    let annotation = |name: &str| secret.metadata.annotations.as_ref().and_then(|a| a.get(name)).cloned();
    let Some(name) = annotation(ACCOUNT) else { return Ok(Outcome::Done) };
    let api = shared.config.client.within::<Secret>(&key.namespace);
    // A later account of the same name is another one: its token is not that of the one before.
    let is_same = |account: &ServiceAccount| {
        annotation(ACCOUNT_UID).is_none_or(|uid| uid.is_empty() || Some(uid) == account.metadata.uid)
    };
    let known = shared.informer::<ServiceAccount>().get(&Key::new(key.namespace.clone(), name.clone()));
    let mut account = known.filter(|account| is_same(account));
    if account.is_none() {
        // The cache of the accounts may be behind that of the secrets.
        let accounts = shared.config.client.within::<ServiceAccount>(&key.namespace);
        account = optional(accounts.get(&name).await)?.filter(is_same).map(Arc::new);
    }
    let Some(account) = account else {
        let uid = secret.metadata.uid.clone();
        let preconditions = Some(Preconditions { uid, resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        unless_made_or_gone(api.delete(&key.name, &params).await)?;
        return Ok(Outcome::Done);
    };
    let has = |key: &str| secret.data.as_ref().and_then(|d| d.get(key)).is_some_and(|v| !v.0.is_empty());
    let ca = shared.config.ca.pem().as_bytes();
    let same_ca = secret.data.as_ref().and_then(|d| d.get("ca.crt")).is_some_and(|known| known.0 == ca);
    if has("token") && has("namespace") && same_ca {
        return Ok(Outcome::Done);
    }
    let uid = account.metadata.uid.clone().unwrap_or_default();
    let claims = json!({
        "iss": LEGACY_ISSUER,
        "kubernetes.io/serviceaccount/namespace": key.namespace,
        "kubernetes.io/serviceaccount/secret.name": key.name,
        "kubernetes.io/serviceaccount/service-account.name": name,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
        "sub": format!("system:serviceaccount:{}:{name}", key.namespace),
    });
    let mut next = (*secret).clone();
    let data = next.data.get_or_insert_default();
    if !has("token") {
        data.insert("token".into(), ByteString(shared.config.tokens.sign(&claims)?.into_bytes()));
    }
    data.insert("ca.crt".into(), ByteString(ca.to_vec()));
    data.insert("namespace".into(), ByteString(key.namespace.clone().into_bytes()));
    next.metadata.annotations.get_or_insert_default().insert(ACCOUNT_UID.into(), uid);
    unless_made_or_gone(api.replace(&key.name, &PostParams::default(), &next).await)?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::{Asked, Scripted, refusal};

    /// Returns the writes of a look at a secret of the account `robot` with these annotations and
    /// data. The API server knows an account with the uid `live`, the cache one with the uid
    /// `known`.
    async fn writes(
        annotations: serde_json::Value,
        data: serde_json::Value,
        live: &'static str,
        known: &str,
    ) -> Vec<client::testing::Asked> {
        let account = |uid: &str| json!({"metadata": {"name": "robot", "namespace": "n", "uid": uid}});
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            "GET /api/v1/namespaces/n/serviceaccounts/robot" if live.is_empty() => refusal(404, "NotFound"),
            "GET /api/v1/namespaces/n/serviceaccounts/robot" => Some((200, account(live))),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        if !known.is_empty() {
            shared.informer::<ServiceAccount>().show(serde_json::from_value(account(known)).unwrap());
        }
        let meta = json!({"name": "s", "namespace": "n", "uid": "u", "annotations": annotations});
        shared
            .informer::<Secret>()
            .show(serde_json::from_value(json!({"metadata": meta, "data": data})).unwrap());
        sync_token(&shared, Key::new("n", "s")).await.ok();
        shared.crew.kill();
        server.take().into_iter().filter(|asked| !asked.line.starts_with("GET")).collect()
    }

    #[tokio::test]
    async fn a_token_goes_with_its_account_once_the_api_server_says_that_it_is_gone() {
        let of = |uid: &str| json!({ACCOUNT: "robot", ACCOUNT_UID: uid});
        let full = || json!({"token": "eA==", "namespace": "bg=="});
        let delete = "DELETE /api/v1/namespaces/n/secrets/s";
        for (annotations, live, known, gone) in [
            (of("old"), "new", "new", true),  // a later account of the same name
            (of("new"), "new", "old", false), // the cache is behind
            (of("new"), "new", "", false),    // the cache is behind
            (of("new"), "", "", true),
            (json!({ACCOUNT: "robot"}), "", "", true),
            (json!({ACCOUNT: "robot"}), "new", "", false),
            (json!({}), "", "", false),
        ] {
            let written = writes(annotations.clone(), full(), live, known).await;
            let deleted = written.iter().find(|asked| asked.line == delete);
            assert_eq!(deleted.is_some(), gone, "{annotations} {live:?} {known:?}");
            assert!(deleted.is_none_or(|asked| asked.body["preconditions"]["uid"] == "u"));
        }
    }

    #[tokio::test]
    async fn an_old_certificate_beside_a_token_is_replaced_and_the_token_stays() {
        let data = json!({"token": "eA==", "namespace": "bg==", "ca.crt": "b2xk"});
        let written = writes(json!({ACCOUNT: "robot", ACCOUNT_UID: "a"}), data, "a", "a").await;
        let next = &written[0].body["data"];
        assert_eq!(written[0].line, "PUT /api/v1/namespaces/n/secrets/s");
        assert_eq!((&next["token"], next["ca.crt"] == "b2xk"), (&json!("eA=="), false));
    }

    /// `kubectl describe serviceaccount` would list it for ever, as not found.
    #[tokio::test]
    async fn an_account_no_longer_lists_a_secret_that_is_gone() {
        for (uid, is_there, want) in [
            ("a", false, Some(json!([{"name": "other"}]))),
            ("", false, Some(json!([{"name": "other"}]))),
            ("earlier", false, None), // of an earlier account of this name
            ("a", true, None),        // it was made again
        ] {
            let robot = json!({"metadata": {"name": "robot", "namespace": "n", "uid": "a", "resourceVersion": "5"},
                "secrets": [{"name": "s"}, {"name": "other"}]});
            let server = Scripted::new(move |asked| {
                asked.line.ends_with("/serviceaccounts/robot").then(|| (200, robot.clone()))
            })
            .await;
            let shared = Shared::fixed(&server.client);
            let secret = json!({"metadata": {"name": "s", "namespace": "n"}});
            if is_there {
                shared.informer::<Secret>().show(serde_json::from_value(secret).unwrap());
            }
            let removed =
                Removed { secret: Key::new("n", "s"), account: "robot".into(), uid: uid.to_string() };
            remove_reference(&shared, &removed, None).await.unwrap();
            let put = server.take().into_iter().find(|asked| asked.line.starts_with("PUT"));
            assert_eq!(put.as_ref().map(|put| put.body["secrets"].clone()), want, "{uid:?} {is_there}");
            assert!(put.is_none_or(|put| put.body["metadata"]["resourceVersion"] == "5"));
        }
    }

    /// The watch of the secrets shows it.
    #[tokio::test]
    async fn the_end_of_a_secret_brings_its_account_a_look() {
        let line = "/api/v1/namespaces/n/serviceaccounts/robot";
        let robot = json!({"metadata": {"name": "robot", "namespace": "n"}, "secrets": [{"name": "s"}]});
        let server =
            Scripted::new(move |asked| asked.line.ends_with(line).then(|| (200, robot.clone()))).await;
        let shared = Shared::fixed(&server.client);
        start_tokens(&shared);
        let meta = json!({"name": "s", "namespace": "n", "annotations": {ACCOUNT: "robot"}});
        let secret: Secret = serde_json::from_value(json!({"metadata": meta})).unwrap();
        shared.informer::<Secret>().show(secret.clone());
        shared.informer::<Secret>().show_deleted(secret);
        server.until_asked(&format!("PUT {line}")).await;
        shared.crew.kill();
    }

    #[test]
    fn the_certificate_is_published_with_its_description_and_what_else_is_there_stays() {
        let map = |data: serde_json::Value, notes: serde_json::Value| -> ConfigMap {
            let meta = json!({"name": ROOT_CA, "resourceVersion": "5", "annotations": notes});
            serde_json::from_value(json!({"metadata": meta, "data": data, "binaryData": {"b": "eA=="}}))
                .unwrap()
        };
        let right = || json!({"ca.crt": "pem"});
        assert_eq!(published(map(right(), json!({DESCRIPTION: "mine"})), "pem"), None);
        for (data, notes) in [
            (right(), json!({"a": "b"})),
            (right(), json!({"a": "b", DESCRIPTION: ""})),
            (json!({"ca.crt": "old"}), json!({"a": "b"})),
        ] {
            let new = published(map(data, notes), "pem").unwrap();
            assert_eq!(new, map(right(), json!({"a": "b", DESCRIPTION: ABOUT_ROOT_CA})));
        }
    }

    /// A policy of the cluster forbids the account.
    #[tokio::test]
    async fn a_namespace_without_its_account_has_the_certificate() {
        let server = Scripted::new(|asked| match asked.line.as_str() {
            "POST /api/v1/namespaces/n/serviceaccounts" => refusal(403, "Forbidden"),
            "POST /api/v1/namespaces/n/configmaps" => Some((201, asked.body.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        let namespace = json!({"metadata": {"name": "n"}});
        shared.informer::<Namespace>().show(serde_json::from_value(namespace).unwrap());
        assert!(sync_namespace(&shared, "n", None).await.is_err(), "the account is tried again");
        let lines = server.lines();
        assert!(lines.iter().any(|line| line == "POST /api/v1/namespaces/n/configmaps"), "{lines:?}");
        shared.crew.kill();
    }

    #[tokio::test]
    async fn an_account_that_may_not_be_made_yet_is_tried_again() {
        // As at the start of a cluster, before its roles are there.
        let made = "POST /api/v1/namespaces/n/serviceaccounts";
        let tries = std::sync::atomic::AtomicUsize::new(0);
        let server = Scripted::new(move |asked| {
            let is_first =
                asked.line == made && tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            if is_first { refusal(403, "Forbidden") } else { None }
        })
        .await;
        let shared = Shared::fixed(&server.client);
        start(&shared);
        shared
            .informer::<Namespace>()
            .show(serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap());
        let is_try = |asked: &&Asked| asked.line == made;
        server.until(|all| (all.iter().filter(is_try).count() >= 2).then_some(())).await;
        shared.crew.kill();
    }
}
