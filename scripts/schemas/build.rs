//! Reads the types of all kinds from the table of kinds (`kinds!` in the `mod.rs` of each group
//! below `src/machinery/api/kinds`) and writes them as the list `types![...]` for `main.rs`.

use std::path::Path;

/// What is sent to subresources, and is no kind of the table.
const SENT: [&str; 3] = [
    "k8s_openapi::api::authentication::v1::TokenRequest",
    "k8s_openapi::api::autoscaling::v1::Scale",
    "k8s_openapi::api::policy::v1::Eviction",
];

fn main() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/machinery/api/kinds");
    println!("cargo::rerun-if-changed={}", table.display());
    let mut types: Vec<String> = SENT.iter().map(|name| name.to_string()).collect();
    for group in std::fs::read_dir(&table).expect("the table of kinds can be read") {
        let file = group.expect("the table of kinds can be read").path().join("mod.rs");
        // What is no folder of a group has no such file.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        types.extend(text.lines().filter_map(type_of).map(String::from));
    }
    assert!(types.len() > SENT.len(), "no `mod.rs` in {} names a type", table.display());
    types.sort_by_cached_key(|name| group_version_kind(name));
    let to = Path::new(&std::env::var_os("OUT_DIR").expect("Cargo names it")).join("types.rs");
    std::fs::write(to, format!("types![\n    {},\n];\n", types.join(",\n    ")))
        .expect("the list can be written");
}

/// The type in a line of `kinds!`: `mod job: k8s_openapi::api::batch::v1::Job;`.
fn type_of(line: &str) -> Option<&str> {
    let (module, name) = line.trim().strip_suffix(';')?.split_once(": ")?;
    (module.split(' ').rev().nth(1) == Some("mod") && name.starts_with("k8s_openapi::")).then_some(name)
}

/// The last three segments of a type's path: `batch`, `v1`, `Job`.
fn group_version_kind(name: &str) -> Vec<String> {
    let mut last: Vec<String> = name.rsplit("::").take(3).map(String::from).collect();
    last.reverse();
    last
}
