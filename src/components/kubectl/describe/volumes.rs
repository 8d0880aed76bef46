//! Volumes of a pod, and the sources of persistent volumes.

use super::text::{ANNOTATION_MAX, Text, shortened};
use api::gostr;
use api::quantity::Quantity;
use api::value;
use api::volumes::class_named_by;
use serde_json::Value;

/// `inset` as in [`super::containers`].
pub(super) fn volumes(text: &mut Text, list: &[Value], inset: &str) {
    if list.is_empty() {
        text.line(0, format!("{inset}Volumes:\t<none>"));
        return;
    }
    text.line(0, format!("{inset}Volumes:"));
    for volume in list {
        let indent = if inset.is_empty() { "" } else { " " };
        text.line(1, format!("{indent}{}:", value::text(volume, "name")));
        source(text, volume);
    }
}

fn optional(source: &Value) -> bool {
    value::flag(source, "optional")
}

/// Writes the source of a volume.
pub(super) fn source(text: &mut Text, volume: &Value) {
    let there = |key: &str| volume.get(key).filter(|v| !v.is_null());
    if let Some(path) = there("hostPath") {
        host_path(text, path);
    } else if let Some(dir) = there("emptyDir") {
        let limit = value::at(dir, "sizeLimit");
        let limit = match Quantity::parse(&gostr::plain(limit)) {
            Some(size) if !size.is_zero() => super::containers::canonical(limit),
            _ => "<unset>".to_string(),
        };
        text.field(2, "Type", "EmptyDir (a temporary directory that shares a pod's lifetime)");
        text.field(2, "Medium", value::text(dir, "medium"));
        text.field(2, "SizeLimit", limit);
    } else if let Some(secret) = there("secret") {
        text.field(2, "Type", "Secret (a volume populated by a Secret)");
        text.field(2, "SecretName", value::text(secret, "secretName"));
        text.field(2, "Optional", optional(secret));
    } else if let Some(map) = there("configMap") {
        text.field(2, "Type", "ConfigMap (a volume populated by a ConfigMap)");
        text.field(2, "Name", value::text(map, "name"));
        text.field(2, "Optional", optional(map));
    } else if let Some(claim) = there("persistentVolumeClaim") {
        text.field(
            2,
            "Type",
            "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        );
        text.field(2, "ClaimName", value::text(claim, "claimName"));
        text.field(2, "ReadOnly", value::flag(claim, "readOnly"));
    } else if let Some(projected) = there("projected") {
        text.field(2, "Type", "Projected (a volume that contains injected data from multiple sources)");
        value::list(projected, "sources").iter().for_each(|s| projection(text, s));
    } else if let Some(api) = there("downwardAPI") {
        downward_api(text, api);
    } else if let Some(nfs) = there("nfs") {
        text.field(2, "Type", "NFS (an NFS mount that lasts the lifetime of a pod)");
        text.field(2, "Server", value::text(nfs, "server"));
        text.field(2, "Path", value::text(nfs, "path"));
        text.field(2, "ReadOnly", value::flag(nfs, "readOnly"));
    } else if let Some(local) = there("local") {
        text.field(2, "Type", "LocalVolume (a persistent volume backed by local storage on a node)");
        text.field(2, "Path", value::text(local, "path"));
    } else if let Some(csi) = there("csi") {
        csi_volume(text, csi);
    } else if let Some(image) = there("image") {
        text.field(2, "Type", "Image (a container image or OCI artifact)");
        text.field(2, "Reference", value::text(image, "reference"));
        text.field(2, "PullPolicy", value::text(image, "pullPolicy"));
    } else if let Some(ephemeral) = there("ephemeral") {
        text.field(
            2,
            "Type",
            "EphemeralVolume (an inline specification for a volume that gets created and deleted with the pod)",
        );
        claim_template(text, value::at(ephemeral, "volumeClaimTemplate"));
    } else {
        text.line(1, "<unknown>"); // as far out as the volume's name, as in kubectl
    }
}

/// A directory of the node.
fn host_path(text: &mut Text, path: &Value) {
    let kind = match value::text(path, "type") {
        "" => {
            if path.get("type").is_some() {
                ""
            } else {
                "<none>"
            }
        }
        kind => kind,
    };
    text.field(2, "Type", "HostPath (bare host directory volume)");
    text.field(2, "Path", value::text(path, "path"));
    text.field(2, "HostPathType", kind);
}

/// A volume of the downward API: fields of the pod as files.
fn downward_api(text: &mut Text, api: &Value) {
    text.field(2, "Type", "DownwardAPI (a volume populated by information about the pod)");
    text.line(2, "Items:");
    for item in value::list(api, "items") {
        let from = match value::text(item, "fieldRef.fieldPath") {
            "" => value::text(item, "resourceFieldRef.resource"),
            path => path,
        };
        text.line(3, format!("{from} -> {}", value::text(item, "path")));
    }
}

/// A volume of a CSI driver.
fn csi_volume(text: &mut Text, csi: &Value) {
    text.field(2, "Type", "CSI (a Container Storage Interface (CSI) volume source)");
    text.field(2, "Driver", value::text(csi, "driver"));
    text.field(2, "FSType", value::text(csi, "fsType"));
    // A volume in a pod has no handle.
    if !value::empty(csi, "volumeHandle") {
        text.field(2, "VolumeHandle", value::text(csi, "volumeHandle"));
    }
    text.field(2, "ReadOnly", value::flag(csi, "readOnly"));
    attributes(text, csi);
}

/// The claim that a pod makes for a volume of its own.
fn claim_template(text: &mut Text, template: &Value) {
    if template.is_null() {
        return;
    }
    text.field(2, "StorageClass", class_named_by(template));
    text.field(2, "Volume", value::text(template, "spec.volumeName"));
    text.labels("    Labels", value::at(template, "metadata.labels"));
    text.annotations("    Annotations", value::at(template, "metadata.annotations"));
    text.field(2, "Capacity", "");
    text.field(2, "Access Modes", "");
    if !value::empty(template, "spec.volumeMode") {
        text.field(2, "VolumeMode", value::text(template, "spec.volumeMode"));
    }
}

/// `VolumeAttributes:` of a CSI volume, one pair a line. kubectl indents every piece that it
/// writes, so each pair too.
fn attributes(text: &mut Text, csi: &Value) {
    let mut pairs: Vec<(&str, &str)> = value::pairs(csi, "volumeAttributes").collect();
    pairs.sort_unstable();
    text.put(2, "VolumeAttributes:\t");
    if pairs.is_empty() {
        text.line(0, "<none>");
    }
    for (i, (key, given)) in pairs.into_iter().enumerate() {
        if i > 0 {
            text.put(4, "\t");
        }
        text.line(2, shortened(&format!("{key}={given}"), ANNOTATION_MAX));
    }
}

fn projection(text: &mut Text, source: &Value) {
    let there = |key: &str| source.get(key).filter(|v| !v.is_null());
    if let Some(secret) = there("secret") {
        text.field(2, "SecretName", value::text(secret, "name"));
        text.field(2, "Optional", optional(secret));
    } else if there("downwardAPI").is_some() {
        text.field(2, "DownwardAPI", "true");
    } else if let Some(map) = there("configMap") {
        text.field(2, "ConfigMapName", value::text(map, "name"));
        text.field(2, "Optional", optional(map));
    } else if let Some(token) = there("serviceAccountToken") {
        text.field(2, "TokenExpirationSeconds", value::int(token, "expirationSeconds").unwrap_or(3600));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn volumes_of_drivers_images_and_claims_are_known() {
        let described = |volume: Value| {
            let mut text = Text::default();
            source(&mut text, &volume);
            text.plain()
        };
        let csi = described(
            json!({"csi": {"driver": "d.e", "volumeHandle": "h", "volumeAttributes": {"b": "2", "a": "1"}}}),
        );
        let want = "    Type:\tCSI (a Container Storage Interface (CSI) volume source)\n    Driver:\td.e\n    FSType:\t\n    VolumeHandle:\th\n    ReadOnly:\tfalse\n    VolumeAttributes:\t    a=1\n        \t    b=2\n";
        assert_eq!(csi, want);
        for (limit, want) in [(json!("0"), "<unset>"), (json!("1Mi"), "1Mi"), (Value::Null, "<unset>")] {
            let printed = described(json!({"emptyDir": {"sizeLimit": limit}}));
            assert!(printed.ends_with(&format!("SizeLimit:\t{want}\n")), "{printed}");
        }
        let image = described(json!({"image": {"reference": "r/i:1", "pullPolicy": "Always"}}));
        assert!(image.contains("Reference:\tr/i:1\n"), "{image}");
        let claim =
            described(json!({"ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}}}));
        assert!(claim.contains("StorageClass:\tfast\n    Volume:\t\n    Labels:\t<none>\n"), "{claim}");
    }
}
