//! Defaults that a definition gets when it has objects already: small objects become large ones.

use super::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const SHOPS: &str = "/apis/example.com/v1/namespaces/default/shops";
/// Both texts of a definition fit into one object of the store.
const TEXT: usize = 600_000;

/// Shops with a text, and pages that have one. With the default each text has [`TEXT`] bytes, and a
/// shop needs one.
fn definition(has_default: bool) -> Value {
    let (mut text, mut required) = (json!({"type": "string"}), json!([]));
    if has_default {
        text["default"] = "x".repeat(TEXT).into();
        required = json!(["text"]);
    }
    let page = json!({"type": "object", "properties": {"text": text}});
    let properties =
        json!({"text": text, "pages": {"type": "array", "items": page}, "size": {"type": "integer"}});
    let schema = json!({"type": "object", "properties": properties, "required": required});
    let version =
        json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    json!({"metadata": {"name": "shops.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "shops", "kind": "Shop"}, "versions": [version]}})
}

fn shop(name: &str, more: Value) -> Value {
    let mut shop = json!({"apiVersion": "example.com/v1", "kind": "Shop", "metadata": {"name": name}});
    for (field, value) in more.as_object().unwrap() {
        shop[field] = value.clone();
    }
    shop
}

/// Waits until the server serves shops, with or without a default.
async fn served(of: &Fixture, has_default: bool) {
    let cache = &of.server.state.cache;
    let mut progress = cache.progress();
    loop {
        let kind = cache.kinds().resource("example.com", "v1", "shops");
        let custom = kind.and_then(|kind| kind.custom.clone());
        if custom.is_some_and(|custom| custom.schema.has_defaults == has_default) {
            return;
        }
        progress.changed().await.unwrap();
    }
}

/// A server with these shops, whose definition has got a default since.
async fn with_shops(dir: &std::path::Path, shops: Vec<Value>) -> Fixture {
    let of = testing::start(dir).await;
    assert_eq!(send(&of, "POST", DEFINITIONS, definition(false)).await.0, 201);
    served(&of, false).await;
    for shop in shops {
        let (code, answer) = send(&of, "POST", SHOPS, shop).await;
        assert_eq!(code, 201, "{answer}");
    }
    let one = format!("{DEFINITIONS}/shops.example.com");
    let (code, answer) = send(&of, "PATCH", &one, definition(true)).await;
    assert_eq!(code, 200, "{}", answer["message"]);
    served(&of, true).await;
    of
}

/// How many texts of a list's items are as long as the default.
fn texts(list: &Value) -> usize {
    let items = list["items"].as_array().unwrap();
    items.iter().filter(|item| item["text"].as_str().is_some_and(|text| text.len() == TEXT)).count()
}

/// Fifty-eight objects of some hundred bytes would make an answer of 35 MB, and thousands of them
/// gigabytes.
#[tokio::test]
async fn a_list_has_as_many_later_defaults_as_there_is_memory_for() {
    let dir = tempfile::tempdir().unwrap();
    let shops = (0..58).map(|n| shop(&format!("s{n:02}"), json!({}))).collect();
    let of = with_shops(dir.path(), shops).await;
    let now = format!("{SHOPS}?limit=58");
    let past =
        format!("{now}&resourceVersion={}&resourceVersionMatch=Exact", of.server.state.cache.revision());
    for first in [now, past] {
        let (mut path, mut pages) = (first.clone(), vec![]);
        loop {
            let (code, page) = send(&of, "GET", &path, Value::Null).await;
            assert_eq!(code, 200, "{}", page["message"]);
            let left = page["metadata"]["remainingItemCount"].as_i64();
            pages.push((texts(&page), left));
            let Some(token) = page["metadata"]["continue"].as_str() else { break };
            path = format!("{SHOPS}?limit=58&continue={token}");
        }
        assert_eq!(pages, [(56, Some(2)), (2, None)], "{first}");
        let (code, refused) = send(&of, "GET", &first.replace("limit=58", "limit=0"), Value::Null).await;
        let why = refused["message"].as_str().unwrap();
        assert!(
            code == 413 && why.contains("the defaults of the schema of shops.example.com"),
            "{code}: {why}"
        );
    }
    // Metadata has no defaults: the namespace controller can empty the namespace.
    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let request = Request::builder().uri(SHOPS).header("accept", metadata).body(String::new());
    let (code, _, bytes) = ask(&of, request.unwrap()).await;
    let list: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(58)));
    // Their collection can be deleted all the same.
    let (code, gone) = send(&of, "DELETE", SHOPS, json!({})).await;
    assert_eq!((code, texts(&gone), gone["items"].as_array().map(Vec::len)), (200, 56, Some(58)));
    let (code, left) = send(&of, "GET", SHOPS, Value::Null).await;
    assert_eq!((code, left["items"].as_array().map(Vec::len)), (200, Some(0)));
}

/// With its defaults it is larger than the store takes: it is read and written without them.
#[tokio::test]
async fn an_object_that_later_defaults_make_too_large_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut large = shop("large", json!({"pages": [{}, {}], "size": 1}));
    large["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let of = with_shops(dir.path(), vec![large]).await;
    let one = format!("{SHOPS}/large");
    let (code, shown) = send(&of, "GET", &one, Value::Null).await;
    assert_eq!((code, &shown["pages"], &shown["text"]), (200, &json!([{}, {}]), &Value::Null));
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(send(&of, "PATCH", &one, label).await.0, 200);
    assert_eq!(send(&of, "PATCH", &one, json!({"size": 2})).await.0, 422, "its text is required");
    let (code, answer) = send(&of, "POST", SHOPS, shop("new", json!({"pages": [{}, {}]}))).await;
    assert_eq!(
        (code, answer["reason"].as_str()),
        (413, Some("RequestEntityTooLarge")),
        "{}",
        answer["message"]
    );
    let (code, marked) = send(&of, "DELETE", &one, json!({})).await;
    assert!(code == 200 && marked["metadata"]["deletionTimestamp"].is_string(), "{code}");
    let (code, answer) = send(&of, "PATCH", &one, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200, "{}", answer["message"]);
    assert_eq!(send(&of, "GET", &one, Value::Null).await.0, 404);
}
