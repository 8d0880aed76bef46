//! Files of one volume that are in each other's way: `a` and `a/b` cannot both be files.

use super::{COMPARED_MAX, Found};
use crate::gostr::quote;
use crate::value::{at, list, text};
use serde_json::Value;

/// The path of a file, and what it comes from; empty where the volume has one source only.
struct File<'a> {
    path: &'a str,
    source: String,
}

impl File<'_> {
    fn shown(&self) -> String {
        match self.source.as_str() {
            "" => quote(self.path),
            source => format!("{} ({source})", quote(self.path)),
        }
    }

    /// True for the same path, and for that of a directory and of a file in it.
    fn overlaps(&self, other: &File) -> bool {
        let is_in = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        is_in(self.path, other.path) || is_in(other.path, self.path)
    }
}

/// Warns of the files of each volume of a pod's spec.
pub(super) fn volumes(spec: &Value, found: &mut Found) {
    for volume in list(spec, "volumes") {
        let name = text(volume, "name");
        for (source, shown) in [
            ("configMap", format!("ConfigMap {}", quote(text(volume, "configMap.name")))),
            ("secret", format!("Secret {}", quote(text(volume, "secret.secretName")))),
            ("downwardAPI", "DownwardAPI".to_string()),
        ] {
            compare(items(at(volume, source), ""), name, &shown, found);
        }
        let mut files = vec![];
        for source in list(volume, "projected.sources") {
            let is_empty = source.as_object().is_none_or(|of| of.values().all(Value::is_null));
            if is_empty {
                found.push(format!("volume {} (Projected) has no sources provided", quote(name)));
            }
            files.extend(projected(source));
        }
        compare(files, name, "Projected", found);
    }
}

fn items<'a>(source: &'a Value, shown: &str) -> Vec<File<'a>> {
    let file = |item: &'a Value| File { path: text(item, "path"), source: shown.to_string() };
    list(source, "items").iter().map(file).collect()
}

/// Returns the files of a source of a projected volume, as far as their paths are known.
fn projected(source: &Value) -> Vec<File<'_>> {
    let named =
        |kind: &str, name: &str| format!("{kind} {}", quote(text(at(source, kind_field(kind)), name)));
    let has = |field: &str| at(source, field).is_object();
    let one = |path: &'static str, shown: String| vec![File { path: text(source, path), source: shown }];
    if !list(source, "configMap.items").is_empty() {
        return items(at(source, "configMap"), &named("ConfigMap", "name"));
    }
    if !list(source, "secret.items").is_empty() {
        return items(at(source, "secret"), &named("Secret", "name"));
    }
    if !list(source, "downwardAPI.items").is_empty() {
        return items(at(source, "downwardAPI"), "DownwardAPI");
    }
    if has("serviceAccountToken") {
        return one("serviceAccountToken.path", "ServiceAccountToken".into());
    }
    if has("clusterTrustBundle") {
        let is_named = !at(source, "clusterTrustBundle.name").is_null();
        let by = if is_named { "name" } else { "signerName" };
        return one("clusterTrustBundle.path", named("ClusterTrustBundle", by));
    }
    let certificate = at(source, "podCertificate");
    let parts = [
        ("certificateChainPath", "PodCertificate chain"),
        ("keyPath", "PodCertificate key"),
        ("credentialBundlePath", "PodCertificate credential bundle"),
    ];
    parts.map(|(field, shown)| File { path: text(certificate, field), source: shown.into() }).into()
}

/// Returns the field of a source that is shown by the name of its kind.
fn kind_field(kind: &str) -> &'static str {
    match kind {
        "ConfigMap" => "configMap",
        "Secret" => "secret",
        _ => "clusterTrustBundle",
    }
}

fn compare(files: Vec<File>, volume: &str, shown: &str, found: &mut Found) {
    let mut before: Vec<File> = vec![];
    for mut file in files.into_iter().take(COMPARED_MAX) {
        file.path = file.path.trim_end_matches('/');
        if file.path.is_empty() {
            continue;
        }
        for other in before.iter().filter(|other| file.overlaps(other)) {
            let (one, other) = (file.shown(), other.shown());
            found.push(format!("volume {} ({shown}): overlapping paths: {one} with {other}", quote(volume)));
        }
        if found.is_full() {
            return;
        }
        before.push(file);
    }
}
