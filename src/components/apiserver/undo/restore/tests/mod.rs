mod model;
mod pods;

use super::*;
use crate::auth::tokens::LAST_USED;
use std::slice::from_ref;

/// When a rewind makes objects again.
const NOW: &str = "2026-01-02T03:04:05Z";

pub(super) fn kv(key: &str, revision: Revision, value: Value) -> KeyValue {
    KeyValue {
        key: format!("{ROOT}{key}").into(),
        create_revision: 1,
        mod_revision: revision,
        version: 1,
        value: value.to_string().into(),
        ..KeyValue::default()
    }
}

pub(super) fn planned(then: &[KeyValue], now: &[KeyValue]) -> BTreeMap<String, Option<Value>> {
    let birth = Birth { uid: &|| "new".into(), placed_by_maker: &|_| false, now: NOW.into() };
    let moves = plan(then, now, &birth);
    let name = |m: &Move| String::from_utf8_lossy(&m.key).trim_start_matches(ROOT).to_string();
    moves.iter().map(|m| (name(m), m.put.as_ref().map(|v| serde_json::from_slice(v).unwrap()))).collect()
}

fn pod(uid: &str, label: &str) -> Value {
    object!({"metadata": {"name": "p", "uid": uid, "labels": {"a": label}}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}})
}

/// After a restart the writers are not known. A difference that only a controller makes is no loss.
#[test]
fn an_edit_by_an_unknown_writer_is_a_loss_if_people_make_such_edits() {
    let deployment = object!({"metadata": {"name": "web", "resourceVersion": "5", "generation": 1, "uid": "u"}, "spec": {"replicas": 2}, "status": {}});
    let edited = |resource: &str, change: fn(&mut Value)| {
        let mut now = deployment.clone();
        change(&mut now);
        is_edited(resource, deployment.to_string().as_bytes(), &now)
    };
    for (change, is_loss) in [
        ((|_| {}) as fn(&mut Value), false),
        (|o| o["spec"]["replicas"] = 3.into(), true),
        (|o| o["metadata"]["labels"] = object!({"a": "b"}), true),
        (|o| o["metadata"]["annotations"] = object!({"note": "mine"}), true),
        (|o| o["data"] = object!({"a": "b"}), true),
        (|o| o["status"] = object!({"readyReplicas": 2}), false),
        (|o| o["metadata"]["managedFields"] = object!([{}]), false),
        (|o| o["metadata"]["annotations"] = object!({"deployment.kubernetes.io/revision": "2"}), false),
    ] {
        assert_eq!(edited("deployments", change), is_loss);
    }
    assert!(!edited("pods", |o| o["spec"]["nodeName"] = "n1".into()), "the scheduler's");
    assert!(!edited("nodes", |o| o["spec"]["taints"] = object!([{}])), "the node controller's");
    assert!(edited("nodes", |o| o["spec"]["unschedulable"] = true.into()), "a cordon");
}

#[test]
fn what_is_gone_returns_and_what_is_new_goes() {
    let then = [kv("deployments/d/web", 5, object!({"spec": 1})), kv("services/d/old", 3, object!({"x": 1}))];
    let now = [kv("deployments/d/web", 9, object!({"spec": 2})), kv("secrets/d/new", 8, object!({}))];
    let moves = planned(&then, &now);
    assert_eq!(moves.len(), 3);
    assert_eq!(moves["deployments/d/web"], Some(object!({"spec": 1})));
    assert_eq!(moves["services/d/old"], Some(object!({"x": 1})));
    assert_eq!(moves["secrets/d/new"], None);
    assert_eq!(planned(&then, &then), BTreeMap::new());
}

