//! What a request asks for, read from its method and path.

use crate::request::http::Query;
use api::{fields, kinds};
use http::Method;

/// A request as authorization and routing see it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Info {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; or a
    /// lower-case HTTP method.
    pub verb: String,
    /// The path of the URL as it came, still percent-encoded.
    pub path: String,
    /// The path names a resource, below `/api/V` or `/apis/GROUP/V`.
    pub is_resource: bool,
    /// The API group; empty for the core group.
    pub group: String,
    pub(crate) version: String,
    /// The plural: `deployments`.
    pub resource: String,
    /// E.g. `status` or `scale`; mostly empty.
    pub subresource: String,
    pub(crate) namespace: String,
    /// The path has `namespaces/<namespace>/` before its resource. Kinds without namespaces are not
    /// served there.
    pub in_namespace: bool,
    /// The object's name; empty for a collection.
    pub name: String,
    /// The node that a list or watch of pods is limited to, by its field selector.
    pub(crate) on_node: String,
    /// What follows the subresource: `nodes/n1/proxy/<rest>`.
    pub(crate) rest: String,
    /// The path has the old prefix `watch/`, as `/api/v1/watch/pods`. Only reads are served there.
    pub(crate) watch_prefix: bool,
}

impl Info {
    /// Reads a path as upstream's `RequestInfoFactory` does; segments are percent-decoded. A path
    /// that names no resource (`/version`, `/api/v1`) keeps the method, in lower case, as its verb.
    ///
    /// Example: `GET /apis/apps/v1/namespaces/shop/deployments/web/scale` is `get` on resource
    /// `deployments`, subresource `scale`, namespace `shop`, name `web`.
    pub fn parse(method: &Method, path: &str, query: &Query) -> Info {
        let mut info =
            Info { path: path.to_string(), verb: method.as_str().to_lowercase(), ..Info::default() };
        let decoded: Vec<String> = path
            .split('/')
            .filter(|p| !p.is_empty())
            .map(|p| percent_encoding::percent_decode_str(p).decode_utf8_lossy().into_owned())
            .collect();
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let mut rest = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                info.version = version.to_string();
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                (info.group, info.version) = (group.to_string(), version.to_string());
                rest
            }
            _ => return info,
        };
        let mut watch = query.is_true("watch");
        if let ["watch", after @ ..] = rest {
            (watch, info.watch_prefix) = (true, true);
            rest = after;
        }
        if let ["namespaces", namespace, after @ ..] = rest
            && !after.is_empty()
        {
            let is_sub = matches!(after[0], "status" | "finalize");
            if !is_sub {
                rest = after;
                info.in_namespace = true;
            }
            if !is_sub || info.group.is_empty() {
                info.namespace = namespace.to_string();
            }
        }
        info.is_resource = true;
        info.resource = rest.first().map_or("", |r| r).to_string();
        info.name = rest.get(1).map_or("", |r| r).to_string();
        info.subresource = rest.get(2).map_or("", |r| r).to_string();
        info.rest = rest.get(3..).map_or(String::new(), |r| r.join("/"));
        if info.group.is_empty() && info.resource == "namespaces" && info.namespace.is_empty() {
            info.namespace = info.name.clone();
        }
        // As upstream: the parameter `watch` counts only for a path without a name.
        let watch = watch && (info.name.is_empty() || info.watch_prefix);
        info.verb = verb(method, &info, watch).to_string();
        // Authorization takes the name from the same parser as the filter, so the two cannot
        // disagree. As upstream a selector gives no rights where the path has the prefix `watch/`.
        if matches!(info.verb.as_str(), "list" | "watch") && !info.watch_prefix {
            let selector = query.get("fieldSelector");
            info.on_node = fields::required(selector, "spec.nodeName").unwrap_or_default();
            if info.name.is_empty() {
                info.name = fields::required_name(selector).unwrap_or_default();
            }
        }
        info
    }

    /// Returns the namespace of the objects that the path names; empty for cluster-scoped kinds. A
    /// custom resource may be called `namespaces`, too.
    pub fn object_namespace(&self) -> &str {
        if self.group.is_empty() && self.resource == "namespaces" { "" } else { &self.namespace }
    }

    /// Returns the group of a custom resource, whose plural may be that of a resource of another
    /// group; empty for a built-in one.
    pub fn custom_group(&self) -> &str {
        let known = kinds::resource(&self.group, &self.version, &self.resource).is_some();
        if known { "" } else { &self.group }
    }
}

