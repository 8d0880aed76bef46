use super::body;
use crate::auth::user::{MASTERS, User};
use crate::testing::{self, Api};
use serde_json::json;

/// As sigs.k8s.io/yaml, which reads one document and passes over all that follows it.
#[test]
fn the_first_document_of_a_yaml_body_is_the_object() {
    for rest in ["---\nb: 2\n", "---\n{\n", "...\nb: 2\n"] {
        let text = format!("a: 1\n{rest}");
        assert_eq!(body("application/yaml", text.as_bytes()).unwrap(), json!({"a": 1}), "{text}");
    }
    assert_eq!(body("application/yaml", b"---\n---\na: 1\n").unwrap_err().code, 400, "it is empty");
}

#[tokio::test]
async fn a_body_of_another_media_type_is_refused() {
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    for media in ["text/yaml", "application/x-yaml", "application/apply-patch+yaml", "*/*"] {
        assert_eq!(body(media, b"{\"a\": 1}").unwrap_err().code, 415, "{media}");
    }
    for media in ["", "application/json; charset=utf-8", "application/yaml;charset=utf-8"] {
        assert_eq!(body(media, b"{\"a\": 1}"), Ok(json!({"a": 1})), "{media}");
    }
    let api = Api::bare().await;
    let (user, apply) = (User::new("admin", &[MASTERS]), format!("{MAPS}/m?fieldManager=me"));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}).to_string();
    for (media, code) in [("application/apply-patch+yaml", 201), ("application/apply-patch+cbor", 415)] {
        let body = (media, map.clone());
        let (found, answer) =
            testing::send(&api.fixture.server, user.clone(), ("PATCH", &apply), body, "").await;
        assert_eq!(found, code, "{media}: {answer}");
    }
}

/// Three megabytes of lists in lists would take 450 MB, for each of the requests that are worked on
/// at a time.
#[tokio::test]
async fn a_body_has_as_many_values_as_there_is_memory_for() {
    let api = Api::bare().await;
    let user = User::new("admin", &[MASTERS]);
    let many = format!("[{}0]", format!("{}{},", "[".repeat(80), "]".repeat(80)).repeat(10_000));
    let map = "/api/v1/namespaces/default/configmaps/m";
    let (code, made) = api.post(map.trim_end_matches("/m"), json!({"metadata": {"name": "m"}})).await;
    assert_eq!(code, 201, "{made}");
    for (method, path, media, body) in [
        ("POST", map.trim_end_matches("/m"), "application/json", format!("{{\"x\": {many}}}")),
        ("PUT", map, "application/json", format!("{{\"x\": {many}}}")),
        ("DELETE", map, "application/json", format!("{{\"x\": {many}}}")),
        ("PATCH", map, "application/merge-patch+json", format!("{{\"x\": {many}}}")),
        ("PATCH", map, "application/strategic-merge-patch+json", format!("{{\"x\": {many}}}")),
        (
            "PATCH",
            map,
            "application/json-patch+json",
            format!("[{{\"op\": \"add\", \"path\": \"/x\", \"value\": {many}}}]"),
        ),
    ] {
        let (code, refused) =
            testing::send(&api.fixture.server, user.clone(), (method, path), (media, body), "").await;
        assert_eq!(code, 400, "{method} {media}: {refused}");
        assert_eq!(
            refused["message"], "the object provided has too many keys and values",
            "{method} {media}"
        );
    }
}

