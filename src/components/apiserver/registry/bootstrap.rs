//! What a new cluster begins with: namespaces, the `kubernetes` service, default roles, priority
//! classes. Idempotent: only what is missing is made, in few transactions. An object that cannot be
//! made (its address belongs to another Service) does not keep the others from being made.

use crate::auth::policy;
use crate::auth::reconcile;
use crate::registry::delete::kept;
use crate::registry::services::{self, release};
use crate::request::context;
use crate::state::State;
use crate::storage::extra::Extra;
use crate::storage::keys::{key_of, store_key};
use crate::storage::store::{Refused, status_of};
use crate::storage::transaction::{delete, is_absent, is_at, put};
use api::cidr::canonical_text;
use api::kinds::{self, Kind};
use api::managed::{self, Manager};
use api::shape::Shape;
use api::value::{self, list, text};
use api::{Status, meta};
use bytes::Bytes;
use etcd::api::{KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest};
use serde_json::{Value, json};

/// Objects per transaction; the store takes 128 operations.
const BATCH: usize = 60;
/// Times that an object is written again because another writer wrote in between.
const TRIES: usize = 10;
/// Under which every API server that runs keeps a key with its address: upstream's lease
/// reconciler, so that the `kubernetes` service leads to all of them and to none that is gone.
const MASTERS: &str = "/registry/masterleases/";
const MASTERS_END: &str = "/registry/masterleases0";
/// Seconds after which a server that does not renew its lease counts as gone. It renews it three
/// times in that time.
const MASTER_TTL: i64 = 30;

fn namespaces() -> Vec<Value> {
    ["default", "kube-system", "kube-public", "kube-node-lease"]
        .iter()
        .map(|name| json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}))
        .collect()
}

fn priorities() -> Vec<Value> {
    let class = |name: &str, value: i64, what: &str| {
        json!({"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "metadata": {"name": name}, "value": value,
            "description": format!("Used for system critical pods that must {what}.")})
    };
    vec![
        class(
            "system-cluster-critical",
            2_000_000_000,
            "run in the cluster, but can be moved to another node if necessary",
        ),
        class("system-node-critical", 2_000_001_000, "not be moved from their current node"),
    ]
}