/// Returns the verb of a request for a resource.
fn verb(method: &Method, info: &Info, watch: bool) -> &'static str {
    let one = !info.name.is_empty();
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if one => "delete",
        Method::DELETE => "deletecollection",
        Method::GET | Method::HEAD if watch && info.subresource.is_empty() => "watch",
        Method::GET | Method::HEAD if one => "get",
        Method::GET | Method::HEAD => "list",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, url: &str) -> Info {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        Info::parse(&method.parse().unwrap(), path, &Query::parse(Some(query)))
    }

    /// A right to watch one object, or the pods of one node, is none to this prefix with a selector
    /// (upstream: `verbViaPathPrefix`).
    #[test]
    fn a_selector_gives_no_rights_to_a_path_with_the_prefix_watch() {
        for selector in ["metadata.name%3Dx", "spec.nodeName%3Dn1"] {
            let old = parse("GET", &format!("/api/v1/watch/pods?fieldSelector={selector}"));
            assert_eq!((&*old.verb, &*old.name, &*old.on_node), ("watch", "", ""), "{selector}");
        }
        let named = parse("GET", "/api/v1/watch/namespaces/d/pods/x?fieldSelector=spec.nodeName%3Dn1");
        assert_eq!((&*named.name, &*named.on_node), ("x", ""));
    }

    #[test]
    fn paths_say_what_they_mean() {
        let pod = parse("GET", "/api/v1/namespaces/default/pods/p1/log?container=c");
        assert_eq!(
            (&*pod.verb, &*pod.namespace, &*pod.name, &*pod.subresource),
            ("get", "default", "p1", "log")
        );
        let list = parse("GET", "/apis/apps/v1/deployments?limit=5");
        assert_eq!(
            (&*list.verb, &*list.group, &*list.resource, &*list.namespace),
            ("list", "apps", "deployments", "")
        );
        assert_eq!(parse("GET", "/api/v1/namespaces/x/pods/a?watch=true").verb, "get");
        assert_eq!(parse("GET", "/api/v1/watch/namespaces/x/pods/a").verb, "watch");
        let watch = parse("GET", "/api/v1/pods?watch=true&fieldSelector=metadata.name%3Dx");
        assert_eq!((&*watch.verb, &*watch.name), ("watch", "x"));
        for (selector, name) in [
            ("metadata.name%3D%3Dx", "x"),
            ("a%3Db,metadata.name%3Dx", "x"),
            ("a%3Db%5C,metadata.name%5C%3Dx", ""), // one term: the comma belongs to a's value
            ("metadata.name%21%3Dx", ""),
            ("metadata.name%3Da%2Fb", ""),
            ("metadata.name%3Dx,metadata.name", ""),
        ] {
            let list = parse("GET", &format!("/api/v1/pods?fieldSelector={selector}"));
            assert_eq!((&*list.verb, &*list.name), ("list", name), "{selector}");
        }
        let scoped =
            parse("GET", "/api/v1/pods?watch=1&fieldSelector=status.phase%21%3DFailed,spec.nodeName%3Dn1");
        assert_eq!((&*scoped.on_node, &*scoped.name), ("n1", ""));
        assert_eq!(parse("GET", "/api/v1/pods?fieldSelector=spec.nodeName%21%3Dn1").on_node, "");
        assert_eq!(parse("DELETE", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").on_node, "");
        let many = parse("DELETE", "/api/v1/namespaces/x/pods?fieldSelector=metadata.name%3Dx");
        assert_eq!(
            (&*many.verb, &*many.name),
            ("deletecollection", ""),
            "a right to one name is no right to many"
        );
        let ns = parse("PUT", "/api/v1/namespaces/x/finalize");
        assert_eq!((&*ns.resource, &*ns.name, &*ns.subresource), ("namespaces", "x", "finalize"));
        assert_eq!(ns.object_namespace(), "");
        let custom = parse("GET", "/apis/servicebus.example.com/v1/namespaces/x/namespaces/a");
        assert_eq!((&*custom.resource, &*custom.name, custom.object_namespace()), ("namespaces", "a", "x"));
        let all = parse("GET", "/apis/servicebus.example.com/v1/namespaces");
        assert_eq!((&*all.resource, all.object_namespace()), ("namespaces", ""));
        let cluster = parse("PUT", "/apis/servicebus.example.com/v1/namespaces/a/status");
        assert_eq!((&*cluster.name, &*cluster.subresource, cluster.object_namespace()), ("a", "status", ""));
        assert_eq!(parse("DELETE", "/api/v1/namespaces/x/pods").verb, "deletecollection");
        // Nothing is a detour: a name that another object contains may be any text.
        for name in [".", "..", "%2E%2E"] {
            let secret = parse("GET", &format!("/api/v1/namespaces/x/secrets/{name}"));
            assert_eq!((&*secret.resource, &*secret.namespace), ("secrets", "x"), "{name}");
            assert_eq!(secret.name, name.replace("%2E", "."));
        }
        let page = parse("GET", "/healthz/ping");
        assert!(!page.is_resource && page.verb == "get");
        assert!(!parse("GET", "/apis/apps/v1").is_resource);
    }
}
