//! The memory and the work that long lists take.

use super::*;

/// A server with eight objects of a megabyte each, which all users may list.
async fn with_long_lists(dir: &std::path::Path) -> Fixture {
    let of = testing::start(dir).await;
    for n in 0..8 {
        assert_eq!(send(&of, "POST", MAPS, map(&format!("m{n}"), 1 << 20)).await.0, 201);
    }
    let role = json!({"metadata": {"name": "read"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    assert_eq!(send(&of, "POST", &format!("{rbac}/clusterroles"), role).await.0, 201);
    let group =
        json!([{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"}]);
    let binding = json!({"metadata": {"name": "read"}, "subjects": group,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "read"}});
    assert_eq!(send(&of, "POST", &format!("{rbac}/clusterrolebindings"), binding).await.0, 201);
    of
}

/// Users that ask for long lists and do not read them hold what their account may, and no more;
/// others get theirs.
#[tokio::test(start_paused = true)]
async fn lists_that_nobody_reads_hold_a_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let of = with_long_lists(dir.path()).await;
    let list = |name: &'static str| {
        let of = &of;
        async move {
            let request = Request::builder().uri(MAPS).body(full("")).unwrap();
            of.server.call(request, User::new(name, &[])).await
        }
    };
    let mut held = vec![];
    while held.len() < 100 {
        // The account's next list waits for its others to be read.
        match tokio::time::timeout(Duration::from_secs(5), list("eve")).await {
            Ok(answer) => held.push(answer),
            Err(_) => break,
        }
    }
    assert!((2..20).contains(&held.len()), "{} lists of 8 MiB", held.len());
    let bobs = tokio::time::timeout(Duration::from_secs(1), list("bob")).await.expect("bob waits for eve");
    assert_eq!(bobs.status(), 200);
    // One is read, and the next is made.
    let body = held.pop().unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(body.len() > 8 << 20);
    let next = tokio::time::timeout(Duration::from_secs(1), list("eve")).await.expect("there is room again");
    assert_eq!(next.status(), 200);
    // Answers that their clients do not read are broken off.
    held.push(next);
    assert_eq!(tokio::time::timeout(Duration::from_secs(69), list("eve")).await.unwrap().status(), 200);
}

/// A selector looks at objects with others in between, so what it copies for that counts, however
/// little it finds.
#[tokio::test(start_paused = true)]
async fn a_selective_list_reserves_memory_before_it_copies_keys() {
    let dir = tempfile::tempdir().unwrap();
    let of = with_long_lists(dir.path()).await;
    for n in 0..500 {
        let map = json!({"metadata": {"name": format!("{n:0>250}")}});
        assert_eq!(send(&of, "POST", MAPS, map).await.0, 201);
    }
    let (state, eve) = (&of.server.state, User::new("eve", &[]));
    let held = state.compute.body(&eve, 1 << 30).await.unwrap();
    let list = |uri: &str| {
        let request = Request::builder().uri(uri).body(full("")).unwrap();
        of.server.call(request, eve.clone())
    };
    let selective = format!("{MAPS}?labelSelector=no%3Dbody");
    let waiting = list(&selective);
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_secs(5), waiting.as_mut()).await.is_err(), "it did not wait");
    drop(held);
    assert_eq!(waiting.await.status(), 200);
}

/// A list waits until others of its account are read. What changes meanwhile is freed, and the list
/// tells of the change.
#[tokio::test(start_paused = true)]
async fn a_list_that_waits_keeps_no_objects() {
    let dir = tempfile::tempdir().unwrap();
    let of = with_long_lists(dir.path()).await;
    let list = || {
        let request = Request::builder().uri(MAPS).body(full("")).unwrap();
        of.server.call(request, User::new("eve", &[]))
    };
    let mut unread = vec![];
    let mut waiting = loop {
        let mut next = Box::pin(list());
        match tokio::time::timeout(Duration::from_secs(1), next.as_mut()).await {
            Ok(answer) => unread.push(answer),
            Err(_) => break next,
        }
        assert!(unread.len() < 20, "no list waits");
    };
    let before = of.server.state.cache.get("configmaps", "default/m0").map(|object| Arc::downgrade(&object));
    let (code, answer) = send(&of, "PATCH", &format!("{MAPS}/m0"), json!({"data": {"k": "new"}})).await;
    assert_eq!(code, 200, "{answer}");
    let freed = async {
        while before.as_ref().unwrap().strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), freed).await.expect("the list that waits holds it");
    drop(unread);
    let answer = waiting.as_mut().await;
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&told["items"][0]["data"]["k"], told["items"].as_array().unwrap().len()), (&json!("new"), 8));
}