/// A lab is put back; what other users made meanwhile in another namespace, or in none, stays.
#[test]
fn only_what_is_within_goes_back() {
    let volume = |namespace: &str| object!({"spec": {"claimRef": {"namespace": namespace}}});
    let reserved =
        |key: &str, owner: &str| KeyValue { value: owner.to_string().into(), ..kv(key, 4, Value::Null) };
    let then = [
        kv("deployments/mine/web", 5, object!({"spec": 1})),
        kv("services/shop/old", 3, object!({"x": 1})),
        reserved("ranges/serviceips/10.96.0.8", "shop/old"),
        kv("persistentvolumes/c", 3, object!({"spec": {}})),
        kv("persistentvolumes/d", 3, object!({"spec": {}})),
        kv("persistentvolumes/e", 3, volume("mine")),
    ];
    let now = [
        kv("deployments/mine/web", 9, object!({"spec": 2})),
        kv("secrets/shop/new", 8, object!({})),
        kv("secrets/shopping/new", 8, object!({})),
        reserved("ranges/serviceips/10.96.0.9", "mine/web"),
        reserved("ranges/servicenodeports/30000", "shop/new"),
        kv("example.com/things/shop/a", 8, object!({})),
        kv("namespaces/shop", 7, object!({})),
        kv("namespaces/mine", 7, object!({})),
        kv("clusterroles/mine", 7, object!({})),
        kv("persistentvolumes/a", 7, volume("shop")),
        kv("persistentvolumes/b", 7, volume("mine")),
        kv("persistentvolumes/c", 7, volume("shop")),
        kv("persistentvolumes/d", 7, volume("mine")),
        kv("persistentvolumes/e", 7, volume("shop")),
    ];
    let birth = Birth { uid: &String::new, placed_by_maker: &|_| false, now: String::new() };
    let within = Some(["shop".to_string()].into());
    let journey = Journey {
        to: 5,
        steps: vec![],
        undone: vec![],
        way: Way::Rewind(5),
        within,
        unchanged: vec![],
        agreed: None,
    };
    let keys: Vec<String> = journey
        .plan(&then, &now, &birth)
        .iter()
        .map(|m| String::from_utf8_lossy(&m.key).trim_start_matches(ROOT).to_string())
        .collect();
    let back = [
        "example.com/things/shop/a",
        "namespaces/shop",
        "persistentvolumes/a",
        "persistentvolumes/c",
        "ranges/serviceips/10.96.0.8",
        "ranges/servicenodeports/30000",
        "secrets/shop/new",
        "services/shop/old",
    ];
    assert_eq!(keys, back, "a Service's address and ports come and go with it");
}

#[test]
fn a_service_does_not_take_its_address_back_from_one_elsewhere() {
    let reserved = |owner: &str| KeyValue {
        value: owner.to_string().into(),
        ..kv("ranges/serviceips/10.96.0.8", 4, Value::Null)
    };
    let birth = Birth { uid: &String::new, placed_by_maker: &|_| false, now: String::new() };
    for (now, refused) in [("mine/web", true), ("shop/other", false)] {
        let within = Some(["shop".to_string()].into());
        let journey = Journey {
            to: 5,
            steps: vec![],
            undone: vec![],
            way: Way::Rewind(5),
            within,
            unchanged: vec![],
            agreed: None,
        };
        let moves = journey.plan(&[reserved("shop/old")], &[reserved(now)], &birth);
        let checked = journey.check_owners(&moves);
        assert_eq!(checked.is_err(), refused, "{checked:?}");
        if let Err(status) = checked {
            assert!(status.message.contains("10.96.0.8 belongs to Service mine/web"), "{}", status.message);
        }
    }
}

/// A retained volume was made free by hand and bound again meanwhile.
#[test]
fn a_claim_does_not_take_its_volume_back_from_one_elsewhere() {
    let volume = |namespace: &str| object!({"spec": {"claimRef": {"namespace": namespace, "name": "c"}}});
    let birth = Birth { uid: &String::new, placed_by_maker: &|_| false, now: String::new() };
    let then = kv("persistentvolumes/v", 3, volume("shop"));
    for (now, is_refused) in
        [(volume("mine"), true), (object!({"spec": {"claimRef": {"namespace": "shop", "name": "d"}}}), false)]
    {
        let journey = Journey {
            to: 5,
            steps: vec![],
            undone: vec![],
            way: Way::Rewind(5),
            within: Some(["shop".to_string()].into()),
            unchanged: vec![],
            agreed: None,
        };
        let moves = journey.plan(from_ref(&then), &[kv("persistentvolumes/v", 7, now)], &birth);
        assert_eq!(moves.len(), 1);
        let checked = journey.check_owners(&moves);
        assert_eq!(checked.is_err(), is_refused, "{checked:?}");
        if let Err(status) = checked {
            let why = "claim shop/c cannot come back: its volume v belongs to claim mine/c now; delete that one first";
            assert_eq!(status.message, why);
        }
    }
}