fn kubernetes_service(state: &State) -> Value {
    let ip = state.service_cidr.nth(1).to_string();
    json!({"kind": "Service", "apiVersion": "v1",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": state.advertise.port()}]}})
}

/// Renews this server's lease, and returns the addresses of all live API servers.
async fn masters(state: &State) -> Result<Vec<String>, Status> {
    let lease = state.kv.lease_grant(MASTER_TTL, 0).await.map_err(status_of)?;
    let key = Bytes::from(format!("{MASTERS}{}", state.advertise.ip()));
    let put = PutRequest { key, lease, ..Default::default() };
    let txn = TxnRequest { success: vec![RequestOp::Put(put)], ..Default::default() };
    state.kv.txn(txn).await.map_err(status_of)?;
    addresses(state).await
}

/// Returns the addresses of the API servers whose lease has not ended.
async fn addresses(state: &State) -> Result<Vec<String>, Status> {
    let all = RangeRequest {
        key: Bytes::from_static(MASTERS.as_bytes()),
        range_end: Bytes::from_static(MASTERS_END.as_bytes()),
        ..Default::default()
    };
    let found = state.kv.range(all).await.map_err(status_of)?;
    let address = |kv: &KeyValue| Some(std::str::from_utf8(&kv.key).ok()?.strip_prefix(MASTERS)?.to_string());
    Ok(found.kvs.iter().filter_map(address).collect())
}

fn kubernetes_endpoints(state: &State, masters: &[String]) -> [Value; 2] {
    let port = state.advertise.port();
    let old: Vec<Value> = masters.iter().map(|ip| json!({"ip": ip})).collect();
    let new: Vec<Value> =
        masters.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    [
        json!({"kind": "Endpoints", "apiVersion": "v1",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": old, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]}),
        json!({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "endpoints": new,
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}),
    ]
}

/// Makes what is missing and brings the API servers' addresses up to date.
pub(crate) async fn run(state: &State) -> Result<(), Status> {
    let mut wanted = namespaces();
    wanted.extend(priorities());
    state.fresh().await?;
    let mut roles = policy::objects();
    policy::keep_added_rules(&mut roles, |name| state.cache.get("clusterroles", name));
    wanted.extend(roles);
    ensure(state, wanted).await?;
    reconcile::run(state).await
}

/// Makes the system's namespaces and the API servers' own service again if they were deleted, and
/// renews this server's lease: also where the reservations cannot be judged because its cache lags,
/// or the other servers would take it for gone after [`MASTER_TTL`].
///
/// # Errors
/// Those of the store.
pub(crate) async fn keep(state: &State) -> Result<(), Status> {
    let repaired = services::repair(state).await;
    ensure(state, namespaces()).await?;
    repaired.map(drop)
}

/// Takes the address of this server, which is stopping, out of the endpoints of the `kubernetes`
/// service (upstream: `RemoveEndpoints`), so that no pod is sent there any more. The last server
/// leaves them as they are. The cache stops at the same time: the store itself is read here.
///
/// # Errors
/// Those of the store.
pub(crate) async fn leave(state: &State) -> Result<(), Status> {
    let own = state.advertise.ip().to_string();
    let gone = delete(format!("{MASTERS}{own}"));
    let txn = TxnRequest { success: vec![gone], ..Default::default() };
    state.kv.txn(txn).await.map_err(status_of)?;
    if addresses(state).await?.is_empty() {
        return Ok(());
    }
    for (group, kind) in [("", "Endpoints"), ("discovery.k8s.io", "EndpointSlice")] {
        let Some(kind) = kinds::find(group, "v1", kind) else { continue };
        let key = store_key(kind, "default/kubernetes");
        for _ in 0..TRIES {
            if take_address(state, &key, &own).await? {
                break;
            }
        }
    }
    Ok(())
}

/// Takes an address out of the endpoints that are stored under a key. False: another server wrote
/// them meanwhile.
async fn take_address(state: &State, key: &Bytes, ip: &str) -> Result<bool, Status> {
    let one = RangeRequest { key: key.clone(), ..Default::default() };
    let found = state.kv.range(one).await.map_err(status_of)?;
    let Some(kv) = found.kvs.first() else { return Ok(true) };
    let Ok(mut object) = serde_json::from_slice::<Value>(&kv.value) else { return Ok(true) };
    remove_address(&mut object, ip);
    let txn = TxnRequest {
        compare: vec![is_at(key.clone(), kv.mod_revision)],
        success: vec![put(key.clone(), object.to_string())],
        ..Default::default()
    };
    Ok(state.kv.txn(txn).await.map_err(status_of)?.succeeded)
}

/// Removes an address from an Endpoints object or an EndpointSlice.
fn remove_address(object: &mut Value, ip: &str) {
    for subset in value::list_mut(object, "subsets") {
        if let Some(Value::Array(all)) = value::at_mut(subset, "addresses") {
            all.retain(|address| canonical_text(text(address, "ip")) != ip);
        }
    }
    if let Some(Value::Array(all)) = value::at_mut(object, "endpoints") {
        let is_own = |address: &Value| canonical_text(address.as_str().unwrap_or_default()) == ip;
        all.retain(|endpoint| !list(endpoint, "addresses").iter().any(is_own));
    }
}

/// Makes what is missing of these and of the API servers' own service, whose endpoints are brought
/// up to date.
async fn ensure(state: &State, mut wanted: Vec<Value>) -> Result<(), Status> {
    let endpoints = kubernetes_endpoints(state, &masters(state).await?);
    wanted.push(kubernetes_service(state));
    wanted.extend(endpoints.iter().cloned());
    let mut wanted: Vec<(&'static Kind, Value)> =
        wanted.into_iter().filter_map(|o| Some((policy::kind_of(&o)?, o))).collect();
    for (kind, object) in &mut wanted {
        finish(state, kind, object);
    }
    let missing = || -> Vec<&(&Kind, Value)> {
        let there = |kind: &Kind, object| state.cache.get(kind.place(), &key_of(kind, object)).is_some();
        wanted.iter().filter(|(kind, object)| !there(kind, object)).collect()
    };
    state.fresh().await?;
    for _ in 0..TRIES {
        let mut made = false;
        for batch in missing().chunks(BATCH) {
            if make(state, batch).await? {
                made = true;
                continue;
            }
            for one in batch {
                made |= make(state, &[*one]).await?;
            }
        }
        state.fresh().await?;
        if !made {
            break;
        }
    }
    for (kind, object) in missing() {
        let (name, reason) = (meta::name(object), why_missing(state, kind, object));
        tracing::warn!(kind = kind.kind, name, reason, "an object that every cluster has cannot be made");
    }
    for object in &endpoints {
        refresh(state, object).await?;
    }
    Ok(())
}

/// Says why an object of every cluster could not be made, and what to do. A deletion by name also
/// gives back the address of a Service; where the API refuses one, etcdctl is the remedy.
fn why_missing(state: &State, kind: &Kind, object: &Value) -> String {
    if state.undecodable(kind, meta::namespace(object), meta::name(object)).is_some() {
        let key = store_key(kind, &key_of(kind, object));
        let remedy = match kept::check(kind, meta::name(object)) {
            Ok(()) => "delete it by that name".to_string(),
            Err(_) => format!("run `etcdctl del {}`", String::from_utf8_lossy(&key)),
        };
        return format!("what is stored under its name cannot be decoded; {remedy}");
    }
    match services::is_service(kind) {
        true => "its address belongs to another Service; delete that one".into(),
        false => "another client has made and deleted it meanwhile".into(),
    }
}

/// Fills in what a create fills in. The owner of the fields is the server, as upstream, which
/// creates these objects through its own API.
fn finish(state: &State, kind: &Kind, object: &mut Value) {
    let (api_version, now) = (kind.api_version(), clock::rfc3339(clock::now()));
    let metadata = value::slot_map(object, "metadata");
    metadata.insert("uid".into(), state.rng.uuid().into());
    metadata.insert("creationTimestamp".into(), now.clone().into());
    if kind.generation {
        metadata.insert("generation".into(), 1.into());
    }
    (kind.defaults)(object);
    let server = Manager { name: context::SERVER, api_version: &api_version, subresource: "", now: &now };
    managed::track(Shape::of(kind), &Value::Null, object, server);
    (kind.prepare)(object);
    meta::in_order(object);
}

/// Makes these objects in one transaction. False: nothing was done, because one of them exists by
/// now or its address or port is taken.
async fn make(state: &State, batch: &[&(&Kind, Value)]) -> Result<bool, Status> {
    let mut txn = TxnRequest::default();
    let mut add = |key: Bytes, stored: String| {
        txn.compare.push(is_absent(key.clone()));
        txn.success.push(put(key, stored));
    };
    for (kind, object) in batch {
        add(store_key(kind, &key_of(kind, object)), object.to_string());
        for key in release(kind, object).release {
            add(key.into(), format!("{}/{}", meta::namespace(object), meta::name(object)));
        }
    }
    Ok(state.kv.txn(txn).await.map_err(status_of)?.succeeded)
}

/// Brings the endpoints of the API up to date. The addresses may have changed: other servers have
/// come or gone, or this one has another since the last start. The labels may have been taken off:
/// by them kube-proxy finds the slice, and the mirroring controller leaves the Endpoints alone
/// (upstream: `EnsureEndpointSliceFromEndpoints`, `setSkipMirrorTrue`).
async fn refresh(state: &State, wanted: &Value) -> Result<(), Status> {
    let Some(kind) = policy::kind_of(wanted) else { return Ok(()) };
    for _ in 0..TRIES {
        state.fresh().await?;
        let Some(found) = state.cache.get(kind.place(), &key_of(kind, wanted)) else { return Ok(()) };
        let mut new = found.value.clone();
        for path in ["subsets", "endpoints", "ports"] {
            value::copy(wanted, &mut new, path);
        }
        for (label, text) in value::pairs(wanted, "metadata.labels") {
            value::slot_map(&mut new, "metadata.labels").insert(label.into(), text.into());
        }
        if new == found.value {
            return Ok(());
        }
        let extra = Extra { repairs: true, ..Extra::default() };
        match state.write(kind, new, found.revision, &extra).await {
            Ok(_) => return Ok(()),
            Err(Refused::Changed) => {}
            Err(Refused::Error(status)) => return Err(status),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api;

    #[tokio::test]
    async fn what_the_server_makes_has_the_server_as_its_manager() {
        let api = Api::bare().await;
        for path in ["/api/v1/namespaces/default", "/api/v1/namespaces/default/services/kubernetes"] {
            let (_, object) = api.patch(path, json!({"metadata": {"labels": {"a": "b"}}})).await;
            let entries = list(&object, "metadata.managedFields");
            let names: Vec<&str> = entries.iter().map(|entry| text(entry, "manager")).collect();
            assert!(names.len() == 2 && names.contains(&"kube-apiserver"), "{path}: {names:?}");
            assert!(entries.iter().all(|e| e["fieldsV1"].get("f:status").is_none()), "{entries:?}");
        }
    }

    /// The log named the address of another Service for every kind of object, and told people to
    /// delete by name what the API refuses to delete.
    #[tokio::test]
    async fn a_namespace_that_cannot_be_made_has_its_own_reason() {
        let api = Api::bare().await;
        let state = api.state();
        let kind = kinds::stored("namespaces").unwrap();
        for (name, code, remedy) in [
            ("kube-node-lease", 200, "delete it by that name"),
            ("kube-public", 403, "run `etcdctl del /registry/namespaces/kube-public`"),
        ] {
            let object = json!({"metadata": {"name": name}});
            let key = store_key(kind, name);
            let txn = TxnRequest { success: vec![put(key.clone(), "no object")], ..Default::default() };
            state.kv.txn(txn).await.unwrap();
            keep(state).await.unwrap();
            assert!(state.remembered(kind, "", name).is_none(), "it is not overwritten");
            let why = why_missing(state, kind, &object);
            assert!(why.contains("cannot be decoded") && why.ends_with(remedy), "{why}");
            assert_eq!(api.delete(&format!("/api/v1/namespaces/{name}"), json!({})).await.0, code);
            if code == 403 {
                let txn = TxnRequest { success: vec![delete(key)], ..Default::default() };
                state.kv.txn(txn).await.unwrap();
            }
            keep(state).await.unwrap();
            assert!(state.remembered(kind, "", name).is_some());
        }
        let service = kinds::find("", "v1", "Service").unwrap();
        assert!(why_missing(state, service, &kubernetes_service(state)).contains("another Service"));
    }

    #[tokio::test]
    async fn the_endpoints_of_the_api_get_their_labels_back() {
        let api = Api::bare().await;
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        let old = "/api/v1/namespaces/default/endpoints";
        for (path, label, value) in [
            (slices, "kubernetes.io/service-name", "kubernetes"),
            (old, "endpointslice.kubernetes.io/skip-mirror", "true"),
        ] {
            let path = format!("{path}/kubernetes");
            let (code, got) = api.patch(&path, json!({"metadata": {"labels": null}})).await;
            assert_eq!((code, got["metadata"].get("labels")), (200, None), "{got}");
            keep(api.state()).await.unwrap();
            assert_eq!(api.get(&path).await.1["metadata"]["labels"][label], value);
        }
    }
}