/// A list of the past costs what it looks at, not what it answers: pages of large objects are
/// short, large objects are decoded in turn with other large work, and the list takes a turn
/// although nothing matches.
#[tokio::test]
async fn lists_of_the_past_are_bounded_by_what_they_look_at() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::new());
    let of = testing::start_on(dir.path(), store.clone()).await;
    for n in 0..8 {
        assert_eq!(send(&of, "POST", MAPS, map(&format!("m{n}"), 600_000)).await.0, 201);
    }
    let past = format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", store.kv.revision());
    let none = format!("{past}&labelSelector=odd%3Dtrue");
    for (path, count) in [(&past, 8), (&none, 0)] {
        let (code, list) = send(&of, "GET", path, Value::Null).await;
        assert_eq!((code, list["items"].as_array().unwrap().len()), (200, count));
        assert_eq!(std::mem::take(&mut *store.pages.lock()), [6, 6], "{path}");
    }
    let busy = testing::Busy::begin(&of.server).await;
    let asked = send(&of, "GET", &past, Value::Null);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), asked).await.is_err(),
        "it decodes beside the bound"
    );
    busy.end().await;
    takes_a_turn(&of, &none).await;
}

/// Checks that a list waits while all turns for long lists are taken.
async fn takes_a_turn(of: &Fixture, path: &str) {
    let turns = of.server.state.compute.lists_of_components();
    let mut held = vec![];
    while let Ok(Some(turn)) = tokio::time::timeout(Duration::from_millis(200), turns.take("")).await {
        held.push(turn);
    }
    let asked = send(of, "GET", path, Value::Null);
    assert!(tokio::time::timeout(Duration::from_millis(200), asked).await.is_err(), "it takes no turn");
    drop(held);
    assert_eq!(send(of, "GET", path, Value::Null).await.0, 200);
}

/// Nothing is there today that tells how large the objects of the past are: pages begin with one
/// object, and the list takes a turn.
#[tokio::test]
async fn lists_of_the_past_are_bounded_when_nothing_is_there_today() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::new());
    let of = testing::start_on(dir.path(), store.clone()).await;
    for n in 0..8 {
        assert_eq!(send(&of, "POST", MAPS, map(&format!("m{n}"), 600_000)).await.0, 201);
    }
    let past = format!("{MAPS}?resourceVersion={}&resourceVersionMatch=Exact", store.kv.revision());
    for n in 0..8 {
        assert_eq!(send(&of, "DELETE", &format!("{MAPS}/m{n}"), Value::Null).await.0, 200);
    }
    let count = |list: &Value| list["items"].as_array().unwrap().len();
    let (_, today) = send(&of, "GET", MAPS, Value::Null).await;
    assert_eq!(count(&today), 0);
    for (path, want) in [(past.clone(), 8), (format!("{past}&limit=10000"), 8)] {
        let (code, list) = send(&of, "GET", &path, Value::Null).await;
        assert_eq!((code, count(&list)), (200, want));
        assert_eq!(std::mem::take(&mut *store.pages.lock()), [1, 1, 2, 4], "{path}");
    }
    takes_a_turn(&of, &past).await;
}
