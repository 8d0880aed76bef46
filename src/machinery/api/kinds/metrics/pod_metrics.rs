//! Pod metrics: the CPU and memory that the containers of a pod use now. Never stored: the API
//! server asks the kubelet for each request.

use crate::kinds::entry::{Kind, of};
use crate::kinds::metrics::node_metrics;
use crate::kinds::metrics::usage::cells;
use crate::table::cells::{Printer, name};
use crate::value::{at, list};
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        computed: true,
        verbs: &["get", "list"],
        singular: String::new(),
        printer: Some(&PRINTER),
        ..of::<PodMetrics>()
    }
}

struct PodMetrics;

impl k8s_openapi::Resource for PodMetrics {
    const API_VERSION: &'static str = "metrics.k8s.io/v1beta1";
    const GROUP: &'static str = "metrics.k8s.io";
    const KIND: &'static str = "PodMetrics";
    const VERSION: &'static str = "v1beta1";
    const URL_PATH_SEGMENT: &'static str = "pods";
    type Scope = k8s_openapi::NamespaceResourceScope;
}

static PRINTER: Printer = Printer {
    columns: node_metrics::PRINTER.columns,
    cells: |o, _| {
        let containers: Vec<&Value> = list(o, "containers").iter().map(|c| at(c, "usage")).collect();
        let [cpu, memory] = cells(&containers);
        vec![name(o), cpu, memory, at(o, "window").clone()]
    },
    conditions: None,
};
