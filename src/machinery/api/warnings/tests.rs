use super::*;
use crate::kinds;
use serde_json::json;

fn warnings_of(group: &str, kind: &str, object: Value, old: Option<Value>) -> Vec<String> {
    warnings(kinds::find(group, "v1", kind).unwrap(), &object, old.as_ref())
}

/// The warnings of a pod with this spec, beside a container.
fn of_spec(more: Value) -> Vec<String> {
    let mut spec = json!({"containers": [{"name": "c"}]});
    crate::patch::merge(&mut spec, &more);
    warnings_of("", "Pod", json!({"metadata": {"name": "p"}, "spec": spec}), None)
}

fn check_specs<const N: usize>(specs: [(Value, Vec<&str>); N]) {
    for (spec, want) in specs {
        assert_eq!(of_spec(spec.clone()), want, "{spec}");
    }
}

#[test]
fn labels_of_nodes_and_lists_without_effect_are_warned_of() {
    let term = |key: &str, values: Value| json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]});
    check_specs([
        (json!({}), vec![]),
        (
            json!({"nodeSelector": {"beta.kubernetes.io/os": "linux", "a": "b"}}),
            vec![
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            ],
        ),
        (
            json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term("node-role.kubernetes.io/master", json!(["-"]))]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term("a", json!(["-"]))}]}}}),
            vec![
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: node-role.kubernetes.io/master is use \"node-role.kubernetes.io/control-plane\" instead",
                "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values[0]: - is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ],
        ),
        (
            json!({"topologySpreadConstraints": [{"topologyKey": "failure-domain.beta.kubernetes.io/zone"}]}),
            vec![
                "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
                "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
            ],
        ),
        (
            json!({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "a"}}]}}}),
            vec![
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod",
            ],
        ),
        (
            json!({"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}], "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {"name": ""}]}),
            vec![
                "spec.hostAliases[1].ip: duplicate ip \"10.0.0.1\"",
                "spec.imagePullSecrets[1].name: duplicate name \"a\"",
                "spec.imagePullSecrets[2].name: invalid empty name \"\"",
            ],
        ),
    ]);
}

#[test]
fn amounts_ports_and_volumes_of_a_pod_are_warned_of() {
    let port = |more: Value| {
        let mut port = json!({"containerPort": 80, "protocol": "TCP"});
        crate::patch::merge(&mut port, &more);
        port
    };
    let ports = |ports: Value| json!({"containers": [{"name": "c", "ports": ports}]});
    check_specs([
        (
            json!({"terminationGracePeriodSeconds": -1, "containers": [{"name": "c", "resources": {"limits": {"memory": "500m", "cpu": "500m"}, "requests": {"memory": "1Mi"}}}]}),
            vec![
                "spec.containers[0].resources.limits[memory]: fractional byte value \"500m\" is invalid, must be an integer",
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            ],
        ),
        (
            ports(json!([
                port(json!({"name": "a"})),
                port(json!({"hostPort": 80, "name": "a"})),
                port(json!({"protocol": "UDP"}))
            ])),
            vec![
                "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[1]: duplicate port name \"a\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]",
            ],
        ),
        (
            ports(json!([
                port(json!({"hostPort": 8080})),
                port(json!({"hostPort": 8080, "hostIP": "10.0.0.1"})),
                port(json!({"hostPort": 8081}))
            ])),
            vec![
                "spec.containers[0].ports[1]: dangerously ambiguous port definition with spec.containers[0].ports[0]",
            ],
        ),
        (
            ports(json!([port(json!({"hostIP": "10.0.0.1"}))])),
            vec![
                "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP HostIP:10.0.0.1}",
            ],
        ),
        (
            json!({"initContainers": [{"name": "i", "ports": [port(json!({}))]}], "containers": [{"name": "c", "ports": [port(json!({}))]}]}),
            vec![
                "spec.containers[0].ports[0]: duplicate port definition with spec.initContainers[0].ports[0]",
            ],
        ),
        (
            json!({"volumes": [{"name": "v", "gitRepo": {}}, {"name": "w", "storageos": {}}, {"name": "x", "ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1500m"}}}}}}]}),
            vec![
                "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
                "spec.volumes[1].storageOS: deprecated in v1.22, non-functional in v1.25+",
                "spec.volumes[2].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer",
            ],
        ),
    ]);
}

#[test]
fn a_variable_may_add_to_an_earlier_one_of_its_name() {
    for (second, hides) in [
        (json!({"name": "A", "value": "x"}), true),
        (json!({"name": "A", "value": "$(A)"}), true),
        (json!({"name": "A", "value": "$(A):x"}), false),
        (json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}), true),
        (json!({"name": "B", "value": "x"}), false),
    ] {
        let env = json!([{"name": "A", "value": "1"}, second]);
        let found = of_spec(json!({"containers": [{"name": "c", "env": env}]}));
        let want = "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply";
        assert_eq!(found, vec![want; usize::from(hides)], "{second}");
    }
}

