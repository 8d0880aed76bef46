use super::*;

fn errors(spec: Value) -> Vec<String> {
    let mut errors = Errors::default();
    let pod = crate::kinds::find("", "v1", "Pod").expect("a kind of the table");
    (pod.validate)(&json!({"spec": spec}), &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn mistakes_that_learners_make() {
    assert_eq!(errors(json!({"containers": []})), ["spec.containers: Required value"]);
    assert_eq!(
        errors(json!({"containers": [{"name": "a"}, {"name": "a", "image": "x"}]})),
        ["spec.containers[0].image: Required value", "spec.containers[1].name: Duplicate value: \"a\""]
    );
    assert_eq!(
        errors(
            json!({"containers": [{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]})
        ),
        ["spec.containers[0].volumeMounts[0].name: Not found: \"v\""]
    );
    assert_eq!(
        errors(json!({"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 99999}]}]})),
        [
            "spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive"
        ]
    );
    assert_eq!(
        errors(json!({"restartPolicy": "Sometimes", "containers": [{"name": "a", "image": "x",
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]})),
        [
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""
        ]
    );
}

/// What is said about one change of a valid pod.
pub(super) fn errors_of(spec: Value) -> Vec<String> {
    let mut whole = json!({"serviceAccountName": "default", "containers": [{"name": "c", "image": "x"}]});
    crate::patch::merge(&mut whole, &spec);
    errors(whole)
}

fn container(c: Value) -> Vec<String> {
    let mut whole = json!({"name": "c", "image": "x"});
    crate::patch::merge(&mut whole, &c);
    errors_of(json!({"containers": [whole]}))
}

fn volume(v: Value) -> Vec<String> {
    let mut whole = json!({"name": "v"});
    crate::patch::merge(&mut whole, &v);
    errors_of(json!({"volumes": [whole]}))
}

#[test]
fn paths_of_volumes_stay_inside_of_them() {
    let item = |path: &str| json!([{"key": "k", "path": path}]);
    for (path, why) in [
        ("/etc/nginx/nginx.conf", "must be a relative path"),
        ("../x", "must not contain '..'"),
        ("a/../../x", "must not contain '..'"),
        ("..", "must not contain '..'"),
        ("..data", "must not start with '..'"),
    ] {
        let expected = |field: &str| vec![format!("spec.volumes[0].{field}: Invalid value: {path:?}: {why}")];
        let config = json!({"configMap": {"name": "m", "items": item(path)}});
        assert_eq!(volume(config), expected("configMap.items[0].path"));
        let secret = json!({"secret": {"secretName": "m", "items": item(path)}});
        assert_eq!(volume(secret), expected("secret.items[0].path"));
        let file = json!([{"path": path, "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}]);
        assert_eq!(volume(json!({"downwardAPI": {"items": file}})), expected("downwardAPI.path"));
        let sources = |source: Value| json!({"projected": {"sources": [source]}});
        assert_eq!(
            volume(sources(json!({"configMap": {"name": "m", "items": item(path)}}))),
            expected("projected.sources[0].configMap.items[0].path")
        );
        assert_eq!(
            volume(sources(json!({"secret": {"name": "m", "items": item(path)}}))),
            expected("projected.sources[0].secret.items[0].path")
        );
        assert_eq!(
            volume(sources(json!({"downwardAPI": {"items": file}}))),
            expected("projected.sources[0].downwardAPI.path")
        );
        assert_eq!(
            volume(sources(json!({"serviceAccountToken": {"path": path, "expirationSeconds": 600}}))),
            expected("projected.path")
        );
    }
    assert_eq!(volume(json!({"configMap": {"name": "m", "items": item("a/..b/c")}})), [""; 0]);
}

#[test]
fn volumes_have_one_source_that_is_whole() {
    let here = "spec.volumes[0]";
    for (source, want) in [
        (json!({}), format!("{here}: Required value: must specify a volume type")),
        (
            json!({"emptyDir": {}, "hostPath": {"path": "/x"}}),
            format!("{here}.hostPath: Forbidden: may not specify more than 1 volume type"),
        ),
        (json!({"hostPath": {}}), format!("{here}.hostPath.path: Required value")),
        (
            json!({"hostPath": {"path": "/a/../b"}}),
            format!("{here}.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"),
        ),
        (
            json!({"hostPath": {"path": "/a", "type": "Foo"}}),
            format!(
                "{here}.hostPath.type: Unsupported value: \"Foo\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""
            ),
        ),
        (
            json!({"configMap": {"name": "m", "defaultMode": 2541}}),
            format!(
                "{here}.configMap.defaultMode: Invalid value: 2541: must be a number between 0 and 0777 (octal), both inclusive"
            ),
        ),
        (
            json!({"secret": {"secretName": "m", "items": [{"key": "a", "path": "b", "mode": -1}]}}),
            format!(
                "{here}.secret.items[0].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive"
            ),
        ),
        (
            json!({"gitRepo": {"repository": "r", "directory": "../x"}}),
            format!("{here}.gitRepo.directory: Invalid value: \"../x\": must not contain '..'"),
        ),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 599}}]}}),
            format!(
                "{here}.projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"
            ),
        ),
        (
            json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 4294967297_i64}}]}}),
            format!(
                "{here}.projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds"
            ),
        ),
        (
            json!({"downwardAPI": {"items": [{"path": "a", "fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}]}}),
            format!(
                "{here}.downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\""
            ),
        ),
        (
            json!({"emptyDir": {"sizeLimit": "-1"}}),
            format!(
                "{here}.emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"
            ),
        ),
    ] {
        assert_eq!(volume(source), [want]);
    }
    let twice = errors_of(json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}));
    assert_eq!(twice, ["spec.volumes[1].name: Duplicate value: \"v\""]);
}

#[test]
fn mounts_name_a_volume_and_stay_below_it() {
    let here = "spec.containers[0].volumeMounts";
    let mounted = |mounts: Value| {
        errors_of(json!({"volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "c", "image": "x", "volumeMounts": mounts}]}))
    };
    let one = |more: Value| {
        let mut mount = json!({"name": "v", "mountPath": "/v"});
        crate::patch::merge(&mut mount, &more);
        mounted(json!([mount]))
    };
    assert_eq!(one(json!({"subPath": "a/b", "subPathExpr": null, "mountPath": "relative"})), [""; 0]);
    for (mount, want) in [
        (json!({"name": "w"}), format!("{here}[0].name: Not found: \"w\"")),
        (json!({"mountPath": null}), format!("{here}[0].mountPath: Required value")),
        (
            json!({"mountPath": "/../x"}),
            format!("{here}[0].mountPath: Invalid value: \"/../x\": must not contain '..'"),
        ),
        (json!({"subPath": "/a"}), format!("{here}.subPath: Invalid value: \"/a\": must be a relative path")),
        (
            json!({"subPath": "a/../b"}),
            format!("{here}.subPath: Invalid value: \"a/../b\": must not contain '..'"),
        ),
        (
            json!({"subPathExpr": "../$(A)"}),
            format!("{here}.subPathExpr: Invalid value: \"../$(A)\": must not contain '..'"),
        ),
        (
            json!({"subPath": "a", "subPathExpr": "b"}),
            format!(
                "{here}[0].subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive"
            ),
        ),
        (
            json!({"mountPropagation": "Bidirectional"}),
            format!(
                "{here}.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"
            ),
        ),
        (
            json!({"recursiveReadOnly": "Enabled"}),
            format!("{here}.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
        ),
    ] {
        assert_eq!(one(mount), [want]);
    }
    let twice = json!([{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]);
    assert_eq!(mounted(twice), [format!("{here}[1].mountPath: Invalid value: \"/v\": must be unique")]);
}

#[test]
fn ids_and_profiles_are_bounded() {
    let range = "must be between 0 and 2147483647, inclusive";
    for id in [-5_i64, 4_294_967_295, 1 << 40] {
        for field in ["runAsUser", "runAsGroup", "fsGroup"] {
            let got = errors_of(json!({"securityContext": {field: id}}));
            assert_eq!(got, [format!("spec.securityContext.{field}: Invalid value: {id}: {range}")]);
        }
        let got = errors_of(json!({"securityContext": {"supplementalGroups": [1, id]}}));
        assert_eq!(
            got,
            [format!("spec.securityContext.supplementalGroups[1]: Invalid value: {id}: {range}")]
        );
        let got = container(json!({"securityContext": {"runAsUser": id}}));
        assert_eq!(
            got,
            [format!("spec.containers[0].securityContext.runAsUser: Invalid value: {id}: {range}")]
        );
    }
    assert_eq!(errors_of(json!({"securityContext": {"runAsUser": 2147483647_i64, "fsGroup": 0}})), [""; 0]);
    let here = "spec.securityContext";
    for (context, want) in [
        (
            json!({"seccompProfile": {"type": "Localhost"}}),
            format!(
                "{here}.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"
            ),
        ),
        (
            json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}}),
            format!("{here}.seccompProfile.localhostProfile: Invalid value: \"../x\": must not contain '..'"),
        ),
        (
            json!({"appArmorProfile": {}}),
            format!(
                "{here}.appArmorProfile.type: Required value: type is required when appArmorProfile is set"
            ),
        ),
        (
            json!({"sysctls": [{"name": "Net.x", "value": "1"}]}),
            format!(
                "{here}.sysctls[0].name: Invalid value: \"Net.x\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            ),
        ),
    ] {
        assert_eq!(errors_of(json!({"securityContext": context})), [want]);
    }
    let both = container(json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}));
    assert!(both[0].ends_with("cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
    let unmasked = container(json!({"securityContext": {"procMount": "Unmasked"}}));
    assert!(unmasked[0].ends_with("`hostUsers` must be false to use `Unmasked`"));
}

/// Checks that each of these changes of a container is refused with this error first.
fn refused<const N: usize>(changes: [(Value, String); N]) {
    for (change, want) in changes {
        let mut got = container(change);
        got.truncate(1);
        assert_eq!(got, [want]);
    }
}

#[test]
fn containers_are_whole() {
    let here = "spec.containers[0]";
    refused([
        (
            json!({"image": " x"}),
            format!("{here}.image: Invalid value: \" x\": must not have leading or trailing whitespace"),
        ),
        (
            json!({"env": [{"name": "A", "value": "b", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
            format!(
                "{here}.env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"
            ),
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}}}]}),
            format!(
                "{here}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""
            ),
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}}]}),
            format!(
                "{here}.env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\""
            ),
        ),
        (
            json!({"envFrom": [{"prefix": "A=", "configMapRef": {"name": "m"}}]}),
            format!(
                "{here}.envFrom[0].prefix: Invalid value: \"A=\": a valid environment variable name must consist only of printable ASCII characters other than '='"
            ),
        ),
        (
            json!({"envFrom": [{}]}),
            format!(
                "{here}.envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"
            ),
        ),
        (
            json!({"resources": {"limits": {"gpu": "1"}}}),
            format!(
                "{here}.resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified"
            ),
        ),
        (
            json!({"resources": {"limits": {"example.com/gpu": "500m"}}}),
            format!("{here}.resources.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer"),
        ),
        (
            json!({"resources": {"requests": {"example.com/gpu": "1"}}}),
            format!(
                "{here}.resources.limits: Required value: Limit must be set for non overcommitable resources"
            ),
        ),
    ]);
}

