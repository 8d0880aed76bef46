//! What a new cluster finds when it opens its eyes: namespaces, the `kubernetes` service, default roles, priorities.
//! Idempotent: only what is missing is made, all of it in few transactions.

use super::State;
use super::cache::ROOT;
use super::policy;
use super::remove::key_of;
use super::services::release;
use super::store::{Extra, Refused, status_of};
use crate::api::kinds::Kind;
use crate::api::value;
use crate::api::{Status, meta};
use crate::clock;
use crate::etcd::api::{Compare, CompareResult, CompareTarget, PutRequest, RequestOp, TxnRequest};
use bytes::Bytes;
use serde_json::{Value, json};

/// Objects per transaction; the store takes 128 operations.
const BATCH: usize = 60;
const TRIES: usize = 10;

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
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": state.advertise.port()}]},
        "status": {"loadBalancer": {}}})
}

fn kubernetes_endpoints(state: &State) -> [Value; 2] {
    let (ip, port) = (state.advertise.ip().to_string(), state.advertise.port());
    [
        json!({"kind": "Endpoints", "apiVersion": "v1",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
            "subsets": [{"addresses": [{"ip": ip}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}]}),
        json!({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "addressType": "IPv4", "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}),
    ]
}

/// Makes what is missing and brings the API server's own address up to date.
pub async fn run(state: &State) -> Result<(), Status> {
    let mut wanted = namespaces();
    wanted.extend(priorities());
    wanted.extend(policy::objects());
    wanted.extend(own(state));
    ensure(state, wanted).await
}

/// What is made again whenever somebody deletes it: the namespaces of the system and the API server's own service.
pub async fn keep(state: &State) -> Result<(), Status> {
    let mut wanted = namespaces();
    wanted.extend(own(state));
    ensure(state, wanted).await
}

fn own(state: &State) -> Vec<Value> {
    std::iter::once(kubernetes_service(state)).chain(kubernetes_endpoints(state)).collect()
}

async fn ensure(state: &State, wanted: Vec<Value>) -> Result<(), Status> {
    let mut wanted: Vec<(&'static Kind, Value)> =
        wanted.into_iter().filter_map(|o| Some((policy::kind_of(&o)?, o))).collect();
    for (kind, object) in &mut wanted {
        finish(state, kind, object);
    }
    for _ in 0..TRIES {
        state.fresh().await?;
        let missing: Vec<&(&Kind, Value)> = wanted
            .iter()
            .filter(|(kind, object)| state.cache.get(kind.place(), &key_of(kind, object)).is_none())
            .collect();
        if missing.is_empty() {
            break;
        }
        for batch in missing.chunks(BATCH) {
            make(state, batch).await?;
        }
    }
    for object in kubernetes_endpoints(state) {
        refresh(state, &object).await?;
    }
    Ok(())
}

fn finish(state: &State, kind: &Kind, object: &mut Value) {
    let metadata = value::slot_map(object, "metadata");
    metadata.insert("uid".into(), state.rng.uuid().into());
    metadata.insert("creationTimestamp".into(), clock::rfc3339(clock::now()).into());
    if kind.generation {
        metadata.insert("generation".into(), 1.into());
    }
    (kind.defaults)(object);
    (kind.prepare)(object);
    meta::in_order(object);
}

/// One transaction; does nothing if somebody else made one of them meanwhile.
async fn make(state: &State, batch: &[&(&Kind, Value)]) -> Result<(), Status> {
    let mut txn = TxnRequest::default();
    let mut add = |key: String, stored: String| {
        let key = Bytes::from(key);
        txn.compare.push(Compare {
            key: key.clone(),
            range_end: Bytes::new(),
            result: CompareResult::Equal,
            target: CompareTarget::CreateRevision(0),
        });
        txn.success.push(RequestOp::Put(PutRequest { key, value: stored.into(), ..Default::default() }));
    };
    for (kind, object) in batch {
        add(format!("{ROOT}{}/{}", kind.place(), key_of(kind, object)), object.to_string());
        for key in release(kind, object).release {
            add(key, format!("{}/{}", meta::namespace(object), meta::name(object)));
        }
    }
    state.kv.txn(txn).await.map_err(status_of)?;
    Ok(())
}

/// The advertised address may have changed since the last start.
async fn refresh(state: &State, wanted: &Value) -> Result<(), Status> {
    let Some(kind) = policy::kind_of(wanted) else { return Ok(()) };
    for _ in 0..TRIES {
        state.fresh().await?;
        let Some(found) = state.cache.get(kind.place(), &key_of(kind, wanted)) else { return Ok(()) };
        let mut new = found.value.clone();
        for path in ["subsets", "endpoints", "ports"] {
            value::copy(wanted, &mut new, path);
        }
        if new == found.value {
            return Ok(());
        }
        match state.write(kind, new, found.revision, &Extra::default()).await {
            Ok(_) => return Ok(()),
            Err(Refused::Changed) => {}
            Err(Refused::Error(status)) => return Err(status),
        }
    }
    Ok(())
}
