//! Paths that are no object's own: health pages, what is below a subresource, the prefix `watch/`.

use crate::auth::user::{MASTERS, User};
use crate::request::http::full;
use crate::testing::Api;
use ::http::Request;
use api::openapi;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn health_pages_name_their_checks() {
    const NOT_FOUND: &str = "404 page not found\n";
    const CHECKED: &str = "[+]ping ok\n[+]etcd ok\n[+]poststarthook/bootstrap ok\nreadyz check passed\n";
    const EXCLUDED: &str = "[+]ping ok\n[+]etcd excluded: ok\n[+]poststarthook/bootstrap ok\n\
        warn: some health checks cannot be excluded: no matches for \"a\",\"none\"\nreadyz check passed\n";
    const UNSEEN: &str = "[+]ping ok\n[+]etcd ok\n[+]poststarthook/bootstrap ok\n\
        warn: some health checks cannot be excluded: no matches for \"\\u200b\"\nreadyz check passed\n";
    let api = Api::bare().await;
    for (path, code, text) in [
        ("/readyz", 200, "ok"),
        ("/readyz?verbose", 200, CHECKED),
        ("/readyz?verbose&exclude=etcd&exclude=none&exclude=a", 200, EXCLUDED),
        ("/readyz?verbose&exclude=%E2%80%8B", 200, UNSEEN),
        ("/livez?verbose", 200, "[+]ping ok\nlivez check passed\n"),
        ("/healthz/ping", 200, "ok"),
        ("/readyz/etcd", 200, "ok"),
        ("/readyz/poststarthook/bootstrap", 200, "ok"),
        ("/readyz/", 404, NOT_FOUND),
        ("/readyz/etcdd", 404, NOT_FOUND),
        ("/livez/nonsense", 404, NOT_FOUND),
    ] {
        assert_eq!(api.get(path).await, (code, Value::from(text)), "{path}");
    }
}

