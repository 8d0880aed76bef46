//! Node metrics: the CPU and memory that a node uses now. Never stored: the API server asks the
//! kubelet for each request.

use crate::kinds::entry::{Kind, of};
use crate::kinds::metrics::usage::cells;
use crate::table::cells::{Printer, name};
use crate::value::at;

pub(super) fn kind() -> Kind {
    Kind {
        computed: true,
        verbs: &["get", "list"],
        singular: String::new(),
        printer: Some(&PRINTER),
        ..of::<NodeMetrics>()
    }
}

struct NodeMetrics;

impl k8s_openapi::Resource for NodeMetrics {
    const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
    const GROUP: &'static str = "metrics.k8s.io";
    const KIND: &'static str = "NodeMetrics";
    const VERSION: &'static str = "v1beta1";
    const URL_PATH_SEGMENT: &'static str = "nodes";
    type Scope = k8s_openapi::ClusterResourceScope;
}

pub(super) static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("cpu", "string", false),
        ("memory", "string", false),
        ("Window", "string", false),
    ],
    cells: |o, _| {
        let [cpu, memory] = cells(&[at(o, "usage")]);
        vec![name(o), cpu, memory, at(o, "window").clone()]
    },
    conditions: None,
};
