//! What NodeMetrics and PodMetrics share: how their columns show an amount.

use crate::quantity::Quantity;
use crate::value::text;
use serde_json::Value;

/// Returns the cells `cpu` and `memory`: the sum of these amounts, `123456n` as `1m`.
pub(super) fn cells(of: &[&Value]) -> [Value; 2] {
    let all = |what: &str| of.iter().filter_map(|u| Quantity::parse(text(u, what))).collect::<Vec<_>>();
    let cpu: i64 = all("cpu").iter().map(Quantity::milli).sum();
    let memory: i64 = all("memory").iter().map(|q| q.units() >> 10).sum();
    [format!("{cpu}m").into(), format!("{memory}Ki").into()]
}
