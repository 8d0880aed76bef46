//! Variables, references, and the facts of a pod.

use super::*;

/// A million empty values are few bytes of text, and much memory.
#[test]
fn variables_are_bounded_by_number_too() {
    let mut left = ALL_MAX;
    let taken = (0..1_000_000).take_while(|_| take_bytes(&mut left, size("A", "")).is_ok()).count();
    assert!(taken <= ALL_MAX / 48, "{taken}");
    let many = |n: usize| vec![("A".to_string(), String::new()); n];
    assert!(is_small(&many(100)) && !is_small(&many(1000)));
}

#[test]
fn expansion_follows_the_api() {
    let lookup = |n: &str| (n == "A").then(|| "x".to_string());
    let plain = |text: &str| expand(text, lookup).unwrap();
    assert_eq!(plain("$(A)-$(B)-$$(A)-$A-$"), "x-$(B)-$(A)-$A-$");
    assert_eq!(plain("$(A-$(A)-$$-$("), "$(A-$(A)-$-$(", "the name ends at the first bracket");
    assert_eq!(plain(&"$(".repeat(1 << 20)).len(), 2 << 20);
}

/// A few lines of a pod would otherwise take all memory of the program, which is the whole
/// cluster.
#[test]
fn references_that_multiply_are_refused_before_they_are_made() {
    let value = |of: &str| format!("$({of})").repeat(1000);
    let mut env = vec![serde_json::json!({"name": "V0", "value": "x".repeat(1000)})];
    env.extend(
        (1..9).map(|n| serde_json::json!({"name": format!("V{n}"), "value": value(&format!("V{}", n - 1))})),
    );
    let with = |container: serde_json::Value, sources: &Sources| {
        let pod = serde_json::json!({"metadata": {"name": "p"}, "spec": {"containers": [container]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let (node_ip, pod_ip) = (String::new(), String::new());
        let facts = Facts { pod: &pod, node_name: "n", node_ip, pod_ip, allocatable: Amount::default() };
        of(&pod.spec.as_ref().unwrap().containers[0], &facts, sources, vec![])
    };
    let refused = with(serde_json::json!({"name": "c", "env": env}), &Sources::default()).unwrap_err();
    assert!(refused.starts_with("argument list too long"), "{refused}");
    // One large object under many names.
    let mut sources = Sources::default();
    let data = Some([("k".to_string(), "x".repeat(1 << 20))].into());
    sources.config_maps.insert("large".into(), ConfigMap { data, ..ConfigMap::default() });
    let from =
        (0..1000).map(|n| serde_json::json!({"prefix": format!("P{n}"), "configMapRef": {"name": "large"}}));
    let from: Vec<_> = from.collect();
    assert!(with(serde_json::json!({"name": "c", "envFrom": from}), &sources).is_err());
    let key = serde_json::json!({"configMapKeyRef": {"name": "large", "key": "k"}});
    let env = (0..1000).map(|n| serde_json::json!({"name": format!("V{n}"), "valueFrom": key}));
    assert!(with(serde_json::json!({"name": "c", "env": env.collect::<Vec<_>>()}), &sources).is_err());
    let one = serde_json::json!({"name": "c", "env": [{"name": "A", "valueFrom": key}]});
    assert_eq!(with(one, &sources).unwrap()[0].1.len(), 1 << 20, "one such value is the kernel's to refuse");
}

#[test]
fn the_node_has_an_old_name_too() {
    let pod = Pod::default();
    let (node_ip, pod_ip) = (String::new(), String::new());
    let facts = Facts { pod: &pod, node_name: "n", node_ip, pod_ip, allocatable: Amount::default() };
    for path in ["spec.nodeName", "spec.host"] {
        assert_eq!(facts.field(path).as_deref(), Ok("n"), "{path}");
    }
}

/// The API bounds neither the ports of a Service nor the Services of a namespace.
#[test]
fn variables_of_services_are_counted_before_they_are_made() {
    let service = |name: &str, ports: i32| -> Arc<Service> {
        let port = |n: i32| serde_json::json!({"name": format!("p{n}"), "port": n});
        let ports: Vec<_> = (1..=ports).map(port).collect();
        let meta = serde_json::json!({"namespace": "d", "name": name});
        let spec = serde_json::json!({"clusterIP": "10.96.0.9", "ports": ports});
        Arc::new(serde_json::from_value(serde_json::json!({"metadata": meta, "spec": spec})).unwrap())
    };
    let small = service_variables(&[service("web", 2)], "d", true).unwrap();
    assert_eq!(small.len(), 3 + 2 * 5, "host, port and URL, then five for each port");
    let large: Vec<_> = (0..30).map(|n| service(&format!("{n:x<63}"), 5_000)).collect();
    let refused = service_variables(&large, "d", true).unwrap_err();
    assert!(refused.contains("Services") && refused.contains("enableServiceLinks: false"), "{refused}");
    assert_eq!(service_variables(&large, "d", false), Ok(vec![]));
    // They count together with the container's own.
    let services = vec![("A".to_string(), "x".repeat(ALL_MAX - 100))];
    let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "env": [{"name": "B", "value": "x".repeat(100)}]}]}}))
    .unwrap();
    let (node_ip, pod_ip) = (String::new(), String::new());
    let facts = Facts { pod: &pod, node_name: "n", node_ip, pod_ip, allocatable: Amount::default() };
    let spec = &pod.spec.as_ref().unwrap().containers[0];
    assert!(of(spec, &facts, &Sources::default(), services).unwrap_err().contains("8388608 bytes"));
}