#[test]
fn probes_hooks_and_ports_of_containers_are_whole() {
    let here = "spec.containers[0]";
    refused([
        (
            json!({"livenessProbe": {"periodSeconds": 1}}),
            format!("{here}.livenessProbe: Required value: must specify a handler type"),
        ),
        (
            json!({"readinessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}}),
            format!("{here}.readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
        ),
        (
            json!({"startupProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}}),
            format!("{here}.startupProbe.successThreshold: Invalid value: 2: must be 1"),
        ),
        (
            json!({"livenessProbe": {"httpGet": {"path": "/", "port": 70000, "scheme": "HTTP"}}}),
            format!(
                "{here}.livenessProbe.httpGet.port: Invalid value: 70000: must be between 1 and 65535, inclusive"
            ),
        ),
        (
            json!({"lifecycle": {"preStop": {}}}),
            format!("{here}.lifecycle.preStop: Required value: must specify a handler type"),
        ),
        (
            json!({"lifecycle": {"stopSignal": "SIGTERM"}}),
            format!(
                "{here}.lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"
            ),
        ),
        (
            json!({"ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}, {"containerPort": 81, "hostPort": 80, "protocol": "TCP"}]}),
            format!("{here}.ports[1].hostPort: Duplicate value: \"TCP//80\""),
        ),
        (
            json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]}),
            format!(
                "{here}.restartPolicy: Required value: must specify restartPolicy when restart rules are used"
            ),
        ),
    ]);
}

#[test]
fn init_containers_have_no_probes_and_debuggers_no_ports() {
    let init = errors_of(
        json!({"initContainers": [{"name": "c", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
    );
    assert_eq!(
        init,
        [
            "spec.initContainers[0].name: Duplicate value: \"c\"",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"
        ]
    );
    let debug = errors_of(
        json!({"ephemeralContainers": [{"name": "d", "image": "x", "targetContainerName": "no", "ports": [{"containerPort": 1, "protocol": "TCP"}]}]}),
    );
    assert_eq!(
        debug,
        [
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"no\"",
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"
        ]
    );
}

#[test]
fn dns_of_a_spec() {
    for (spec, want) in [
        (
            json!({"dnsPolicy": "None"}),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            json!({"dnsConfig": {"nameservers": ["one"]}}),
            "spec.dnsConfig.nameservers[0]: Invalid value: \"one\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            json!({"dnsConfig": {"searches": ["_tcp.example.com", "a_b._c.", "__a"]}}),
            "spec.dnsConfig.searches[2]: Invalid value: \"__a\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')",
        ),
        (
            json!({"hostAliases": [{"ip": "1.2.3", "hostnames": ["a"]}]}),
            "spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
    ] {
        assert_eq!(errors_of(spec), [want]);
    }
}

#[test]
fn the_rest_of_a_spec() {
    for (spec, want) in [
        (
            json!({"activeDeadlineSeconds": 0}),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            json!({"activeDeadlineSeconds": 2147483648_i64}),
            "spec.activeDeadlineSeconds: Invalid value: 2147483648: must be between 1 and 2147483647, inclusive",
        ),
        (
            json!({"preemptionPolicy": "Maybe"}),
            "spec.preemptionPolicy: Unsupported value: \"Maybe\": supported values: \"PreemptLowerPriority\", \"Never\"",
        ),
        (
            json!({"os": {"name": "plan9"}}),
            "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
        ),
        (
            json!({"os": {"name": "windows"}, "securityContext": {"runAsUser": 1}}),
            "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
        ),
        (
            json!({"schedulingGates": [{"name": "a"}, {"name": "a"}]}),
            "spec.schedulingGates[1]: Duplicate value: \"a\"",
        ),
        (
            json!({"hostNetwork": true, "hostUsers": false}),
            "spec.hostNetwork: Forbidden: when `hostUsers` is false",
        ),
        (
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "podAffinityTerm": {"topologyKey": "k"}}]}}}),
            "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
        ),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}]}),
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}),
            "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
        ),
        (
            json!({"overhead": {"cpu": "-1"}}),
            "spec.overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            json!({"serviceAccountName": null, "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 600}}]}}]}),
            "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
        ),
    ] {
        assert_eq!(errors_of(spec), [want]);
    }
}
