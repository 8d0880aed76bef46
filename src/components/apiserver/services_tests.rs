//! What the API server gives to Services: addresses, node ports, families, and what they keep.

use super::testing::{self, Fixture, ask};
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";

struct Api {
    fixture: Fixture,
    _dir: tempfile::TempDir,
}

impl Api {
    async fn new() -> Api {
        let dir = tempfile::tempdir().unwrap();
        Api { fixture: testing::start(dir.path()).await, _dir: dir }
    }

    /// Asks for a Service with this spec, and returns the spec that it gets.
    async fn post(&self, name: &str, spec: Value) -> (u16, Value) {
        let service = json!({"metadata": {"name": name}, "spec": spec});
        spec_of(ask(&self.fixture.server, "POST", SERVICES, service).await)
    }

    async fn made(&self, name: &str, spec: Value) -> Value {
        let (code, spec) = self.post(name, spec).await;
        assert_eq!(code, 201, "{spec}");
        spec
    }

    async fn patch(&self, name: &str, spec: Value) -> (u16, Value) {
        let path = format!("{SERVICES}/{name}");
        spec_of(ask(&self.fixture.server, "PATCH", &path, json!({ "spec": spec })).await)
    }
}

/// The spec of an object; of a refusal what it says.
fn spec_of((code, mut answer): (u16, Value)) -> (u16, Value) {
    let field = if code < 300 { "spec" } else { "message" };
    (code, answer[field].take())
}

#[tokio::test]
async fn addresses_from_outside_keep_their_policy_without_node_ports() {
    let api = Api::new().await;
    let spec = json!({"type": "NodePort", "externalIPs": ["203.0.113.7"], "externalTrafficPolicy": "Local",
        "ports": [{"port": 80}]});
    api.made("s", spec).await;
    let (code, spec) = api.patch("s", json!({"type": "ClusterIP"})).await;
    assert_eq!((code, &spec["externalTrafficPolicy"]), (200, &json!("Local")), "{spec}");
    assert_eq!(spec["ports"][0].get("nodePort"), None);
    let (code, spec) = api.patch("s", json!({"externalIPs": null})).await;
    assert_eq!((code, spec.get("externalTrafficPolicy")), (200, None), "{spec}");
}
