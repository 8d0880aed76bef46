//! Writes the published schemas of the API, compressed, to the file that the program carries:
//! `src/machinery/api/schemas.json.gz`.
//!
//! k8s-openapi makes the schemas with several megabytes of generated code. Compiling that code in
//! every build cost two processor minutes, so the result is kept in the repository. Run
//! `scripts/schemas/make` after a change of k8s-openapi's version or of the table of kinds; the
//! tests of `src/machinery/api/published.rs` fail when a version or a kind is missing. What
//! k8s-openapi leaves out of upstream's schemas comes from `extensions.txt`.

use flate2::Compression;
use flate2::write::GzEncoder;
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, ObjectMeta, Status, Time};
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// `published(generator, kinds)` for each of these types.
macro_rules! types {
    ($($type:path),* $(,)?) => {
        const TYPES: &[fn(&mut SchemaGenerator, &mut Map<String, Value>)] = &[$(published::<$type>),*];
    };
}

// Every kind that src/machinery/api/kinds names, and what is sent to subresources: `build.rs`
// writes the list. What these consist of follows by itself.
include!(concat!(env!("OUT_DIR"), "/types.rs"));

fn published<T: Resource + JsonSchema>(generator: &mut SchemaGenerator, kinds: &mut Map<String, Value>) {
    generator.subschema_for::<T>();
    kinds.insert(format!("{}/{}/{}", T::GROUP, T::VERSION, T::KIND), json!(T::schema_name()));
}

fn main() {
    let to = std::env::args_os().nth(1).expect("usage: schemas FILE");
    let file = std::fs::File::create(Path::new(&to)).expect("the file can be written");
    let mut file = GzEncoder::new(file, Compression::best());
    file.write_all(schemas().to_string().as_bytes()).expect("the file can be written");
    file.finish().expect("the file can be written");
}

/// `madeWith`: k8s-openapi's version. `kinds`: group/version/kind → name of its schema. `schemas`:
/// name → schema; references fit an OpenAPI document.
fn schemas() -> Value {
    let settings = SchemaSettings::draft07().with(|s| {
        s.definitions_path = "/components/schemas".into();
        s.meta_schema = None;
        s.transforms.clear();
    });
    let (mut generator, mut kinds) = (SchemaGenerator::new(settings), Map::new());
    TYPES.iter().for_each(|add| add(&mut generator, &mut kinds));
    generator.subschema_for::<DeleteOptions>();
    generator.subschema_for::<ListMeta>();
    generator.subschema_for::<Patch>();
    generator.subschema_for::<Status>();
    generator.subschema_for::<NodeMetrics>();
    generator.subschema_for::<PodMetrics>();
    for kind in ["NodeMetrics", "PodMetrics"] {
        let name = format!("io.k8s.metrics.pkg.apis.metrics.v1beta1.{kind}");
        kinds.insert(format!("metrics.k8s.io/v1beta1/{kind}"), name.into());
    }
    let lock = include_str!("../Cargo.lock");
    let mut schemas = generator.take_definitions(false);
    include_str!("../extensions.txt").lines().for_each(|line| extend(&mut schemas, line));
    json!({"madeWith": version_of("k8s-openapi", lock), "kinds": kinds, "schemas": schemas})
}

/// Adds what one line of `extensions.txt` says, if its type is one of ours.
fn extend(schemas: &mut Map<String, Value>, line: &str) {
    let mut words = line.split(' ');
    let (name, field) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(schema) = schemas.get_mut(name) else { return };
    let place = if field == "-" { schema } else { &mut schema["properties"][field] };
    let place = place.as_object_mut().unwrap_or_else(|| panic!("{name} has no field {field}"));
    for said in words {
        let (word, value) = said.split_once('=').expect("an extension has a value");
        let value = match word {
            "list-map-keys" => value.split(',').collect(),
            _ => json!(value),
        };
        place.insert(format!("x-kubernetes-{word}"), value);
    }
}

/// Returns the version of a package in a lock file.
fn version_of<'a>(package: &str, lock: &'a str) -> Option<&'a str> {
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    after.split_once('"').map(|(version, _)| version)
}

/// Patch is what changes an object: of which kind it is, the type of the request's content says.
#[derive(JsonSchema)]
#[schemars(rename = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch")]
struct Patch {}

// The group metrics.k8s.io, which k8s-openapi does not have. Shape:
// `k8s.io/metrics/pkg/apis/metrics/v1beta1`. Like its types, these could be written as JSON; what
// is asked of them here is their schema.

/// NodeMetrics sets resource usage metrics of a node.
#[derive(JsonSchema, Serialize)]
#[serde(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics", rename_all = "camelCase")]
struct NodeMetrics {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<ObjectMeta>,
    /// The end of the interval in which the use was counted.
    timestamp: Time,
    /// How long the interval was, e.g. `10.5s`.
    window: String,
    /// `cpu` in cores and `memory` in bytes.
    usage: BTreeMap<String, Quantity>,
}

/// PodMetrics sets resource usage metrics of a pod.
#[derive(JsonSchema, Serialize)]
#[serde(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics", rename_all = "camelCase")]
struct PodMetrics {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<ObjectMeta>,
    /// The end of the interval in which the use was counted.
    timestamp: Time,
    /// How long the interval was, e.g. `10.5s`.
    window: String,
    /// The containers that run.
    containers: Vec<ContainerMetrics>,
}

/// ContainerMetrics sets resource usage metrics of a container.
#[derive(JsonSchema, Serialize)]
#[serde(rename = "io.k8s.metrics.pkg.apis.metrics.v1beta1.ContainerMetrics", rename_all = "camelCase")]
struct ContainerMetrics {
    name: String,
    /// `cpu` in cores and `memory` in bytes.
    usage: BTreeMap<String, Quantity>,
}