#[test]
fn files_of_a_volume_that_are_in_each_others_way_are_named() {
    let items =
        |paths: &[&str]| -> Value { paths.iter().map(|path| json!({"key": "k", "path": path})).collect() };
    for (volume, want) in [
        (json!({"configMap": {"name": "m", "items": items(&["a", "ab", "b/"])}}), vec![]),
        (
            json!({"configMap": {"name": "m", "items": items(&["a", "a/b", "a"])}}),
            vec![
                "volume \"v\" (ConfigMap \"m\"): overlapping paths: \"a/b\" with \"a\"",
                "volume \"v\" (ConfigMap \"m\"): overlapping paths: \"a\" with \"a\"",
                "volume \"v\" (ConfigMap \"m\"): overlapping paths: \"a\" with \"a/b\"",
            ],
        ),
        (
            json!({"projected": {"sources": [{}, {"secret": {"name": "s", "items": items(&["t/x"])}}, {"serviceAccountToken": {"path": "t/"}}]}}),
            vec![
                "volume \"v\" (Projected) has no sources provided",
                "volume \"v\" (Projected): overlapping paths: \"t\" (ServiceAccountToken) with \"t/x\" (Secret \"s\")",
            ],
        ),
    ] {
        let mut volume = volume;
        volume["name"] = "v".into();
        assert_eq!(of_spec(json!({"volumes": [volume]})), want, "{volume}");
    }
    let many: Vec<String> = (0..20_000).map(|n| format!("d{n}/same/length/of/all")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(of_spec(json!({"volumes": [{"name": "v", "secret": {"items": items(&many)}}]})), [""; 0]);
    let same = vec!["a"; 20_000];
    let found = of_spec(json!({"volumes": [{"name": "v", "secret": {"items": items(&same)}}]}));
    assert_eq!(found.len(), WARNINGS_MAX);
}

#[test]
fn annotations_that_became_fields_are_warned_of() {
    let app_armor = "container.apparmor.security.beta.kubernetes.io/c";
    let all = json!({app_armor: "runtime/default", "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
        "container.seccomp.security.alpha.kubernetes.io/c": "unconfined",
        "scheduler.alpha.kubernetes.io/critical-pod": ""});
    let template = json!({"metadata": {"annotations": all}, "spec": {"containers": [{"name": "c"}]}});
    let mut want = vec![
        "spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
        "spec.template.metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
        "spec.template.metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
        "spec.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the \"appArmorProfile\" field instead",
    ];
    let set = |template: &Value| json!({"metadata": {"name": "s"}, "spec": {"template": template}});
    assert_eq!(warnings_of("apps", "DaemonSet", set(&template), None), want);
    assert_eq!(warnings_of("apps", "DaemonSet", set(&template), Some(set(&template))), [""; 0]);
    let mut changed = template.clone();
    changed["spec"]["securityContext"] = json!({"appArmorProfile": {"type": "RuntimeDefault"}});
    want.pop();
    assert_eq!(warnings_of("apps", "DaemonSet", set(&changed), Some(set(&template))), want);
    assert_eq!(app_armor_of_new_pod(&changed), [""; 0]);
    assert_eq!(app_armor_of_new_pod(&template).len(), 1);
}

#[test]
fn workloads_are_warned_of_their_names_and_limits() {
    let named = |kind: &str, spec: Value| {
        (kind.to_string(), json!({"metadata": {"name": "a.b", "generation": 1}, "spec": spec}))
    };
    let dots = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]";
    let many = json!({"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001});
    let claims = json!([{"spec": {"resources": {"requests": {"storage": "100m"}}}}]);
    let negative = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";
    let indexed = "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
    let part = "spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value \"100m\" is invalid, must be an integer";
    for ((group, (kind, object)), want) in [
        (("apps", named("Deployment", json!({}))), vec![dots]),
        (
            (
                "apps",
                named("StatefulSet", json!({"revisionHistoryLimit": -1, "volumeClaimTemplates": claims})),
            ),
            vec![part, negative],
        ),
        (("batch", named("Job", many)), vec![dots, indexed]),
        (("batch", named("CronJob", json!({"schedule": "TZ=UTC * * * * *"}))), vec![dots]),
    ] {
        assert_eq!(warnings_of(group, &kind, object, None), want, "{kind}");
    }
    let (_, job) = named("CronJob", json!({"schedule": "TZ=UTC * * * * *"}));
    let found = warnings_of("batch", "CronJob", job.clone(), Some(job));
    assert!(
        found.len() == 1 && found[0].starts_with("cannot use TZ or CRON_TZ in spec.spec.schedule"),
        "{found:?}"
    );
}

#[test]
fn a_whole_number_of_bytes_is_never_fractional() {
    for (amount, is_fractional) in
        [("16Pi", false), ("7Ei", false), ("100E", false), ("1Gi", false), ("0.1", true), ("1500m", true)]
    {
        let claim = json!({"spec": {"resources": {"requests": {"storage": amount}}}});
        let found = warnings_of("", "PersistentVolumeClaim", claim, None);
        assert_eq!(found.len(), usize::from(is_fractional), "{amount}: {found:?}");
    }
}

fn check_objects<const N: usize>(objects: [(&str, &str, Value, Vec<&str>); N]) {
    for (group, kind, object, want) in objects {
        assert_eq!(warnings_of(group, kind, object, None), want, "{kind}");
    }
}

#[test]
fn services_volumes_and_claims_are_warned_of_deprecated_and_ignored_fields() {
    let headless = json!({"type": "ClusterIP", "clusterIP": "None", "externalIPs": ["10.0.0.1"], "sessionAffinity": "ClientIP", "externalName": "a"});
    let class = "volume.beta.kubernetes.io/storage-class";
    check_objects([
        (
            "",
            "Service",
            json!({"metadata": {"annotations": {"service.kubernetes.io/topology-aware-hints": "Auto"}}, "spec": headless}),
            vec![
                "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
                "spec.externalName is ignored when spec.type is not \"ExternalName\"",
            ],
        ),
        (
            "",
            "Service",
            json!({"spec": {"type": "ExternalName", "externalName": "a", "externalIPs": ["10.0.0.1"], "trafficDistribution": "PreferClose"}}),
            vec![
                "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
                "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
            ],
        ),
        (
            "",
            "PersistentVolume",
            json!({"metadata": {"annotations": {class: "a"}}, "spec": {"persistentVolumeReclaimPolicy": "Recycle", "rbd": {}}}),
            vec![
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead",
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
                "spec.rbd: deprecated in v1.28, non-functional in v1.31+",
            ],
        ),
        (
            "",
            "PersistentVolumeClaim",
            json!({"metadata": {"annotations": {class: "a"}}, "spec": {"resources": {"limits": {"storage": "1m"}}}}),
            vec![
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead",
                "spec.resources.limits[storage]: fractional byte value \"1m\" is invalid, must be an integer",
            ],
        ),
    ]);
}

#[test]
fn other_objects_are_warned_of_deprecated_and_contradicting_fields() {
    let (secrets, ingress) = ("kubernetes.io/enforce-mountable-secrets", "kubernetes.io/ingress.class");
    let topology = json!([{"matchLabelExpressions": [{"key": "beta.kubernetes.io/arch", "values": ["a"]}]}]);
    check_objects([
        (
            "storage.k8s.io",
            "StorageClass",
            json!({"allowedTopologies": topology}),
            vec![
                "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.14; use \"kubernetes.io/arch\" instead",
            ],
        ),
        (
            "",
            "ServiceAccount",
            json!({"metadata": {"annotations": {secrets: "true"}}}),
            vec![
                "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets",
            ],
        ),
        (
            "",
            "ResourceQuota",
            json!({"spec": {"hard": {"cpu": "2", "limits.cpu": "1", "requests.memory": "1Gi", "limits.memory": "1Gi"}}}),
            vec!["ResourceQuota cpu (2) should be less than limits.cpu (1)"],
        ),
        (
            "networking.k8s.io",
            "Ingress",
            json!({"metadata": {"annotations": {ingress: "a"}}}),
            vec![
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead",
            ],
        ),
        (
            "discovery.k8s.io",
            "EndpointSlice",
            json!({"addressType": "FQDN"}),
            vec!["spec.addressType: FQDN endpoints are deprecated"],
        ),
    ]);
    let account = json!({"metadata": {"annotations": {secrets: "true"}}});
    assert_eq!(warnings_of("", "ServiceAccount", account.clone(), Some(account)), [""; 0]);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"terminationGracePeriodSeconds": -1}});
    assert_eq!(warnings_of("", "Pod", pod.clone(), Some(pod)), [""; 0]);
}

