"""The official Python client: typed calls, watches, patches, the dynamic client, custom objects, exec."""

import time

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

config.load_kube_config()
core, apps, custom = client.CoreV1Api(), client.AppsV1Api(), client.CustomObjectsApi()
NAMESPACE = "official"
PATIENCE = 180  # seconds for what has to come: a busy machine is late
core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))

# Typed objects, there and back.
labels = {"app": "web"}
container = client.V1Container(
    name="web",
    image="nginx",
    ports=[client.V1ContainerPort(container_port=80)],
    resources=client.V1ResourceRequirements(requests={"cpu": "50m"}),
)
deployment = client.V1Deployment(
    metadata=client.V1ObjectMeta(name="web"),
    spec=client.V1DeploymentSpec(
        replicas=1,
        selector=client.V1LabelSelector(match_labels=labels),
        template=client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
        ),
    ),
)
made = apps.create_namespaced_deployment(NAMESPACE, deployment, field_manager="official")
assert made.spec.template.spec.restart_policy == "Always"
assert made.metadata.managed_fields[0].manager == "official", made.metadata.managed_fields

# A watch from the list's version sees the deployment become available.
watcher = watch.Watch()
for event in watcher.stream(
    apps.list_namespaced_deployment, NAMESPACE, resource_version=made.metadata.resource_version, timeout_seconds=PATIENCE
):
    if event["object"].status.available_replicas == 1:
        watcher.stop()
assert apps.read_namespaced_deployment_status("web", NAMESPACE).status.available_replicas == 1

# Exec over the WebSocket, and the log.
pod = core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items[0]
said = stream(
    core.connect_get_namespaced_pod_exec,
    pod.metadata.name,
    NAMESPACE,
    command=["sh", "-c", "echo hello; echo oops >&2"],
    stdout=True,
    stderr=True,
)
assert "hello" in said and "oops" in said, said
core.read_namespaced_pod_log(pod.metadata.name, NAMESPACE)

# Patches of every kind, scale, conflicts.
apps.patch_namespaced_deployment("web", NAMESPACE, {"metadata": {"labels": {"tier": "front"}}})
apps.patch_namespaced_deployment(
    "web", NAMESPACE, [{"op": "replace", "path": "/metadata/labels/tier", "value": "back"}]
)
while True:
    scale = apps.read_namespaced_deployment_scale("web", NAMESPACE)
    scale.spec.replicas = 2
    try:
        assert apps.replace_namespaced_deployment_scale("web", NAMESPACE, scale).spec.replicas == 2
        break
    except ApiException as error:
        assert error.status == 409, error  # a controller wrote the status between the two
try:
    apps.replace_namespaced_deployment("web", NAMESPACE, made)
    raise SystemExit("a stale replace went through")
except ApiException as error:
    assert error.status == 409 and "the object has been modified" in error.body, error

# Pages.
for i in range(5):
    core.create_namespaced_config_map(
        NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"c{i}", labels={"page": "yes"}))
    )
page = core.list_namespaced_config_map(NAMESPACE, label_selector="page=yes", limit=2)
names = [c.metadata.name for c in page.items]
while page.metadata._continue:
    page = core.list_namespaced_config_map(
        NAMESPACE, label_selector="page=yes", limit=2, _continue=page.metadata._continue
    )
    names += [c.metadata.name for c in page.items]
assert names == [f"c{i}" for i in range(5)], names

# A definition from a dictionary, its objects untyped and through the dynamic client.
GROUP = "official.example.com"
definition = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"size": {"type": "integer", "maximum": 9}}},
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
extensions = client.ApiextensionsV1Api()
utils.create_from_dict(client.ApiClient(), definition)
for event in watch.Watch().stream(extensions.list_custom_resource_definition, timeout_seconds=PATIENCE):
    conditions = {c.type: c.status for c in event["object"].status.conditions or []}
    if event["object"].metadata.name == f"widgets.{GROUP}" and conditions.get("Established") == "True":
        break
widget = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
made = custom.create_namespaced_custom_object(GROUP, "v1", NAMESPACE, "widgets", widget)
made["status"] = {"seen": True}
custom.replace_namespaced_custom_object_status(GROUP, "v1", NAMESPACE, "widgets", "w", made)
assert custom.get_namespaced_custom_object(GROUP, "v1", NAMESPACE, "widgets", "w")["status"] == {"seen": True}
try:
    custom.patch_namespaced_custom_object(GROUP, "v1", NAMESPACE, "widgets", "w", {"spec": {"size": 10}})
    raise SystemExit("a widget that is too large went through")
except ApiException as error:
    assert error.status == 422 and "should be less than or equal to 9" in error.body, error

widgets = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version=f"{GROUP}/v1", kind="Widget")
assert [w.metadata.name for w in widgets.get(namespace=NAMESPACE).items] == ["w"]
applied = widgets.server_side_apply(
    namespace=NAMESPACE, name="w", body={**widget, "spec": {"size": 4}}, field_manager="dynamic", force_conflicts=True
)
assert applied.spec.size == 4
assert any(m["manager"] == "dynamic" and m["operation"] == "Apply" for m in applied.to_dict()["metadata"]["managedFields"])

# Its end.
core.delete_namespace(NAMESPACE)
extensions.delete_custom_resource_definition(f"widgets.{GROUP}")
deadline = time.monotonic() + PATIENCE
while time.monotonic() < deadline:
    try:
        core.read_namespace(NAMESPACE)
    except ApiException as error:
        assert error.status == 404, error
        break
    time.sleep(0.2)
else:
    raise SystemExit("the namespace does not go")
print("done")