/// In whatever order they come: the informer lists `apps` before `default`, and `shop` behind it.
#[test]
fn a_service_kubernetes_of_the_pods_own_namespace_goes_before_the_one_of_default() {
    let service = |namespace: &str, ip: &str, port: &str| -> Arc<Service> {
        let meta = serde_json::json!({"namespace": namespace, "name": "kubernetes"});
        let spec = serde_json::json!({"clusterIP": ip, "ports": [{"name": port, "port": 443}]});
        Arc::new(serde_json::from_value(serde_json::json!({"metadata": meta, "spec": spec})).unwrap())
    };
    let master = service("default", "10.96.0.1", "https");
    let hosts = |all: &[Arc<Service>], namespace: &str, links: bool| -> Vec<String> {
        let mut variables = service_variables(all, namespace, links).unwrap();
        assert_eq!(variables.len(), 3 + 5, "of one Service: {variables:?}");
        variables.retain(|(name, _)| name == "KUBERNETES_SERVICE_HOST");
        variables.into_iter().map(|(_, ip)| ip).collect()
    };
    for namespace in ["apps", "shop"] {
        let own = service(namespace, "010.96.0.9", "web");
        for all in [[own.clone(), master.clone()], [master.clone(), own.clone()]] {
            assert_eq!(hosts(&all, namespace, true), ["10.96.0.9"]);
            assert_eq!(hosts(&all, namespace, false), ["10.96.0.1"]);
            assert_eq!(hosts(&all, "other", true), ["10.96.0.1"]);
        }
        let headless = service(namespace, "None", "web");
        assert_eq!(hosts(&[master.clone(), headless], namespace, true), ["10.96.0.1"]);
    }
}

/// Only what the container refers to is kept of an object, and no more than a container may
/// have.
#[test]
fn objects_that_variables_come_from_are_counted_as_they_are_fetched() {
    let key = |kind: &str, name: &str, key: &str| serde_json::json!({"name": "V", "valueFrom": {kind: {"name": name, "key": key}}});
    let spec: Spec = serde_json::from_value(serde_json::json!({"name": "c",
        "envFrom": [{"configMapRef": {"name": "whole"}}],
        "env": [key("configMapKeyRef", "part", "a"), key("secretKeyRef", "s", "b")],
    }))
    .unwrap();
    let (maps, secrets) = needs(&spec);
    assert_eq!(maps.keys().map(String::as_str).collect::<Vec<_>>(), ["part", "whole"]);
    let megabyte = "x".repeat(1 << 20);
    let map = || -> ConfigMap {
        let data = ["a", "b"].map(|key| (key.to_string(), megabyte.clone()));
        ConfigMap { data: Some(data.into()), ..ConfigMap::default() }
    };
    let (mut sources, mut left) = (Sources::default(), ALL_MAX);
    sources.keep_config_map("part", map(), &maps["part"], &mut left).unwrap();
    let kept: Vec<&String> = sources.config_maps["part"].data.as_ref().unwrap().keys().collect();
    assert_eq!(kept, ["a"], "the other key is dropped");
    for n in 0..3 {
        sources.keep_config_map(&n.to_string(), map(), &maps["whole"], &mut left).unwrap();
    }
    let refused = sources.keep_config_map("one more", map(), &maps["whole"], &mut left).unwrap_err();
    assert!(refused.contains("more than 8388608 bytes"), "{refused}");
    assert_eq!(sources.config_maps.len(), 4);
    let of_secret = |key: &str| (key.to_string(), k8s_openapi::ByteString(megabyte.clone().into_bytes()));
    let secret = Secret { data: Some([of_secret("a")].into()), ..Secret::default() };
    sources.keep_secret("s", secret, &secrets["s"], &mut left).unwrap();
    assert!(sources.secrets["s"].data.as_ref().unwrap().is_empty(), "nothing refers to its key");
}

