//! Which requests a policy, or a binding, is about (`MatchResources`).

use crate::labels::Selector;
use crate::value::{at, list, text};
use serde_json::Value;

/// A request as rules and selectors see it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'a str,
    /// The group, version and resource that the client wrote.
    pub resource: (&'a str, &'a str, &'a str),
    /// E.g. `status`; empty for the object itself.
    pub subresource: &'a str,
    /// The name that the request gives; empty if the server makes one, and for a deletecollection.
    pub name: &'a str,
    /// The namespace of the object. Of a namespace it is its own name.
    pub namespace: &'a str,
    /// Groups and versions under which the resource is served as well.
    pub equivalents: &'a [(&'a str, &'a str)],
}

impl Request<'_> {
    /// True for a namespace itself, which is no namespaced object.
    fn is_namespace(&self) -> bool {
        (self.resource.0, self.resource.2) == ("", "namespaces")
    }
}

/// Which requests a policy or a binding is about, read once.
#[derive(Debug)]
pub struct Criteria {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    is_exact: bool,
    namespaces: Option<Selector>,
    objects: Option<Selector>,
}

#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

fn matches_any(words: &[String], word: &str) -> bool {
    words.iter().any(|known| known == "*" || known == word)
}

impl Rule {
    fn read(rule: &Value) -> Rule {
        let words = |name: &str| {
            let all = list(rule, name).iter().filter_map(Value::as_str);
            all.map(String::from).collect()
        };
        Rule {
            operations: words("operations"),
            groups: words("apiGroups"),
            versions: words("apiVersions"),
            resources: words("resources"),
            names: words("resourceNames"),
            scope: text(rule, "scope").to_string(),
        }
    }

    /// Returns whether the rule is about a request in this group and version.
    fn matches(&self, request: &Request, (group, version): (&str, &str)) -> bool {
        let in_namespace = !request.namespace.is_empty() && !request.is_namespace();
        let is_in_scope = match self.scope.as_str() {
            "Namespaced" => in_namespace,
            "Cluster" => !in_namespace,
            _ => true,
        };
        let is_resource = |word: &String| {
            let (resource, sub) = word.split_once('/').unwrap_or((word, ""));
            (resource == "*" || resource == request.resource.2) && (sub == "*" || sub == request.subresource)
        };
        is_in_scope
            && matches_any(&self.operations, request.operation)
            && matches_any(&self.groups, group)
            && matches_any(&self.versions, version)
            && self.resources.iter().any(is_resource)
            && (self.names.is_empty() || self.names.iter().any(|name| name == request.name))
    }
}

impl Criteria {
    /// Reads a `MatchResources`. Null matches every request.
    pub fn read(resources: &Value) -> Criteria {
        let rules = |name: &str| list(resources, name).iter().map(Rule::read).collect();
        let selector = |name: &str| Selector::of(at(resources, name)).filter(|s| !s.is_empty());
        Criteria {
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            is_exact: text(resources, "matchPolicy") == "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
        }
    }

