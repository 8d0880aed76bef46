//! Roles and bindings.

use super::text::Text;
use api::gostr;
use api::value;
use serde_json::{Value, json};

/// One line of a role: one resource of one group.
struct Rule {
    group: Option<String>,
    resource: Option<String>,
    names: Vec<String>,
    urls: Vec<String>,
    verbs: Vec<String>,
}

fn strings(rule: &Value, key: &str) -> Vec<String> {
    value::list(rule, key).iter().filter_map(Value::as_str).map(String::from).collect()
}

/// Splits rules into single permissions, and joins those of one resource again. Source: kubectl's
/// `pkg/util/rbac/rbac.go`, `BreakdownRule` and `CompactRules`.
fn rules(role: &Value) -> Vec<Rule> {
    let mut found: Vec<Rule> = vec![];
    let mut add = |rule: Rule, verb: &str| {
        let same =
            |r: &&mut Rule| r.group == rule.group && r.resource == rule.resource && r.names == rule.names;
        // URLs are not put together, so each of their verbs has a line.
        match found.iter_mut().find(same).filter(|_| rule.resource.is_some()) {
            Some(known) if known.verbs.iter().any(|there| there == verb) => {}
            Some(known) => known.verbs.push(verb.into()),
            None => found.push(Rule { verbs: vec![verb.into()], ..rule }),
        }
    };
    let parts = ["rules", "resourceRules", "nonResourceRules"];
    for rule in parts.iter().flat_map(|p| value::list(role, p)) {
        let verbs = strings(rule, "verbs");
        for group in strings(rule, "apiGroups") {
            for resource in strings(rule, "resources") {
                let names = strings(rule, "resourceNames");
                let each: Vec<Vec<String>> = if names.is_empty() {
                    vec![vec![]]
                } else {
                    names.into_iter().map(|n| vec![n]).collect()
                };
                for (verb, names) in verbs.iter().flat_map(|v| each.iter().map(move |n| (v, n))) {
                    let (group, resource) = (Some(group.clone()), Some(resource.clone()));
                    add(Rule { group, resource, names: names.clone(), urls: vec![], verbs: vec![] }, verb);
                }
            }
        }
        for url in strings(rule, "nonResourceURLs") {
            for verb in &verbs {
                let urls = vec![url.clone()];
                add(Rule { group: None, resource: None, names: vec![], urls, verbs: vec![] }, verb);
            }
        }
    }
    // Sorted by the text that Go's protobuf makes of a rule.
    found.sort_by_key(|r| {
        let list = |items: &[String]| format!("[{}]", items.join(" "));
        let one = |item: &Option<String>| format!("[{}]", item.as_deref().unwrap_or(""));
        format!(
            "Verbs:{},APIGroups:{},Resources:{},ResourceNames:{},NonResourceURLs:{}",
            list(&r.verbs),
            one(&r.group),
            one(&r.resource),
            list(&r.names),
            list(&r.urls)
        )
    });
    found
}

/// `deployments.apps/scale`
fn combined(rule: &Rule) -> String {
    let (Some(group), Some(resource)) = (&rule.group, &rule.resource) else { return String::new() };
    match (group.as_str(), resource.split_once('/')) {
        ("", _) => resource.clone(),
        (group, Some((resource, sub))) => format!("{resource}.{group}/{sub}"),
        (group, None) => format!("{resource}.{group}"),
    }
}

/// Rows of four cells: resource, URLs, names, verbs. `holder` has `rules` (a role) or what a rules
/// review answers.
pub(crate) fn rows(holder: &Value) -> Vec<String> {
    let list = |items: &[String]| gostr::plain(&json!(items));
    rules(holder)
        .iter()
        .map(|r| format!("{}\t{}\t{}\t{}", combined(r), list(&r.urls), list(&r.names), list(&r.verbs)))
        .collect()
}

pub(super) fn role(text: &mut Text, role: &Value) {
    text.field(0, "Name", value::text(role, "metadata.name"));
    text.labels("Labels", value::at(role, "metadata.labels"));
    text.annotations("Annotations", value::at(role, "metadata.annotations"));
    text.line(0, "PolicyRule:");
    text.line(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
    text.line(1, "---------\t-----------------\t--------------\t-----");
    rows(role).iter().for_each(|row| text.line(1, row));
}

pub(super) fn binding(text: &mut Text, binding: &Value) {
    text.field(0, "Name", value::text(binding, "metadata.name"));
    text.labels("Labels", value::at(binding, "metadata.labels"));
    text.annotations("Annotations", value::at(binding, "metadata.annotations"));
    text.line(0, "Role:");
    text.field(1, "Kind", value::text(binding, "roleRef.kind"));
    text.field(1, "Name", value::text(binding, "roleRef.name"));
    text.line(0, "Subjects:");
    text.line(1, "Kind\tName\tNamespace");
    text.line(1, "----\t----\t---------");
    for subject in value::list(binding, "subjects") {
        let part = |key: &str| value::text(subject, key);
        text.line(1, format!("{}\t{}\t{}", part("kind"), part("name"), part("namespace")));
    }
}

#[cfg(test)]
mod tests {
    use super::rows;
    use serde_json::json;

    #[test]
    fn each_verb_of_a_url_has_a_line_and_no_verb_of_a_resource_is_printed_twice() {
        let role = json!({"rules": [
            {"nonResourceURLs": ["/a", "/b"], "verbs": ["get", "post"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "get"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["pods"], "resourceNames": ["x", "y"], "verbs": ["delete"]},
        ]});
        let want = [
            "pods\t[]\t[x]\t[delete]",
            "pods\t[]\t[y]\t[delete]",
            "pods\t[]\t[]\t[get list watch]",
            "\t[/a]\t[]\t[get]",
            "\t[/b]\t[]\t[get]",
            "\t[/a]\t[]\t[post]",
            "\t[/b]\t[]\t[post]",
        ];
        assert_eq!(rows(&role), want);
    }
}
