//! Discovery: the groups, versions and resources that this server serves, as aggregated documents
//! and as the older lists. Both are made from the table of kinds.

use super::kinds::{Catalog, Kind, Sub};
use serde_json::{Value, json};

/// A group's versions, each with its kinds.
type Versions<'a> = Vec<(&'static str, Vec<&'a Kind>)>;

fn groups(catalog: &Catalog) -> Vec<(&'static str, Versions<'_>)> {
    let mut out: Vec<(&str, Versions)> = vec![];
    for (group, version, kinds) in catalog.group_versions() {
        match out.iter_mut().find(|(g, _)| *g == group) {
            Some((_, versions)) => versions.push((version, kinds)),
            None => out.push((group, vec![(version, kinds)])),
        }
    }
    out
}

/// `APIGroupDiscoveryList`: of the core group for `/api`, of all others for `/apis`. `version` is
/// that of the list itself: `v2`.
pub fn aggregated(catalog: &Catalog, core: bool, version: &str) -> Value {
    let items: Vec<Value> = groups(catalog)
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .into_iter()
                .map(|(version, kinds)| {
                    let resources: Vec<Value> = kinds.iter().map(|k| resource(k)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items})
}

fn resource(kind: &Kind) -> Value {
    let mut out = json!({
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        out["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        out["categories"] = json!(kind.categories);
    }
    if !kind.subresources.is_empty() {
        let subs: Vec<Value> = kind
            .subresources
            .iter()
            .map(|s| {
                let (group, version) = group_version(kind, s);
                json!({"subresource": s.name, "responseKind": {"group": group, "version": version, "kind": s.kind}, "verbs": s.verbs})
            })
            .collect();
        out["subresources"] = subs.into();
    }
    out
}

fn group_version<'a>(kind: &'a Kind, sub: &'a Sub) -> (&'a str, &'a str) {
    if sub.version.is_empty() { (kind.group, kind.version) } else { (sub.group, sub.version) }
}

/// Returns the legacy `/api`.
pub fn api_versions(address: &str) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

fn api_group_entry(group: &str, versions: &[&str]) -> Value {
    let all: Vec<Value> =
        versions.iter().map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v})).collect();
    json!({"name": group, "versions": all, "preferredVersion": all.first()})
}

/// Returns the legacy `/apis`.
pub fn api_group_list(catalog: &Catalog) -> Value {
    let all: Vec<Value> = groups(catalog)
        .into_iter()
        .filter(|(g, _)| !g.is_empty())
        .map(|(g, versions)| api_group_entry(g, &versions.iter().map(|(v, _)| *v).collect::<Vec<_>>()))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": all})
}

/// `/apis/apps`, if there is such a group.
pub fn api_group(catalog: &Catalog, group: &str) -> Option<Value> {
    let (group, versions) = groups(catalog).into_iter().find(|(g, _)| *g == group && !g.is_empty())?;
    let mut out = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Value::Object(out), Value::Object(entry)) =
        (&mut out, api_group_entry(group, &versions.iter().map(|(v, _)| *v).collect::<Vec<_>>()))
    {
        out.extend(entry);
    }
    Some(out)
}

/// `/api/v1` or `/apis/apps/v1`, if there is such a version.
pub fn api_resource_list(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let (_, _, kinds) =
        catalog.group_versions().into_iter().find(|(g, v, _)| *g == group && *v == version)?;
    let mut resources = vec![];
    for kind in kinds {
        let mut entry = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": kind.verbs});
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        resources.push(entry);
        for sub in &kind.subresources {
            let mut entry = json!({"name": format!("{}/{}", kind.plural, sub.name), "singularName": "",
                "namespaced": kind.namespaced});
            if !sub.version.is_empty() {
                entry["group"] = sub.group.into();
                entry["version"] = sub.version.into();
            }
            entry["kind"] = sub.kind.into();
            entry["verbs"] = json!(sub.verbs);
            resources.push(entry);
        }
    }
    let group_version = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Since 1.34 a time that is not set is left out (`omitzero` in `metav1.ObjectMeta`).
    #[test]
    fn groups_have_a_name_and_no_time() {
        let catalog = Catalog::default();
        let of_core = aggregated(&catalog, true, "v2");
        assert_eq!(of_core["items"].as_array().map(Vec::len), Some(1));
        assert_eq!(of_core["items"][0]["metadata"], json!({}));
        let groups = aggregated(&catalog, false, "v2");
        let groups = groups["items"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(groups.iter().any(|group| group["metadata"] == json!({"name": "apps"})));
        assert!(groups.iter().all(|group| group["metadata"].as_object().is_some_and(|m| m.len() == 1)));
    }
}
