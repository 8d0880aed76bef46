"""kr8s: pods, waiting, exec, port-forward, custom objects."""

import errno

import kr8s
from kr8s.objects import ConfigMap, Pod, new_class

PATIENCE = 180  # seconds for what has to come: a busy machine is late

api = kr8s.api()
version = api.version()
assert version["major"] == "1", version
nodes = list(kr8s.get("nodes"))
assert nodes and all(n.status.conditions for n in nodes)

pod = Pod(
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "short", "namespace": "default", "labels": {"who": "kr8s"}},
        "spec": {"containers": [{"name": "web", "image": "nginx"}], "terminationGracePeriodSeconds": 1},
    }
)
pod.create()
pod.wait("condition=Ready", timeout=PATIENCE)
pod.label({"more": "yes"})
pod.annotate({"note": "here"})
assert [p.name for p in kr8s.get("pods", label_selector="who=kr8s")] == ["short"]
assert pod.exec(["echo", "hello"]).stdout == b"hello\n"
import httpx

# kr8s looks for a free port, lets go of it and listens on it later: another
# program may have it by then, so a port that is taken is no answer of the cluster.
for turn in range(5):
    try:
        with pod.portforward(remote_port=80, local_port="auto") as port:
            assert httpx.get(f"http://localhost:{port}", timeout=PATIENCE).status_code == 200
        break
    except OSError as taken:
        if taken.errno != errno.EADDRINUSE or turn == 4:
            raise
pod.delete()
pod.wait("delete", timeout=PATIENCE)

settings = ConfigMap({"metadata": {"name": "short", "namespace": "default"}, "data": {"a": "1"}})
settings.create()
settings.patch({"data": {"b": "2"}})
settings.refresh()
assert settings.data == {"a": "1", "b": "2"}
settings.delete()

# A kind that this cluster has learnt: the operator's own.
Garden = new_class(kind="Garden", version="kopf.example.com/v1", namespaced=True)
garden = Garden({"metadata": {"name": "short", "namespace": "default"}, "spec": {"flowers": 2}})
garden.create()
for event, seen in kr8s.watch("gardens", namespace="default"):
    if seen.name == "short" and seen.raw.get("status", {}).get("planted") == 2:
        break
garden.delete()
garden.wait("delete", timeout=PATIENCE)
print("done")