/// A body of empty containers would take thousands of times its length.
#[tokio::test]
async fn lists_of_a_pod_are_so_long_and_no_longer() {
    let api = Api::bare().await;
    for list in ["containers", "ephemeralContainers", "volumes"] {
        for (items, is_refused) in [(3, false), (10_001, true)] {
            let mut spec = json!({});
            spec[list] = vec![json!({}); items].into();
            let pod = json!({"metadata": {"name": "p"}, "spec": spec});
            let set = json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": spec}}});
            for (path, object) in [
                ("/api/v1/namespaces/default/pods", pod),
                ("/apis/apps/v1/namespaces/default/daemonsets", set),
            ] {
                let (code, answer) = api.post(path, object).await;
                let why = format!("the object provided has {items} {list}: ");
                let is_why = answer["message"].as_str().is_some_and(|message| message.starts_with(&why));
                assert_eq!((code == 400, is_why), (is_refused, is_refused), "{path} {list}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn a_type_that_is_no_string_is_refused() {
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let api = Api::bare().await;
    let mut map = json!({"metadata": {"name": "m"}});
    for (field, wrong) in [("apiVersion", json!(1)), ("kind", json!(["ConfigMap"]))] {
        map[field] = wrong;
        let (code, refused) = api.post(MAPS, map.clone()).await;
        assert_eq!(code, 400, "{field}: {refused}");
        map[field] = json!(null);
    }
    api.made(MAPS, map).await;
}

#[tokio::test]
async fn refused_options_are_those_of_the_verb() {
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let api = Api::bare().await;
    api.made(MAPS, json!({"metadata": {"name": "m"}})).await;
    let one = format!("{MAPS}/m");
    for (method, path, kind) in [
        ("POST", MAPS, "CreateOptions"),
        ("PUT", &one, "UpdateOptions"),
        ("PATCH", &one, "PatchOptions"),
        ("DELETE", &one, "DeleteOptions"),
        ("DELETE", MAPS, "DeleteOptions"),
    ] {
        let body = if method == "DELETE" { json!({}) } else { json!({"metadata": {"name": "m"}}) };
        let (code, refused) = api.ask(method, &format!("{path}?dryRun=Some"), body.clone()).await;
        assert_eq!((code, &refused["details"]["kind"]), (422, &json!(kind)), "{method}: {refused}");
        if method != "DELETE" {
            let (code, refused) = api.ask(method, &format!("{path}?fieldValidation=Some"), body).await;
            assert_eq!((code, &refused["details"]["kind"]), (422, &json!(kind)), "{method}: {refused}");
        }
    }
}

/// As `transformDecodeError` upstream: first the kind of the body, then that of the endpoint.
#[tokio::test]
async fn a_message_that_cannot_be_read_is_told_with_the_kind_of_the_endpoint() {
    /// A Secret with a field 0.
    const SECRET: &str = "k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x02\x02\x00";
    let api = Api::bare().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let sent = ("application/vnd.kubernetes.protobuf", SECRET.to_string());
    let user = User::new("admin", &[MASTERS]);
    let (code, refused) = testing::send(&api.fixture.server, user, ("POST", maps), sent, "").await;
    let why = "Secret in version \"v1\" cannot be handled as a ConfigMap: proto: Secret: illegal tag 0 (wire type 2)";
    assert_eq!((code, refused["message"].as_str()), (400, Some(why)), "{refused}");
}

/// A request with several typing errors hears of all of them, also where there is no object.
#[tokio::test]
async fn the_options_of_a_write_are_judged_before_its_object_and_its_body() {
    let api = Api::bare().await;
    let one = "/api/v1/namespaces/default/configmaps/none?dryRun=Some&fieldValidation=Some";
    for (method, media, more, causes) in [
        ("PUT", "application/json", "", 2),
        ("PATCH", "application/merge-patch+json", "&force=true", 3),
        ("PATCH", "application/apply-patch+yaml", "", 3),
        ("PATCH", "application/apply-patch+yaml", "&force=true&fieldManager=m", 2),
    ] {
        let (user, path) = (User::new("admin", &[MASTERS]), format!("{one}{more}"));
        let sent = (media, "{");
        let (code, refused) = testing::send(&api.fixture.server, user, (method, &path), sent, "").await;
        let found = refused["details"]["causes"].as_array().map_or(0, Vec::len);
        assert_eq!((code, found), (422, causes), "{method} {media} {more}: {refused}");
    }
}

/// In upstream's words; no space but U+0020 can be seen.
#[tokio::test]
async fn a_manager_has_a_name_that_can_be_seen() {
    let api = Api::bare().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let long = format!("%01{}", "a".repeat(200));
    for (manager, wanted) in [
        ("a%20b-%EA%B0%80", &[][..]),
        ("a%0Ab", &["invalid character U+000A (at position 1)"]),
        (
            "%C2%A0a%7F",
            &["invalid character U+00A0 (at position 0)", "invalid character U+007F (at position 3)"],
        ),
        (
            long.as_str(),
            &["Too long: may not be more than 128 bytes", "invalid character U+0001 (at position 0)"],
        ),
    ] {
        let map = json!({"metadata": {"generateName": "m"}});
        let (code, answer) = api.post(&format!("{maps}?fieldManager={manager}"), map).await;
        let causes = answer["details"]["causes"].as_array().cloned().unwrap_or_default();
        let wanted_code = if wanted.is_empty() { 201 } else { 422 };
        assert_eq!((code, causes.len()), (wanted_code, wanted.len()), "{answer}");
        for (cause, why) in causes.iter().zip(wanted) {
            assert!(cause["message"].as_str().unwrap().ends_with(*why), "{cause}");
        }
    }
}

#[tokio::test]
async fn every_value_of_dry_run_has_to_be_all() {
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    let api = Api::bare().await;
    let map = |name: &str| json!({"metadata": {"name": name}, "data": {"a": "b"}});
    api.made(MAPS, json!({"metadata": {"name": "m"}})).await;
    for (query, codes) in [
        ("dryRun=", [422, 422, 422]),
        ("dryRun=All&dryRun=", [422, 422, 422]),
        ("dryRun=All&dryRun=All", [201, 200, 200]),
    ] {
        let one = format!("{MAPS}/m?{query}");
        let created = api.post(&format!("{MAPS}?{query}"), map("new")).await.0;
        let got = [created, api.put(&one, map("m")).await.0, api.delete(&one, json!({})).await.0];
        assert_eq!(got, codes, "{query}");
        assert_eq!(api.get(&format!("{MAPS}/new")).await.0, 404, "{query}");
        let (code, kept) = api.get(&format!("{MAPS}/m")).await;
        assert!(code == 200 && kept["data"].is_null(), "{query}: {code} {kept}");
    }
}
