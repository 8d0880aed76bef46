//! Numbers of custom resources, from a body to the store and back.

use crate::auth::user::{MASTERS, User};
use crate::testing::{Api, send};
use serde_json::{Value, json};

const PLACES: &str = "/apis/example.com/v1/namespaces/default/places";

/// A server with the kind Place: two integers, one of them with a default, and a fraction.
async fn with_places() -> Api {
    let api = Api::bare().await;
    let fields = json!({"replicas": {"type": "integer"}, "lon": {"type": "number"},
        "most": {"type": "integer", "default": 3.0}});
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}});
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        "subresources": {"scale": scale}});
    let definition = json!({"metadata": {"name": "places.example.com"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "places", "kind": "Place"}, "versions": [version]}});
    let mut progress = api.state().cache.progress();
    api.made("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    while api.state().cache.kinds().resource("example.com", "v1", "places").is_none() {
        progress.changed().await.unwrap();
    }
    api
}

fn place(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Place", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_fraction_comes_back_as_it_was_sent() {
    let api = with_places().await;
    // Compared as text: whatever misreads the answer would misread the expectation as well.
    for (name, lon) in [("a", "126.97796919999999"), ("b", "45.059164949556916"), ("c", "97.45424510282939")]
    {
        let spec = json!({"lon": lon.parse::<f64>().unwrap()});
        let made = api.made(PLACES, place(name, spec)).await;
        assert_eq!(made["spec"]["lon"].to_string(), lon);
        let stored = api.state().cache.get("example.com/places", &format!("default/{name}")).unwrap();
        let text = String::from_utf8_lossy(&stored.bytes).into_owned();
        assert!(text.contains(&format!(r#""lon":{lon}"#)), "{text}");
    }
}

#[tokio::test]
async fn a_whole_float_is_stored_as_an_integer_which_scale_finds() {
    let api = with_places().await;
    let made = api.made(PLACES, place("p", json!({"replicas": 3.0, "lon": 4.0}))).await;
    assert_eq!(made["spec"], json!({"replicas": 3, "lon": 4, "most": 3}));
    let one = format!("{PLACES}/p");
    let (code, patched) = api.patch(&one, json!({"spec": {"replicas": 10.0}})).await;
    assert_eq!((code, &patched["spec"]["replicas"]), (200, &json!(10)), "{patched}");
    let (code, scale) = api.get(&format!("{one}/scale")).await;
    assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(10)), "{scale}");
    let mut replaced = api.get(&one).await.1;
    replaced["spec"]["replicas"] = json!(5.0);
    let (code, replaced) = api.put(&one, replaced).await;
    assert_eq!((code, &replaced["spec"]["replicas"]), (200, &json!(5)), "{replaced}");
    let (code, refused) = api.patch(&one, json!({"spec": {"replicas": 1e300}})).await;
    assert_eq!(code, 422, "{refused}");
}

/// A quantity that is a number in JSON keeps its text, as in Go.
#[tokio::test]
async fn a_number_that_is_a_quantity_keeps_its_text() {
    const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
    let api = Api::bare().await;
    let one = format!("{QUOTAS}/q");
    for (method, path, media, cpu) in [
        ("POST", QUOTAS, "application/json", "1E3"),
        ("PUT", &one, "application/json", "1.500"),
        ("PATCH", &one, "application/merge-patch+json", "2e+3"),
    ] {
        let body = format!(r#"{{"metadata": {{"name": "q"}}, "spec": {{"hard": {{"cpu": {cpu}}}}}}}"#);
        let admin = User::new("admin", &[MASTERS]);
        let (code, made) = send(&api.fixture.server, admin, (method, path), (media, body), "").await;
        assert!(matches!(code, 200 | 201), "{made}");
        assert_eq!(made["spec"]["hard"]["cpu"], cpu);
    }
}

#[tokio::test]
async fn floats_are_stored_and_answered_as_go_writes_them() {
    let api = with_places().await;
    api.made(PLACES, place("a", json!({"lon": 1e-6}))).await;
    let stored = api.state().cache.get("example.com/places", "default/a").unwrap();
    let text = String::from_utf8_lossy(&stored.bytes).into_owned();
    assert!(text.contains(r#""lon":0.000001"#), "{text}");
}
