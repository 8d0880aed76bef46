//! Rules of real definitions and policies, over objects as large as their schemas allow: the
//! estimate must leave them room.

use super::super::terms;
use super::*;
use serde_json::json;

/// Steps of a rule over an object, counted as those of the variable `self`.
fn cost(rule: &str, this: Json) -> f64 {
    let term = terms::compile(rule).unwrap();
    steps(&term.program.expression().expr, &this, None, false)
}

/// A part of an expression about a field that may be missing, of two references.
fn same(field: &str) -> String {
    let missing = |of: &str| format!("(!has({of}.{field}) || {of}.{field} == '')");
    format!(
        "(({} && {}) || (has(p1.{field}) && has(p2.{field}) && p1.{field} == p2.{field}))",
        missing("p1"),
        missing("p2")
    )
}

#[test]
fn rules_of_the_gateway_api_fit() {
    let name = |n: usize| format!("{}-{n}", "a".repeat(60));
    let parent = |n: usize| {
        json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default",
            "name": name(n), "sectionName": "https", "port": 443})
    };
    let unique = format!(
        "self.all(p1, self.exists_one(p2, p1.group == p2.group && p1.kind == p2.kind && \
         p1.name == p2.name && {} && {} && {}))",
        same("__namespace__"),
        same("sectionName"),
        same("port")
    );
    let steps = cost(&unique, json!((0..32).map(parent).collect::<Vec<_>>()));
    assert!(steps < CALL_MAX / 2.0, "each of 32 parents beside each: {steps}");

    let listener = |n: usize| {
        let certificate = json!({"group": "", "kind": "Secret", "name": name(n)});
        json!({"name": name(n), "port": 443, "protocol": "HTTPS", "hostname": format!("{}.example.com", name(n)),
            "tls": {"mode": "Terminate", "certificateRefs": [certificate]},
            "allowedRoutes": {"namespaces": {"from": "Same"}, "kinds": [{"kind": "HTTPRoute"}]}})
    };
    let ports = "self.all(l1, self.exists_one(l2, l1.port == l2.port && l1.protocol == l2.protocol && \
                 (has(l1.hostname) && has(l2.hostname) ? l1.hostname == l2.hostname : \
                 !has(l1.hostname) && !has(l2.hostname))))";
    let steps = cost(ports, json!((0..64).map(listener).collect::<Vec<_>>()));
    assert!(steps < CALL_MAX / 2.0, "each of 64 listeners beside each: {steps}");

    let matched =
        json!({"path": {"type": "PathPrefix", "value": "/a"}, "headers": [{"name": "x", "value": "y"}]});
    let route = json!({"matches": vec![matched; 8], "backendRefs": [{"name": "a", "port": 80}]});
    let terms: Vec<String> =
        (0..16).map(|n| format!("(self.size() > {n} ? self[{n}].matches.size() : 0)")).collect();
    let steps = cost(&format!("{} <= 128", terms.join(" + ")), json!(vec![route; 16]));
    assert!(steps < CALL_MAX / 10.0, "matches of 16 rules: {steps}");

    let path = r#"(self.type in ['Exact','PathPrefix']) ? self.value.matches(r"""^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$""") : true"#;
    let steps = cost(path, json!({"type": "Exact", "value": format!("/{}", "a".repeat(1_023))}));
    assert!(steps < OBJECT_MAX / 1_024.0, "one of 1024 paths: {steps}");
}

#[test]
fn rules_of_other_definitions_fit() {
    let requirement =
        |n: usize| json!({"key": format!("example.com/{n}"), "operator": "In", "values": ["a", "b"]});
    let requirements = json!((0..100).map(requirement).collect::<Vec<_>>());
    let names: Vec<String> = (0..300).map(|n| format!("name-{n}.example.com")).collect();
    let lines = "key=value of a line that is not short\n".repeat(1_000);
    let managed = json!({"managementPolicies": ["*"], "forProvider": {"region": "eu-west-1"}});
    for (rule, object) in [
        // Karpenter.
        ("self.all(x, x.operator == 'In' ? x.values.size() != 0 : true)", requirements.clone()),
        (
            "self.all(x, (x.operator == 'In' && has(x.minValues)) ? x.values.size() >= x.minValues : true)",
            requirements.clone(),
        ),
        ("self.all(x, !(x.key in ['karpenter.sh/nodepool', 'kubernetes.io/hostname']))", requirements),
        // Crossplane's providers.
        (
            "!('*' in self.managementPolicies || 'Create' in self.managementPolicies || 'Update' in \
             self.managementPolicies) || has(self.forProvider.region) || (has(self.initProvider) && \
             has(self.initProvider.region))",
            managed,
        ),
        // Names, one by one, and as many as an object has.
        ("self.all(n, n.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9-]+)*$'))", json!(names)),
        ("self.all(n, n.size() <= 253 && !n.startsWith('kube-') && n.endsWith('.com'))", json!(names)),
        ("self.map(n, n.lowerAscii()).filter(n, n.contains('example')).size() <= 300", json!(names)),
        // Lines of a file.
        (r"self.split('\n').all(line, line.size() < 200)", json!(lines)),
        (r"self.split('\n').all(line, line == '' || line.matches('^[a-z]+=[^=]*$'))", json!(lines)),
    ] {
        let steps = cost(rule, object);
        assert!(steps < CALL_MAX / 2.0, "{rule}: {steps}");
    }
}

#[test]
fn rules_of_policies_fit() {
    let container = |n: usize| {
        json!({"name": format!("c-{n}"), "image": format!("registry.example.com/team/project/image-{n}:v1.2.3"),
            "resources": {"limits": {"memory": "1Gi"}}})
    };
    let containers: Vec<Json> = (0..20).map(container).collect();
    let applied = json!({"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(200_000),
        "gateway.networking.k8s.io/channel": "standard"});
    let object = json!({"metadata": {"annotations": applied}, "spec": {"containers": containers}});
    let params = json!({"pattern": "^registry[.]example[.]com/"});
    for rule in [
        "object.spec.containers.all(c, has(c.resources) && has(c.resources.limits) && \
         quantity(c.resources.limits.memory).isLessThan(quantity('2Gi')))",
        "object.spec.containers.all(c, c.image.matches(params.pattern))",
        "object.spec.containers.map(c, c.image.split('/')[0]).all(host, host in ['registry.example.com'])",
        "!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.hostPath))",
        "has(object.metadata.annotations) && object.metadata.annotations.exists(k, k == \
         'gateway.networking.k8s.io/channel') && \
         object.metadata.annotations['gateway.networking.k8s.io/channel'] == 'standard'",
    ] {
        let term = terms::compile(rule).unwrap();
        let known = [("object", Some(&object)), ("params", Some(&params))];
        let steps = steps_over(&term.program.expression().expr, &known);
        assert!(steps < CALL_MAX / 4.0, "{rule}: {steps}");
    }
}
