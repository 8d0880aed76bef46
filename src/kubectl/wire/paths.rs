//! Where a resource's objects are.

use super::discovery::Resource;

/// `/apis/apps/v1/namespaces/default/deployments`; an empty namespace is all of them (or a cluster-scoped resource).
pub fn collection(resource: &Resource, namespace: &str) -> String {
    let root = match resource.group.as_str() {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    match (resource.namespaced, namespace) {
        (true, namespace) if !namespace.is_empty() => {
            format!("{root}/namespaces/{namespace}/{}", resource.plural)
        }
        _ => format!("{root}/{}", resource.plural),
    }
}

/// One object.
pub fn object(resource: &Resource, namespace: &str, name: &str) -> String {
    format!("{}/{}", collection(resource, namespace), segment(name))
}

/// A name as a segment of a path.
pub fn segment(name: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const SAFE: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');
    utf8_percent_encode(name, SAFE).to_string()
}

/// The resource (`deployments.apps`) and name that a path speaks of.
pub fn resource_of(path: &str) -> Option<(String, String)> {
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
    let qualified = crate::api::status::qualified(group, resource);
    Some((qualified, name.to_string()))
}

#[cfg(test)]
mod tests {
    use super::resource_of;

    #[test]
    fn paths_tell_what_they_speak_of() {
        let of = |path| resource_of(path).unwrap();
        assert_eq!(of("/api/v1/namespaces/default/pods/p/log"), ("pods".into(), "p".into()));
        assert_eq!(of("/apis/apps/v1/deployments?limit=1"), ("deployments.apps".into(), "".into()));
        assert_eq!(of("/api/v1/namespaces/x"), ("namespaces".into(), "x".into()));
        assert_eq!(resource_of("/version"), None);
    }
}