    /// Returns the group and version in which a request matches; `None` if it does not. It is that
    /// of the request, or with the match policy `Equivalent` another one of the same resource.
    ///
    /// `objects`: the object as it is to be, and as it was. `labels`: those of the namespace, if
    /// the request is about something in one, or about a namespace itself.
    pub fn matches<'a>(
        &self,
        request: &Request<'a>,
        objects: [Option<&Value>; 2],
        labels: Option<&Value>,
    ) -> Option<(&'a str, &'a str)> {
        // What is in no namespace is never exempted by a selector of namespaces.
        if let (Some(selector), Some(labels)) = (&self.namespaces, labels)
            && !selector.matches(labels)
        {
            return None;
        }
        if let Some(selector) = &self.objects {
            let of = |object: &Value| selector.matches(at(object, "metadata.labels"));
            if !objects.into_iter().flatten().any(of) {
                return None;
            }
        }
        if self.found(&self.excluded, request).is_some() {
            return None;
        }
        match self.rules.is_empty() {
            true => Some((request.resource.0, request.resource.1)),
            false => self.found(&self.rules, request),
        }
    }

    fn found<'a>(&self, rules: &[Rule], request: &Request<'a>) -> Option<(&'a str, &'a str)> {
        let own = (request.resource.0, request.resource.1);
        if rules.iter().any(|rule| rule.matches(request, own)) {
            return Some(own);
        }
        if self.is_exact {
            return None;
        }
        let others = || request.equivalents.iter().copied().filter(|other| *other != own);
        rules.iter().find_map(|rule| others().find(|other| rule.matches(request, *other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request<'a>(operation: &'a str, resource: &'a str) -> Request<'a> {
        Request {
            operation,
            resource: ("apps", "v1", resource),
            subresource: "",
            name: "web",
            namespace: "shop",
            equivalents: &[],
        }
    }

    fn rule(resources: Value) -> Value {
        json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": resources, "scope": "*"})
    }

    fn is_matched(resources: Value, request: &Request) -> bool {
        let object = json!({"metadata": {"labels": {"app": "web"}}});
        let labels = json!({"team": "a"});
        Criteria::read(&resources).matches(request, [Some(&object), None], Some(&labels)).is_some()
    }

    #[test]
    fn a_rule_matches_by_operation_and_resource() {
        let of = |resources: Value| json!({"resourceRules": [rule(resources)]});
        assert!(is_matched(of(json!(["deployments"])), &request("CREATE", "deployments")));
        assert!(!is_matched(of(json!(["deployments"])), &request("UPDATE", "deployments")));
        assert!(!is_matched(of(json!(["deployments"])), &request("CREATE", "replicasets")));
        assert!(is_matched(of(json!(["*"])), &request("CREATE", "replicasets")));
        let status = Request { subresource: "status", ..request("CREATE", "deployments") };
        for (resources, want) in [
            (json!(["deployments"]), false),
            (json!(["*"]), false),
            (json!(["deployments/status"]), true),
            (json!(["deployments/*"]), true),
            (json!(["*/status"]), true),
            (json!(["*/*"]), true),
            (json!(["*/scale"]), false),
        ] {
            assert_eq!(is_matched(of(resources.clone()), &status), want, "{resources}");
        }
        assert!(is_matched(json!({}), &request("CREATE", "deployments")), "a binding without rules");
    }

    #[test]
    fn names_and_scopes_narrow_a_rule() {
        let with = |field: &str, value: Value| {
            let mut rule = rule(json!(["*"]));
            rule[field] = value;
            json!({"resourceRules": [rule]})
        };
        let web = request("CREATE", "deployments");
        assert!(is_matched(with("resourceNames", json!(["db", "web"])), &web));
        assert!(!is_matched(with("resourceNames", json!(["db"])), &web));
        assert!(is_matched(with("scope", json!("Namespaced")), &web));
        assert!(!is_matched(with("scope", json!("Cluster")), &web));
        let node = Request { namespace: "", ..web };
        assert!(is_matched(with("scope", json!("Cluster")), &node));
        let mut any = with("scope", json!("Cluster"));
        any["resourceRules"][0]["apiGroups"] = json!(["*"]);
        let namespace = Request { resource: ("", "v1", "namespaces"), namespace: "web", ..web };
        assert!(is_matched(any, &namespace), "a namespace is in none");
    }

    #[test]
    fn exclusions_and_selectors_come_first() {
        let web = request("CREATE", "deployments");
        let mut with = json!({"resourceRules": [rule(json!(["*"]))]});
        with["namespaceSelector"] = json!({"matchLabels": {"team": "a"}});
        with["objectSelector"] = json!({"matchLabels": {"app": "web"}});
        assert!(is_matched(with.clone(), &web));
        for (field, value) in [
            ("namespaceSelector", json!({"matchLabels": {"team": "b"}})),
            ("objectSelector", json!({"matchLabels": {"app": "db"}})),
            ("excludeResourceRules", json!([rule(json!(["deployments"]))])),
        ] {
            let mut without = with.clone();
            without[field] = value;
            assert!(!is_matched(without, &web), "{field}");
        }
        let elsewhere = Criteria::read(&json!({"namespaceSelector": {"matchLabels": {"team": "b"}}}));
        assert!(elsewhere.matches(&web, [None, None], None).is_some(), "in no namespace: never exempted");
    }

    #[test]
    fn another_version_of_the_resource_matches_as_well() {
        let old = Request { equivalents: &[("apps", "v1"), ("apps", "v2")], ..request("CREATE", "crons") };
        let mut rule = rule(json!(["crons"]));
        rule["apiVersions"] = json!(["v2"]);
        let found = |policy: &str| {
            let resources = json!({"matchPolicy": policy, "resourceRules": [rule]});
            Criteria::read(&resources).matches(&old, [None, None], None)
        };
        assert_eq!(found("Equivalent"), Some(("apps", "v2")));
        assert_eq!(found("Exact"), None);
    }
}
