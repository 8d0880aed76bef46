"""An operator on kopf: a Garden has as many ConfigMaps as it has flowers."""

import kopf
import kubernetes


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_):
    settings.posting.level = 20
    settings.persistence.finalizer = "kopf.example.com/finalizer"
    kubernetes.config.load_kube_config()


def flower(name, i):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-{i}"}, "data": {"colour": "red"}}


@kopf.on.create("kopf.example.com", "v1", "gardens")
@kopf.on.update("kopf.example.com", "v1", "gardens", field="spec.flowers")
def plant(spec, name, namespace, patch, logger, **_):
    core = kubernetes.client.CoreV1Api()
    for i in range(spec["flowers"]):
        body = flower(name, i)
        kopf.adopt(body)
        try:
            core.create_namespaced_config_map(namespace, body)
        except kubernetes.client.rest.ApiException as error:
            if error.status != 409:
                raise
    patch.status["planted"] = spec["flowers"]
    logger.info("planted %s", spec["flowers"])
    return {"message": "planted"}


@kopf.on.delete("kopf.example.com", "v1", "gardens")
def farewell(name, logger, **_):
    logger.info("farewell %s", name)
