//! Which kinds there are: what the garbage collector watches and a dying namespace is emptied of.

use crate::client::Client;
use kube::core::{ApiResource, GroupVersionKind};
use serde::Deserialize;

/// A kind with its scope and verbs.
#[derive(Clone, Debug)]
pub struct Resource {
    pub api: ApiResource,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl Resource {
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

#[derive(Deserialize)]
struct Groups {
    items: Vec<Group>,
}
#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Meta,
    #[serde(default)]
    versions: Vec<Version>,
}
#[derive(Default, Deserialize)]
struct Meta {
    #[serde(default)]
    name: String,
}
#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Entry>,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    resource: String,
    #[serde(default)]
    response_kind: Option<Kind>,
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
}
#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// Every kind in its preferred version, from the aggregated discovery documents.
pub async fn discover(client: &Client) -> Result<Vec<Resource>, kube::Error> {
    let mut found = Vec::new();
    for path in ["/api", "/apis"] {
        let request = http::Request::get(path)
            .header(
                http::header::ACCEPT,
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            )
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        let groups: Groups = client.kube().request(request).await?;
        for group in groups.items {
            let Some(version) = group.versions.into_iter().next() else { continue };
            for entry in version.resources {
                let Some(kind) = entry.response_kind else { continue };
                let gvk = GroupVersionKind::gvk(&group.metadata.name, &version.version, &kind.kind);
                found.push(Resource {
                    api: ApiResource::from_gvk_with_plural(&gvk, &entry.resource),
                    namespaced: entry.scope == "Namespaced",
                    verbs: entry.verbs,
                });
            }
        }
    }
    Ok(found)
}
