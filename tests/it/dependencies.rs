//! What others wrote and this program holds: each package has a licence that `deny.toml` allows,
//! comes from crates.io, and is there once.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use toml_edit::DocumentMut;

/// The packages that a build for Linux takes, as Cargo describes them.
fn packages() -> Vec<Value> {
    let answer = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let mut all: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let nodes = all["resolve"]["nodes"].as_array().expect("nodes").iter();
    let taken: BTreeSet<String> = nodes.filter_map(|n| n["id"].as_str().map(String::from)).collect();
    let Some(Value::Array(packages)) = all.get_mut("packages").map(Value::take) else { panic!("packages") };
    let foreign = |p: &Value| !p["source"].is_null() && p["id"].as_str().is_some_and(|id| taken.contains(id));
    packages.into_iter().filter(foreign).collect()
}

fn rules() -> DocumentMut {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    std::fs::read_to_string(path).expect("deny.toml").parse().expect("TOML")
}

fn list(rules: &DocumentMut, table: &str, key: &str) -> BTreeSet<String> {
    let values = rules[table][key].as_array().expect("a list").iter();
    values.map(|v| v.as_str().expect("a string").to_string()).collect()
}

/// Whether a licence expression is met by what is allowed. Some packages still write
/// `MIT/Apache-2.0`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let parsed = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).map_err(|e| e.to_string())?;
    Ok(parsed.evaluate(|requirement| allowed.contains(&requirement.to_string())))
}

#[test]
fn packages_have_allowed_licences_and_come_from_the_registry() {
    let rules = rules();
    let (allowed, registries) =
        (list(&rules, "licenses", "allow"), list(&rules, "sources", "allow-registry"));
    let packages = packages();
    assert!(packages.len() > 300, "{} packages: are they seen at all?", packages.len());
    let mut wrong = Vec::new();
    for package in &packages {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        match is_allowed(text("license"), &allowed) {
            Ok(true) => {}
            Ok(false) => {
                wrong.push(format!("{}: its licence {} is not allowed", text("name"), text("license")))
            }
            Err(why) => wrong.push(format!("{}: the licence {:?}: {why}", text("name"), text("license"))),
        }
        if !registries.iter().any(|r| text("source") == format!("registry+{r}")) {
            wrong.push(format!("{}: comes from {}", text("name"), text("source")));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn packages_are_there_once() {
    let skipped = list(&rules(), "bans", "skip");
    let mut versions: BTreeMap<String, Vec<semver::Version>> = BTreeMap::new();
    for package in packages() {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_string();
        versions.entry(text("name")).or_default().push(text("version").parse().expect("a version"));
    }
    let mut older = BTreeSet::new();
    for (name, mut all) in versions {
        all.sort();
        all.pop();
        older.extend(all.into_iter().map(|version| format!("{name}@{version}")));
    }
    let new: Vec<_> = older.difference(&skipped).collect();
    assert!(new.is_empty(), "there twice now, see `cargo tree -d`: {new:?}");
    let gone: Vec<_> = skipped.difference(&older).collect();
    assert!(gone.is_empty(), "take these out of deny.toml, nothing needs them any more: {gone:?}");
}

#[test]
fn a_licence_expression_is_met_as_a_whole() {
    let allowed: BTreeSet<String> = ["MIT", "ISC"].map(String::from).into();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only/MIT", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT AND ISC) OR GPL-3.0-only", true),
    ] {
        assert_eq!(is_allowed(expression, &allowed), Ok(met), "{expression}");
    }
    assert!(is_allowed("", &allowed).is_err(), "a package without a licence");
}
