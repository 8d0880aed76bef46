//! Owners whose uid is known to be gone, and those that come back.

use super::*;

const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn map(name: &str) -> Node {
    Node {
        api: ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&()),
        key: Key::new("d", name),
        ..dependent()
    }
}

/// An undo brings an owner and its dependent back. The dependent is heard of first; while the API
/// server is asked for it, its owner comes into the graph.
#[tokio::test]
async fn an_owner_that_comes_back_while_its_dependent_is_asked_for_keeps_it() {
    let owners = vec![reference_to("v1", "ConfigMap", "o")];
    let live = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "d",
        "uid": "d", "resourceVersion": "7", "ownerReferences": owners}});
    let known: Arc<OnceLock<std::sync::Weak<Collector>>> = Arc::default();
    let watch = known.clone();
    let server = Scripted::new(move |asked| {
        let collector = watch.get().and_then(std::sync::Weak::upgrade)?;
        collector.graph().put("o", map("o"));
        asked.line.contains("/pods/x").then(|| (200, live.clone()))
    })
    .await;
    let collector = Arc::new(collector(&server));
    known.set(Arc::downgrade(&collector)).unwrap();
    collector.graph().absent.insert("o", Some(map("o")));
    collector.graph().put("d", Node { owners, ..dependent() });
    collector.sync("d".into(), None).await.unwrap();
    assert_eq!(server.lines(), ["GET /api/v1/namespaces/d/pods/x"]);
}

/// As before, and the dependent has another owner, which was there all the time.
#[tokio::test]
async fn an_owner_that_came_back_is_not_taken_off() {
    let server = Scripted::new(|asked| {
        let owner = json!({"name": "o", "namespace": "d", "uid": "o"});
        let live = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": owner});
        asked.line.contains("/configmaps/o").then_some((200, live))
    })
    .await;
    let collector = collector(&server);
    let owners = vec![reference_to("v1", "ConfigMap", "s"), reference_to("v1", "ConfigMap", "o")];
    collector.graph().put("s", map("s"));
    collector.graph().absent.insert("o", Some(map("o")));
    collector.graph().put("d", Node { owners, ..dependent() });
    collector.sync("d".into(), None).await.unwrap();
    assert_eq!(server.lines(), ["GET /api/v1/namespaces/d/configmaps/o"]);
}

/// `kubectl delete --cascade=foreground`, and its undo. The dependent is looked at before the watch
/// of its owner shows that the owner is no longer being deleted.
#[tokio::test]
async fn an_owner_whose_foreground_deletion_was_undone_keeps_its_dependents() {
    for is_undone in [true, false] {
        let owners = vec![reference_to("v1", "ConfigMap", "o")];
        let live = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "d",
            "uid": "d", "resourceVersion": "7", "ownerReferences": owners}});
        let mut owner = json!({"name": "o", "namespace": "d", "uid": "o"});
        if !is_undone {
            owner["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            owner["finalizers"] = json!([FOREGROUND]);
        }
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": owner});
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            line if line.contains("/configmaps/o") => Some((200, owner.clone())),
            line if line.contains("/pods/x") => Some((200, live.clone())),
            _ => None,
        })
        .await;
        let collector = collector(&server);
        let finalizers = vec![FOREGROUND.to_string()];
        collector.graph().put("o", Node { going: true, finalizers, ..map("o") });
        collector.graph().put("d", Node { owners, ..dependent() });
        collector.sync("d".into(), None).await.unwrap();
        let mut want = vec!["GET /api/v1/namespaces/d/pods/x", "GET /api/v1/namespaces/d/configmaps/o"];
        if !is_undone {
            want.push("DELETE /api/v1/namespaces/d/pods/x");
        }
        assert_eq!(server.lines(), want, "undone: {is_undone}");
    }
}

/// Two cluster-scoped objects name the same uid, which is gone: one with a kind that has no
/// namespaces, one with a kind that has.
#[tokio::test]
async fn what_another_object_says_of_an_owner_does_not_make_it_resolvable() {
    let server = Scripted::new(|_| None).await;
    let collector = collector(&server);
    collector.graph().absent.insert("o", Some(role("o", vec![])));
    collector.graph().put("r", role("r", vec![reference_to("v1", "ConfigMap", "o")]));
    for _ in 0..2 {
        assert_eq!(collector.sync("r".into(), None).await.unwrap(), Outcome::Done);
        assert_eq!(server.lines(), [""; 0], "its own reference decides, and it stays");
    }
}

