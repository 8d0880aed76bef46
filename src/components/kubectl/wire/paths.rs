//! Paths of resources and objects.

use client::discovery::Resource;
pub(crate) use client::segment;

/// `/apis/apps/v1/namespaces/default/deployments`; an empty namespace is all of them (or a
/// cluster-scoped resource).
pub(crate) fn collection(resource: &Resource, namespace: &str) -> String {
    let root = match resource.group.as_str() {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    match (resource.namespaced, namespace) {
        (true, namespace) if !namespace.is_empty() => within(&root, namespace, &resource.plural),
        _ => format!("{root}/{}", resource.plural),
    }
}

/// The collection of a resource in one namespace, below a root such as `/apis/apps/v1`.
pub(crate) fn within(root: &str, namespace: &str, plural: &str) -> String {
    format!("{root}/namespaces/{}/{plural}", segment(namespace))
}

/// The path of one object.
pub(crate) fn object(resource: &Resource, namespace: &str, name: &str) -> String {
    format!("{}/{}", collection(resource, namespace), segment(name))
}

/// Refuses a path in which a name is missing (it would mean the whole collection: `delete pod ""`),
/// or has a form that no server accepts.
///
/// # Errors
/// A sentence in kubectl's words, about the first such name.
pub(crate) fn checked(path: &str) -> Result<(), String> {
    for (i, part) in path.trim_start_matches('/').split('/').enumerate() {
        let name = percent_encoding::percent_decode_str(part).decode_utf8_lossy();
        let wrong: Vec<String> = match name.as_ref() {
            "" => return Err("resource name may not be empty".into()),
            "." | ".." => vec![format!("may not be '{name}'")],
            _ => ['/', '%']
                .iter()
                .filter(|c| name.contains(**c))
                .map(|c| format!("may not contain '{c}'"))
                .collect(),
        };
        if !wrong.is_empty() {
            let namespace =
                path.split('/').nth(i) == Some("namespaces") && path.split('/').nth(i + 2).is_some();
            let what = if namespace { "namespace" } else { "resource name" };
            return Err(format!("invalid {what} {}: [{}]", api::gostr::quote(&name), wrong.join(" ")));
        }
    }
    Ok(())
}

/// The resource (`deployments.apps`) and name that a path speaks of.
pub(crate) fn resource_of(path: &str) -> Option<(String, String)> {
    let path = path.split('?').next()?;
    let mut words = path.trim_start_matches('/').split('/');
    let group = match words.next()? {
        "api" => "",
        "apis" => words.next()?,
        _ => return None,
    };
    words.next()?;
    let rest: Vec<&str> = words.collect();
    let (resource, name) = match rest.as_slice() {
        ["namespaces", _, resource, name, ..] => (*resource, *name),
        ["namespaces", _, resource] => (*resource, ""),
        [resource, name, ..] => (*resource, *name),
        [resource] => (*resource, ""),
        [] => return None,
    };
    let qualified = api::status::qualified(group, resource);
    Some((qualified, name.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{checked, object, resource_of, within};
    use client::discovery::Resource;

    #[test]
    fn a_name_is_one_segment_of_a_path() {
        let pods =
            Resource { version: "v1".into(), plural: "pods".into(), namespaced: true, ..Resource::default() };
        assert_eq!(object(&pods, "d", "system:a"), "/api/v1/namespaces/d/pods/system:a");
        assert_eq!(object(&pods, "a/b", "p?q"), "/api/v1/namespaces/a%2Fb/pods/p%3Fq");
        assert_eq!(within("/apis/apps/v1", "a?", "replicasets"), "/apis/apps/v1/namespaces/a%3F/replicasets");
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        let error = |path| checked(path).err().unwrap_or_default();
        assert_eq!(error("/api/v1/namespaces/default/pods/"), "resource name may not be empty");
        assert_eq!(error("/api/v1/namespaces/default/pods//log"), "resource name may not be empty");
        assert_eq!(error("/api/v1/nodes/.."), "invalid resource name \"..\": [may not be '..']");
        assert_eq!(
            error("/api/v1/namespaces/d/pods/a%2Fb%25"),
            "invalid resource name \"a/b%\": [may not contain '/' may not contain '%']"
        );
        assert_eq!(
            error("/api/v1/namespaces/a%2Fb/pods/p"),
            "invalid namespace \"a/b\": [may not contain '/']"
        );
        assert_eq!(error("/apis/apps/v1/namespaces/default/deployments/web/scale"), "");
    }

    #[test]
    fn paths_name_their_resource() {
        let of = |path| resource_of(path).unwrap();
        assert_eq!(of("/api/v1/namespaces/default/pods/p/log"), ("pods".into(), "p".into()));
        assert_eq!(of("/apis/apps/v1/deployments?limit=1"), ("deployments.apps".into(), "".into()));
        assert_eq!(of("/api/v1/namespaces/x"), ("namespaces".into(), "x".into()));
        assert_eq!(resource_of("/version"), None);
    }
}