#[test]
fn a_pair_that_no_server_can_use_is_warned_of() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let made = || rcgen::generate_simple_self_signed(vec!["a".to_string()]).unwrap();
    let (own, other) = (made(), made());
    let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let parameters = "-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n";
    let chain = format!("{parameters}{certificate}{certificate}");
    let broken = certificate.replacen("MI", "?", 1);
    let other = other.signing_key.serialize_pem();
    let [certificate, key, chain, broken, other] =
        [&certificate, &key, &chain, &broken, &other].map(|text| text.as_str());
    let switched = "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched";
    for (first, second, want) in [
        (chain, key, vec![]),
        (certificate, other, vec!["tls: private key does not match public key"]),
        ("made up", key, vec!["tls: failed to find any PEM data in certificate input"]),
        (broken, key, vec!["tls: failed to find any PEM data in certificate input"]),
        (key, certificate, vec![switched]),
        (certificate, "", vec!["tls: failed to find any PEM data in key input"]),
        (
            certificate,
            certificate,
            vec!["tls: found a certificate rather than a key in the PEM for the private key"],
        ),
        (
            certificate,
            chain,
            vec![
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [EC PARAMETERS CERTIFICATE CERTIFICATE]",
            ],
        ),
    ] {
        let data = json!({"tls.crt": encode(first), "tls.key": encode(second)});
        let secret = json!({"type": "kubernetes.io/tls", "data": data});
        assert_eq!(warnings_of("", "Secret", secret, None), want, "{first} {second}");
        let opaque = json!({"type": "Opaque", "data": data});
        assert_eq!(warnings_of("", "Secret", opaque, None), [""; 0]);
    }
}