/// A ClusterRole owned another one. A ConfigMap names the same uid as that of a ConfigMap, and is
/// looked at first.
#[tokio::test]
async fn what_another_object_says_of_an_owner_does_not_make_it_unresolvable() {
    for was_seen in [true, false] {
        let (of_role, of_map) =
            (reference_to(RBAC, "ClusterRole", "o"), reference_to("v1", "ConfigMap", "o"));
        let owners = [of_role.clone(), of_map.clone()];
        let server = Scripted::new(move |asked| {
            let (_, name) = asked.line.rsplit_once('/')?;
            let owner = match name {
                "c" => &owners[0],
                "m" => &owners[1],
                _ => return refusal(404, "NotFound"),
            };
            let meta = json!({"name": name, "uid": name, "resourceVersion": "5", "ownerReferences": [owner]});
            Some((200, json!({"apiVersion": "v1", "kind": "PartialObjectMetadata", "metadata": meta})))
        })
        .await;
        let collector = collector(&server);
        collector.graph().put("m", Node { owners: vec![of_map], ..map("m") });
        collector.graph().put("c", role("c", vec![of_role]));
        if was_seen {
            collector.graph().put("o", role("o", vec![]));
            collector.forget("o", None);
        }
        for (uid, want) in [
            ("m", "DELETE /api/v1/namespaces/d/configmaps/m"),
            ("c", "DELETE /apis/rbac.authorization.k8s.io/v1/clusterroles/c"),
        ] {
            collector.sync(uid.into(), None).await.unwrap();
            assert_eq!(server.lines().last().map(String::as_str), Some(want), "seen: {was_seen}");
        }
    }
}

/// The kind of an owner that is gone is not served any more: what was seen of the owner decides,
/// and nothing is deleted if it was never seen.
#[tokio::test]
async fn an_owner_of_a_kind_that_is_not_served_has_the_scope_that_it_was_seen_with() {
    let server = with_widgets(Arc::default()).await;
    let collector = collector(&server);
    let cluster_scoped = role("r", vec![widget("w")]);
    let was = |namespaced: bool| {
        let api = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Widget"));
        Some(Node { api, namespaced, key: Key::new("d", "w"), ..dependent() })
    };
    for (seen, want) in [
        (was(true), Some((Standing::Unresolvable, Standing::Gone))),
        (was(false), Some((Standing::Gone, Standing::Gone))),
        (None, None),
        (Some(role("w", vec![])), None), // it was another kind
    ] {
        collector.graph().absent.remove("w");
        collector.graph().absent.insert("w", seen);
        let of_role = collector.standing(&cluster_scoped, &widget("w")).await;
        let of_pod = collector.standing(&dependent(), &widget("w")).await;
        match want {
            Some(want) => assert_eq!((of_role.unwrap().0, of_pod.unwrap().0), want),
            None => {
                assert!(matches!(of_role, Err(Error::Unserved(_))), "{of_role:?}");
                assert!(matches!(of_pod, Err(Error::Unserved(_))), "{of_pod:?}");
            }
        }
    }
}

/// A pod names the same uid twice: as that of a ConfigMap, which is not there, and as that of a
/// Widget, which is not served. The second may live for all that is known.
#[tokio::test]
async fn an_object_stays_while_the_kind_of_one_of_its_owners_is_not_served() {
    for turned in [false, true] {
        let mut owners = vec![reference_to("v1", "ConfigMap", "w"), widget("w")];
        if turned {
            owners.reverse();
        }
        let live = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "d",
            "uid": "d", "resourceVersion": "7", "ownerReferences": owners}});
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            line if line.contains("/configmaps/") => refusal(404, "NotFound"),
            line if line.contains("/pods/x") => Some((200, live.clone())),
            "GET /api" | "GET /apis" => Some((200, json!({"kind": "APIGroupDiscoveryList", "items": []}))),
            _ => None,
        })
        .await;
        let collector = collector(&server);
        collector.graph().put("d", Node { owners, ..dependent() });
        for _ in 0..2 {
            let answer = collector.sync("d".into(), None).await;
            assert!(matches!(answer, Err(Error::Unserved(_))), "{answer:?}");
        }
        assert!(server.lines().iter().all(|line| line.starts_with("GET")));
    }
}
