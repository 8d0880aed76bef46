//! Watches and pages of lists.

use super::*;

impl Api {
    async fn watch(&self, path: &str) -> Watch {
        let answer = self.fixture.server.call(request("GET", path, "", ""), admin()).await;
        assert_eq!(answer.status(), 200);
        Watch { body: answer.into_body(), rest: vec![] }
    }
}

struct Watch {
    body: Body,
    rest: Vec<u8>,
}

impl Watch {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(5), self.body.frame()).await.expect("an event");
            self.rest.extend(frame?.unwrap().into_data().unwrap());
        }
    }
    /// `ADDED a 1`: type, name, and the value of data.n.
    async fn summary(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let object = &event["object"];
        format!(
            "{} {} {}",
            event["type"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap_or("-"),
            object["data"]["n"].as_str().unwrap_or("-")
        )
    }
}

#[tokio::test]
async fn no_number_of_seconds_is_too_many_for_a_watch_or_a_grace_period() {
    let api = Api::new().await;
    let mut watch = api.watch(&format!("{CM}?watch=1&timeoutSeconds={}", i64::MAX)).await;
    assert_eq!(api.post(CM, cm("a", "1")).await.0, 201);
    assert_eq!(watch.summary().await, "ADDED a 1");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(api.post(pods, pod).await.0, 201);
    let (code, gone) = api.delete(&format!("{pods}/p"), json!({"gracePeriodSeconds": i64::MAX})).await;
    assert_eq!(code, 200, "{gone}");
}

#[tokio::test]
async fn a_watch_tells_everything_once_and_in_order() {
    let api = Api::new().await;
    let base = rv(&api.get(&format!("{CM}?limit=1")).await.1);
    api.post(CM, cm("a", "1")).await;
    let mut past = api.watch(&format!("{CM}?watch=true&resourceVersion={base}")).await;
    let mut now =
        api.watch(&format!("{CM}?watch=true&fieldSelector=metadata.name%3Da&resourceVersion=0")).await;
    let mut labelled =
        api.watch(&format!("{CM}?watch=true&labelSelector=n%3D2&resourceVersion={base}")).await;
    let mut streamed = api.watch(&format!("{CM}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")).await;
    api.post(CM, cm("b", "1")).await;
    for n in ["2", "3"] {
        api.patch(&format!("{CM}/a"), json!({"metadata": {"labels": {"n": n}}, "data": {"n": n}})).await;
    }
    let (_, gone) = api.delete(&format!("{CM}/a"), json!({})).await;
    assert_eq!(
        (gone["kind"].as_str(), gone["details"]["kind"].as_str()),
        (Some("Status"), Some("configmaps"))
    );
    for want in ["ADDED a 1", "ADDED b 1", "MODIFIED a 2", "MODIFIED a 3"] {
        assert_eq!(past.summary().await, want);
    }
    let deleted = past.next().await.unwrap();
    assert_eq!(
        (deleted["type"].as_str(), rv(&deleted["object"])),
        (Some("DELETED"), api.fixture.server.state.kv.revision())
    );
    for want in ["ADDED a 1", "MODIFIED a 2", "MODIFIED a 3", "DELETED a 3"] {
        assert_eq!(now.summary().await, want);
    }
    for want in ["ADDED a 2", "DELETED a 2"] {
        assert_eq!(labelled.summary().await, want);
    }
    assert_eq!(streamed.summary().await, "ADDED a 1");
    let bookmark = streamed.next().await.unwrap();
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(streamed.summary().await, "ADDED b 1");
    let mut ended = api
        .watch(&format!("{CM}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={base}"))
        .await;
    let mut last = json!(null);
    while let Some(event) = ended.next().await {
        last = event;
    }
    assert_eq!(
        (last["type"].as_str(), rv(&last["object"])),
        (Some("BOOKMARK"), api.fixture.server.state.kv.revision())
    );
}

#[tokio::test]
async fn pages_show_one_moment_and_what_is_forgotten_is_410() {
    let api = Api::new().await;
    for i in 0..5 {
        api.post(CM, cm(&format!("c{i}"), "1")).await;
    }
    let (_, first) = api.get(&format!("{CM}?limit=2")).await;
    assert_eq!(
        (first["items"].as_array().unwrap().len(), &first["metadata"]["remainingItemCount"]),
        (2, &json!(3))
    );
    api.delete(&format!("{CM}/c4"), json!({})).await;
    api.post(CM, cm("c9", "1")).await;
    let mut names: Vec<String> = vec![];
    let mut next = first["metadata"]["continue"].as_str().unwrap().to_string();
    while !next.is_empty() {
        let (code, page) = api.get(&format!("{CM}?limit=2&continue={next}")).await;
        assert_eq!((code, rv(&page)), (200, rv(&first)));
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|i| i["metadata"]["name"].as_str().unwrap().to_string()),
        );
        next = page["metadata"]["continue"].as_str().unwrap_or("").to_string();
    }
    assert_eq!(names, ["c2", "c3", "c4"]);
    let (_, all) = api.get(&format!("{CM}?limit=2&resourceVersion=0")).await;
    assert_eq!((all["items"].as_array().unwrap().len(), all["metadata"].get("continue")), (5, None));
    let state = &api.fixture.server.state;
    state.kv.compact(state.kv.revision()).await.unwrap();
    let (code, status) =
        api.get(&format!("{CM}?limit=2&continue={}", first["metadata"]["continue"].as_str().unwrap())).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    assert_eq!(api.get(&format!("{CM}?continue=nonsense")).await.0, 400);
    let future = state.kv.revision() + 1000;
    let (code, status) = api.get(&format!("{CM}?resourceVersion={future}")).await;
    assert_eq!((code, &status["details"]["causes"][0]["reason"]), (504, &json!("ResourceVersionTooLarge")));
}