#[test]
fn later_variables_see_earlier_ones_and_errors_say_what_is_missing() {
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "p", "namespace": "d", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "env": [
            {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2 $(WEB_SERVICE_HOST)"},
            {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]}]},
    }))
    .unwrap();
    let (node_ip, pod_ip) = ("1.1.1.1".to_string(), "2.2.2.2".to_string());
    let facts = Facts { pod: &pod, node_name: "n", node_ip, pod_ip, allocatable: Amount::default() };
    let spec = &pod.spec.as_ref().unwrap().containers[0];
    let services = vec![("WEB_SERVICE_HOST".to_string(), "10.96.0.9".to_string())];
    assert_eq!(
        of(spec, &facts, &Sources::default(), services.clone()),
        Err("configmap \"cm\" not found".into())
    );
    let mut sources = Sources::default();
    sources.config_maps.insert("cm".into(), ConfigMap::default());
    let missing = of(spec, &facts, &sources, services.clone());
    assert_eq!(missing, Err("couldn't find key k in ConfigMap d/cm".into()));
    let map = ConfigMap { data: Some([("k".to_string(), "v".to_string())].into()), ..ConfigMap::default() };
    sources.config_maps.insert("cm".into(), map);
    let env = of(spec, &facts, &sources, services).unwrap();
    let get = |n: &str| env.iter().find(|(k, _)| k == n).unwrap().1.clone();
    assert_eq!((get("B"), get("L"), get("C")), ("12 10.96.0.9".into(), "web".into(), "v".into()));
}

fn facts(pod: &Pod) -> Facts<'_> {
    let (node_ip, pod_ip) = (String::new(), String::new());
    Facts { pod, node_name: "n1", node_ip, pod_ip, allocatable: Amount::default() }
}

#[test]
fn the_amounts_of_another_container_can_be_asked_for() {
    let limits = |memory: &str| serde_json::json!({"limits": {"memory": memory}});
    let of = |name: &str| {
        let from = serde_json::json!({"containerName": name, "resource": "limits.memory"});
        let env = serde_json::json!([{"name": "M", "valueFrom": {"resourceFieldRef": from}}]);
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [
            {"name": "app", "resources": limits("1Gi")},
            {"name": "agent", "resources": limits("64Mi"), "env": env},
        ]}}))
        .unwrap();
        let spec = &pod.spec.as_ref().unwrap().containers[1];
        super::of(spec, &facts(&pod), &Sources::default(), vec![]).map(|all| all[0].1.clone())
    };
    assert_eq!(of("app").as_deref(), Ok("1073741824"));
    assert_eq!(of("").as_deref(), Ok("67108864"));
    assert_eq!(of("none"), Err("container none not found".into()));
}

#[test]
fn a_variable_from_a_file_is_refused_and_not_left_empty() {
    let pod = Pod::default();
    for optional in [false, true] {
        let from =
            serde_json::json!({"volumeName": "v", "path": "app.env", "key": "K", "optional": optional});
        let env = serde_json::json!([{"name": "K", "valueFrom": {"fileKeyRef": from}}]);
        let spec: Spec = serde_json::from_value(serde_json::json!({"name": "c", "env": env})).unwrap();
        let refused = super::of(&spec, &facts(&pod), &Sources::default(), vec![]).unwrap_err();
        assert_eq!(refused, "key K of file \"app.env\": variables from files are not supported");
    }
}

#[test]
fn a_secret_that_is_no_text_is_no_variable() {
    let pod = Pod::default();
    let secret: Secret = serde_json::from_value(serde_json::json!({"data": {"k": "/w=="}})).unwrap();
    let sources = Sources { secrets: [("s".to_string(), secret)].into(), ..Sources::default() };
    for spec in [
        serde_json::json!({"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}),
        serde_json::json!({"name": "c", "env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
    ] {
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let refused = super::of(&spec, &facts(&pod), &sources, vec![]).unwrap_err();
        assert!(refused.starts_with("key k of secret \"s\" is not valid UTF-8"), "{refused}");
    }
}

/// As `strconv.Unquote` reads it: a program written in Go does.
#[test]
fn labels_and_annotations_are_quoted_as_go_quotes_them() {
    let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {
        "labels": {"app": "web"},
        "annotations": {"a": "\u{2764}\u{fe0f} हिन्दी", "b": "one\ntwo \"three\"", "c": "\u{1b}[0m"},
    }}))
    .unwrap();
    let field = |path: &str| facts(&pod).field(path).unwrap();
    assert_eq!(field("metadata.labels"), r#"app="web""#);
    let annotations = ["a=\"\u{2764}\u{fe0f} हिन्दी\"", r#"b="one\ntwo \"three\"""#, r#"c="\x1b[0m""#];
    assert_eq!(field("metadata.annotations"), annotations.join("\n"));
}
