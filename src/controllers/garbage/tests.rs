//! The edge of the collector against a server that says what it is asked for.

use super::*;
use crate::client::testing::{Scripted, refusal};

fn collector(server: &Scripted) -> Collector {
    let shared = Shared::fixed(&server.client);
    let queue = WorkQueue::new(&shared.crew);
    let (graph, watched, defined) = (Mutex::default(), Mutex::default(), Notify::new());
    Collector { shared, graph, watched, defined, queue }
}

#[tokio::test]
async fn an_owners_name_asks_for_an_object_and_for_nothing_else() {
    let server = Scripted::new(|_| refusal(404, "NotFound")).await;
    let collector = collector(&server);
    let dependent = Node {
        api: ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
        namespaced: true,
        key: Key::new("d", "x"),
        version: None,
        owners: vec![],
        going: false,
        finalizers: vec![],
    };
    for (name, path) in
        [("x?watch=true", "x%3Fwatch%3Dtrue"), ("../../../nodes/n", "..%2F..%2F..%2Fnodes%2Fn")]
    {
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name: name.into(),
            uid: name.into(),
            ..OwnerReference::default()
        };
        assert_eq!(collector.standing(&dependent, &owner).await.unwrap(), Standing::Gone);
        assert_eq!(server.lines(), [format!("GET /api/v1/namespaces/d/configmaps/{path}")]);
    }
}