/// A client keeps a document with a hash for a year. With the hash of another document it would
/// take this one for that one once the other is served again.
#[tokio::test]
async fn a_document_of_openapi_is_kept_under_its_own_hash_only() {
    let api = Api::bare().await;
    let (code, index) = api.get("/openapi/v3").await;
    assert_eq!(code, 200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let get = async |path: &str| {
        let request = Request::builder().uri(path).body(full("")).unwrap();
        api.fixture.server.call(request, User::new("admin", &[MASTERS])).await
    };
    let kept = get(url).await;
    assert_eq!(kept.status(), 200);
    assert_eq!(kept.headers()["cache-control"], "public, immutable");
    let moved = get("/openapi/v3/apis/apps/v1?hash=00").await;
    assert_eq!(moved.status(), 301);
    assert_eq!(moved.headers()["location"], url);
    assert!(!moved.headers().contains_key("expires"));
    let current = get("/openapi/v3/apis/apps/v1").await;
    assert!(current.status() == 200 && !current.headers().contains_key("expires"));
}

#[tokio::test]
async fn a_failed_check_is_named_and_its_reason_is_told_on_its_own_page() {
    const FAILED: &str = "[+]ping ok\n[+]etcd ok\n\
        [-]poststarthook/bootstrap failed: reason withheld\nreadyz check failed\n";
    let api = Api::bare().await;
    api.state().started.send_replace(false);
    for (path, code, text) in [
        ("/readyz", 500, FAILED),
        ("/readyz?exclude=poststarthook/bootstrap", 200, "ok"),
        ("/readyz/poststarthook/bootstrap", 500, "internal server error: not finished\n"),
        ("/livez", 200, "ok"),
    ] {
        assert_eq!(api.get(path).await, (code, Value::from(text)), "{path}");
    }
}

/// So the text format of Prometheus demands it: parsers take a line elsewhere for one of a metric
/// without a type.
#[tokio::test]
async fn the_lines_of_a_metric_stand_together_behind_its_type() {
    let api = Api::bare().await;
    let (code, page) = api.get("/metrics").await;
    assert_eq!(code, 200);
    let (mut metric, mut seen) = ("", HashSet::new());
    for line in page.as_str().unwrap().lines() {
        match line.strip_prefix("# TYPE ") {
            Some(typed) => {
                metric = typed.split(' ').next().unwrap();
                assert!(seen.insert(metric), "{metric} has two types");
            }
            None => assert_eq!(line.split(['{', ' ']).next(), Some(metric), "{line}"),
        }
    }
    assert!(seen.contains("apiserver_storage_objects"));
}

#[tokio::test]
async fn nothing_is_served_below_a_subresource() {
    let api = Api::new().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    api.made(PODS, pod).await;
    let status = format!("{PODS}/p/status");
    let below = format!("{status}/x");
    assert_eq!((api.get(&status).await.0, api.get(&below).await.0), (200, 404));
    let (code, answer) = api.patch(&below, json!({"status": {"message": "m"}})).await;
    assert_eq!(code, 404, "{answer}");
    assert_eq!(api.get(&status).await.1["status"].get("message"), None);
    assert_eq!(api.get("/api/v1/watch/namespaces/default/pods/p/status").await.0, 404);
}

#[tokio::test]
async fn the_prefix_watch_is_for_reading_only() {
    let api = Api::bare().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    api.made(maps, json!({"metadata": {"name": "m"}})).await;
    let watched = "/api/v1/watch/namespaces/default/configmaps";
    let one = format!("{watched}/m");
    let change = json!({"data": {"a": "b"}});
    assert_eq!(api.patch(&one, change).await.0, 405);
    assert_eq!(api.post(watched, json!({"metadata": {"name": "n"}})).await.0, 405);
    assert_eq!(api.delete(&one, json!({})).await.0, 405);
    assert_eq!(api.delete(watched, json!({})).await.0, 405);
    let (code, kept) = api.get(&format!("{maps}/m")).await;
    assert_eq!((code, kept.get("data")), (200, None), "{kept}");
}

/// Objects of all namespaces are listed and watched together, never one of them; and kinds without
/// lists have no such path at all.
#[tokio::test]
async fn one_object_is_watched_in_its_namespace_only() {
    let api = Api::bare().await;
    for (path, code) in [
        ("watch/pods", 200),
        ("watch/pods?fieldSelector=metadata.name%3Dp", 200),
        ("pods?watch=1&fieldSelector=metadata.name%3Dp", 200),
        ("watch/namespaces/default/pods/p", 200),
        ("watch/nodes/p", 200),
        ("watch/pods/p", 404),
        ("pods/p", 404),
        ("bindings", 404),
    ] {
        let mark = if path.contains('?') { '&' } else { '?' };
        let (found, answer) = api.get(&format!("/api/v1/{path}{mark}timeoutSeconds=-1")).await;
        assert_eq!(found, code, "{path}: {answer}");
    }
}

/// A watcher of one object that selects by something else would wait for what never comes.
#[tokio::test]
async fn a_watch_of_one_name_takes_no_selector_that_does_not_say_it() {
    let api = Api::bare().await;
    for (selector, code) in [
        ("", 200),
        ("fieldSelector=", 200),
        ("fieldSelector=metadata.name%3Dp", 200),
        ("fieldSelector=metadata.name%3Dp,spec.nodeName%3Dn", 200),
        ("fieldSelector=metadata.name%3Dq", 400),
        ("fieldSelector=metadata.name%21%3Dp", 400),
        ("fieldSelector=spec.nodeName%3Dn", 400),
    ] {
        let path = format!("/api/v1/watch/namespaces/default/pods/p?timeoutSeconds=-1&{selector}");
        let (found, answer) = api.get(&path).await;
        assert_eq!(found, code, "{selector}: {answer}");
        let why = "fieldSelector metadata.name doesn't match requested name";
        assert!(code == 200 || answer["message"] == why, "{answer}");
    }
}

#[tokio::test]
async fn a_watch_whose_time_is_over_ends_at_once() {
    let api = Api::bare().await;
    let ended = async |seconds: &str| {
        let path = format!("{PODS}?watch=1&timeoutSeconds={seconds}");
        clock::limit(Duration::from_millis(500), api.get(&path)).await.is_some()
    };
    assert!(ended("-1").await);
    assert!(!ended("0").await, "none is asked for");
}

/// Clients keep these documents and ask with the tag that they have.
#[tokio::test]
async fn a_document_that_the_client_has_is_not_sent_again() {
    let api = Api::bare().await;
    let get = async |path: &str, tag: &str| {
        let discovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let request = Request::builder().uri(path).header("accept", discovery).header("if-none-match", tag);
        api.fixture.server.call(request.body(full("")).unwrap(), User::new("admin", &[MASTERS])).await
    };
    let text = |answer: &crate::request::http::Answer, name: &str| {
        answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_string()
    };
    for (path, cache) in [
        ("/api", "public"),
        ("/apis", "public"),
        ("/openapi/v2", "no-cache, private"),
        ("/openapi/v3", "no-cache, private"),
        ("/openapi/v3/apis/apps/v1", "no-cache, private"),
    ] {
        let first = get(path, "\"other\"").await;
        assert_eq!((first.status().as_u16(), text(&first, "cache-control").as_str()), (200, cache), "{path}");
        let tag = text(&first, "etag");
        assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{path}: {tag}");
        let again = get(path, &tag).await;
        assert_eq!((again.status().as_u16(), text(&again, "etag")), (304, tag), "{path}");
        assert_eq!((text(&again, "vary").as_str(), text(&again, "content-type").as_str()), ("Accept", ""));
        assert!(again.into_body().collect().await.unwrap().to_bytes().is_empty(), "{path}");
    }
    for path in ["/.well-known/openid-configuration", "/openid/v1/jwks"] {
        assert_eq!(text(&get(path, "").await, "cache-control"), "public, max-age=3600", "{path}");
    }
}

#[tokio::test]
async fn every_page_of_the_index_is_served() {
    let api = Api::new().await;
    let (_, index) = api.get("/").await;
    let paths: Vec<&str> = index["paths"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for page in ["/openid/v1/jwks", "/readyz/etcd", "/apis/apps/v1"] {
        assert!(paths.contains(&page), "{page}");
    }
    let request = Request::builder().uri("/").body(full("")).unwrap();
    let answer = api.fixture.server.call(request, User::new("admin", &[MASTERS])).await;
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(text.starts_with(b"{\n  \"paths\": [\n    \"/"), "{}", text.escape_ascii());
    for path in paths {
        assert_eq!(api.get(path).await.0, 200, "{path}");
    }
}

/// kubectl and client-go ask for protobuf; `curl` and clients in other languages read JSON.
#[tokio::test]
async fn the_document_of_openapi_v2_is_json_unless_protobuf_is_asked_for() {
    let api = Api::bare().await;
    let text = (200, "application/json".to_string());
    let protobuf = (200, openapi::V2_TYPE.to_string());
    let both = format!("{}, application/json;q=0.5", openapi::V2_TYPE_OLD);
    for (accept, wanted) in [
        ("", &text),
        ("*/*", &text),
        ("application/json, */*", &text),
        ("text/html, application/*;q=0.8", &text),
        (openapi::V2_TYPE, &protobuf),
        (openapi::V2_TYPE_OLD, &protobuf),
        (both.as_str(), &protobuf),
        ("text/html", &(406, "text/plain; charset=utf-8".to_string())),
    ] {
        let request = Request::builder().uri("/openapi/v2").header("accept", accept).body(full("")).unwrap();
        let answer = api.fixture.server.call(request, User::new("admin", &[MASTERS])).await;
        let kind = answer.headers()["content-type"].to_str().unwrap().to_string();
        assert_eq!(&(answer.status().as_u16(), kind), wanted, "{accept}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let swagger = serde_json::from_slice::<Value>(&body).unwrap_or_default()["swagger"].take();
        assert_eq!(swagger == "2.0", *wanted == text, "{accept}: {body:?}");
    }
}

/// A browser accepts everything besides HTML. A client that accepts HTML alone gets 406, which says
/// what there is.
#[tokio::test]
async fn discovery_is_no_page_for_clients_that_take_html_only() {
    let api = Api::bare().await;
    let get = async |path: &str, accept: &str| {
        let request = Request::builder().uri(path).header("accept", accept).body(full("")).unwrap();
        let answer = api.fixture.server.call(request, User::new("admin", &[MASTERS])).await;
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice::<Value>(&body).unwrap_or_default()["kind"].take())
    };
    let new = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let unknown = "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList";
    let removed = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    for (path, kind) in [
        ("/api", "APIVersions"),
        ("/apis", "APIGroupList"),
        ("/api/v1", "APIResourceList"),
        ("/apis/apps", "APIGroup"),
        ("/apis/apps/v1", "APIResourceList"),
    ] {
        let legacy = (200, json!(kind));
        for accept in ["", "*/*", "text/html,*/*;q=0.8", "application/vnd.kubernetes.protobuf"] {
            assert_eq!(get(path, accept).await, legacy, "{path} {accept}");
        }
        for form in [unknown, removed] {
            let both = format!("{form},application/json");
            assert_eq!(get(path, &both).await, legacy, "{path} {form}");
        }
        for accept in ["text/html", unknown, removed] {
            assert_eq!(get(path, accept).await, (406, json!("Status")), "{path} {accept}");
        }
    }
    let all = format!("{removed},{new},application/json");
    for accept in [new, all.as_str()] {
        assert_eq!(get("/apis", accept).await, (200, json!("APIGroupDiscoveryList")), "{accept}");
    }
    assert_eq!(get("/apis/none", "text/html").await.0, 404);
}

/// A probe that sends `HEAD` finds the pages of health, and custom objects, which upstream serves
/// by the verb.
#[tokio::test]
async fn objects_and_documents_that_have_routes_refuse_a_head() {
    let api = Api::bare().await;
    let version = json!({"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object"}}});
    let definition = json!({"metadata": {"name": "tabs.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"}, "versions": [version]}});
    let mut progress = api.state().cache.progress();
    api.made("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    while api.state().cache.kinds().resource("example.com", "v1", "tabs").is_none() {
        progress.changed().await.unwrap();
    }
    for (path, code) in [
        ("/api/v1/namespaces", 405),
        ("/api/v1/namespaces/default", 405),
        ("/api/v1/namespaces/default/status", 405),
        ("/api/v1/namespaces/default/pods?watch=true", 405),
        ("/api/v1/watch/pods", 405),
        ("/api/v1/namespaces/default/pods/p/nothing", 404),
        ("/api/v1/nothing", 404),
        ("/apis/example.com/v1/tabs", 200),
        ("/apis/example.com/v1/namespaces/default/tabs/none", 404),
        ("/version", 405),
        ("/api/v1", 405),
        ("/api/v2", 404),
        ("/apis/apps/v1", 405),
        ("/apis/apps", 200),
        ("/apis", 200),
        ("/apis/example.com/v1", 200),
        ("/healthz", 200),
        ("/openapi/v3", 200),
    ] {
        let (got, answer) = api.ask("HEAD", path, Value::Null).await;
        assert_eq!(got, code, "{path}: {answer}");
    }
    // Nor do pages without routes ask for a method (upstream: handlers of a mux, as
    // `healthz.InstallPathHandler` installs).
    for (method, path, code) in [
        ("POST", "/healthz", 200),
        ("PUT", "/livez/ping", 200),
        ("DELETE", "/livez", 200),
        ("POST", "/livez/none", 404),
        ("POST", "/version", 405),
        ("DELETE", "/api/v1", 405),
        ("POST", "/apis", 200),
        ("PUT", "/metrics", 200),
        ("POST", "/none", 404),
    ] {
        assert_eq!(api.ask(method, path, Value::Null).await.0, code, "{method} {path}");
    }
    // Nor has a custom kind a route of all namespaces, which would refuse the method.
    assert_eq!(api.post("/apis/example.com/v1/tabs", json!({})).await.0, 404);
}
