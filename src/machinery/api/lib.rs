//! # Objects: what Kubernetes' nouns are made of
//!
//! ## In Kubernetes
//! `k8s.io/api`, `apimachinery` and the registries of the API server know the types, their
//! defaults, what is valid, how two versions differ, how a patch is merged, and which columns
//! `kubectl get` prints. Much of it is generated code per type.
//! ## How this one works
//! An object is a [`serde_json::Value`]. What distinguishes one kind from another is in **one
//! file** per kind, `kinds/GROUP/KIND.rs`: the entry in the table of [`kinds`], defaults, strategy,
//! validation and printer columns ([`kinds`] says why the text of `kubectl describe` and the
//! default roles are not in it). Everything else derives from the table: [`discovery`],
//! [`openapi`], the routing of the API server, [`table`]s. A kind's [`schema`] comes from the
//! published types; it finds unknown fields and wrong types, as Go's decoder would, before `zeros`
//! takes out what Go does not write, the kind's defaults fill in and [`validate`] judges.
//! [`schema::equality`] says whether two values mean the same, in whatever spelling. `pod_spec` has
//! the rules for the spec of a pod, which Pods and pod templates share. Patches are [`strategic`],
//! [`patch`] (JSON and merge) and [`managed::apply`], which remembers who owns which field.
//! [`custom`] is what CustomResourceDefinitions add, [`admission`] what ValidatingAdmissionPolicies
//! say of a request; both are written in the language of [`cel`](crate::cel). [`requests`] computes
//! what a pod asks of a node, for all who have to agree on it. [`bounds`] says how deep an object
//! may nest; [`unhonoured`] names what a client sets and this cluster does not do, [`warnings`]
//! what upstream warns of. [`protobuf`] reads the bodies that newer clients post. [`status`] says
//! what went wrong, in upstream's words. Nothing here does I/O, waits, or knows a cluster: all of
//! it is functions from values to values.
//! ## Left out
//! Internal versions (an object has one stored form, [`kinds::Conversion`] gives another face of
//! it); protobuf answers. Of upstream's kinds that are served by default: PodTemplate,
//! ComponentStatus, RuntimeClass, those of CSI and VolumeAttachment, ServiceCIDR and IPAddress,
//! those of admission webhooks and of mutating policies, flow control, aggregation and dynamic
//! resource allocation.
//! ## Read next
//! `apiserver`, which serves these objects; `kinds/coordination/lease.rs`, a small kind.

#![warn(missing_docs)]

pub mod admission;
pub mod bounds;
#[cfg(test)]
mod bulk;
pub mod cel;
pub mod cidr;
pub mod cron;
pub mod custom;
pub mod discovery;
pub mod duration;
pub mod errors;
pub mod fields;
#[cfg(test)]
mod fuzz;
pub mod gojson;
pub mod gostr;
pub mod host_ports;
pub mod image_name;
pub mod json_syntax;
pub mod json_text;
pub mod jsonpath;
pub mod kinds;
pub mod labels;
pub mod legacy_addresses;
pub mod managed;
pub mod meta;
pub mod nodes;
pub mod openapi;
pub mod patch;
pub mod path;
mod pod_spec;
pub mod protobuf;
mod published;
pub mod quantity;
pub mod quota;
pub mod requests;
pub mod schema;
pub mod shape;
pub mod status;
pub mod strategic;
pub mod table;
pub mod unhonoured;
pub mod validate;
pub mod value;
pub mod volumes;
pub mod warnings;
pub mod yaml;
mod zeros;

pub use status::Status;

/// The version of Kubernetes that everything here says it is. It is short: `kubectl get nodes` fits
/// into the interface's shell with it.
pub const VERSION: &str = "v1.35.0+ropewalk";

/// Returns this machine's architecture under Go's name (`GOARCH`), as Kubernetes says it: `amd64`.
pub fn architecture() -> &'static str {
    go_name(std::env::consts::ARCH)
}

/// Returns Go's name of an architecture that Rust calls `arch`.
fn go_name(arch: &str) -> &str {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn architectures_have_gos_names() {
        let names = ["x86_64", "aarch64", "riscv64"].map(super::go_name);
        assert_eq!(names, ["amd64", "arm64", "riscv64"]);
    }
}