#[test]
fn machines_heartbeats_and_events_stay_as_they_are() {
    let node = |label: &str, ready: bool| object!({"metadata": {"labels": {"disk": label}}, "status": {"ready": ready}});
    let mut mirror = pod("u1", "a");
    mirror["metadata"]["annotations"] = object!({MIRROR: "x"});
    let then = [
        kv("nodes/n1", 2, node("ssd", true)),
        kv("leases/kube-system/x", 2, object!({"n": 1})),
        kv("events/d/e", 2, object!({})),
        kv("pods/kube-system/etcd", 2, mirror.clone()),
    ];
    let mut other = mirror;
    other["metadata"]["uid"] = "u2".into();
    let now = [
        kv("nodes/n1", 9, node("hdd", false)),
        kv("nodes/n2", 9, node("", true)),
        kv("leases/kube-system/x", 9, object!({"n": 2})),
        kv("pods/kube-system/etcd", 9, other),
    ];
    let moves = planned(&then, &now);
    assert_eq!(moves.keys().collect::<Vec<_>>(), ["nodes/n1"]);
    assert_eq!(moves["nodes/n1"], Some(node("ssd", false)));
}

/// A pod became ready, and a node's status names other images: no person has changed either.
#[test]
fn what_has_only_another_status_since_is_not_written() {
    let of_kubelet = |time: &str| object!({"manager": "kubelet", "subresource": "status", "time": time});
    let of_person = |time: &str| object!({"manager": "kubectl", "time": time});
    let object = |label: &str, phase: &str, managers: Value| {
        let mut made = pod("u1", label);
        made["status"]["phase"] = phase.into();
        made["metadata"]["managedFields"] = managers;
        made
    };
    let then = object("old", "Pending", object!([of_person("1"), of_kubelet("1")]));
    let ready = object("old", "Running", object!([of_kubelet("2"), of_person("1")]));
    let edited = object("new", "Running", object!([of_kubelet("2"), of_person("2")]));
    let labelled = object("new", "Running", object!([of_person("2")]));
    for key in ["pods/d/p", "nodes/n1"] {
        let bare = pod("u1", "old");
        let moves = planned(&[kv(key, 5, bare.clone())], &[kv(key, 9, labelled.clone())]);
        assert_eq!(moves[key], Some(bare), "{key}: without a list, not with an empty one");
        let planned = |now: &Value| planned(&[kv(key, 5, then.clone())], &[kv(key, 9, now.clone())]);
        assert_eq!(planned(&ready), BTreeMap::new(), "{key}");
        let back = object("old", "Running", object!([of_person("1"), of_kubelet("2")]));
        assert_eq!(planned(&edited), BTreeMap::from([(key.to_string(), Some(back))]));
    }
}

/// A server notes in a Secret when its token was used, which no person has changed.
#[test]
fn the_day_on_which_a_token_was_used_is_kept() {
    let secret = |uid: &str, labels: Value| object!({"metadata": {"uid": uid, "labels": labels}});
    let (bare, used) = (object!({"metadata": {"uid": "u1"}}), object!({LAST_USED: "2026-01-02"}));
    let after = |now: Value| planned(&[kv("secrets/d/s", 5, bare.clone())], &[kv("secrets/d/s", 9, now)]);
    assert_eq!(after(secret("u1", used.clone())), BTreeMap::new());
    let put = |back: &Value| BTreeMap::from([("secrets/d/s".to_string(), Some(back.clone()))]);
    let labelled = object!({LAST_USED: "2026-01-02", "a": "b"});
    assert_eq!(after(secret("u1", labelled)), put(&secret("u1", used.clone())));
    assert_eq!(after(secret("u2", used)), put(&bare), "another Secret");
    assert_eq!(after(secret("u1", object!({"a": "b"}))), put(&bare));
    let made = planned(&[], &[kv("secrets/d/s", 9, bare.clone())]);
    assert_eq!(made, BTreeMap::from([("secrets/d/s".to_string(), None)]));
}

/// The next namespace of this name must not begin with them.
#[test]
fn leases_and_events_go_with_a_namespace_that_goes() {
    let all = [
        kv("namespaces/kept", 2, object!({})),
        kv("namespaces/new", 8, object!({})),
        kv("leases/kept/l", 8, object!({"n": 2})),
        kv("leases/new/l", 8, object!({"n": 2})),
        kv("events/kept/e", 8, object!({})),
        kv("events/new/e", 8, object!({})),
    ];
    let moves = planned(&all[..1], &all);
    let gone = ["events/new/e", "leases/new/l", "namespaces/new"];
    assert_eq!(moves, BTreeMap::from(gone.map(|key| (key.to_string(), None))));
    assert_eq!(planned(&all, &all[..1]).keys().collect::<Vec<_>>(), ["namespaces/new"], "and stay gone");
}
