//! `ropewalk bench` measures what it says: nodes without a cluster, beside their peers. (The figures themselves are the machine's.)

use super::support::{Home, capable, turn_alone};
use serde_json::Value;

#[test]
fn nodes_are_measured_beside_their_peers() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn_alone(), Home::new());
    let said = home.ropewalk(&["bench", "network", "runtime", "--runs", "2", "-o", "json"]);
    let parts: Value = serde_json::from_str(&said.ok()).expect("JSON");
    let (network, runtime) = (&parts[0], &parts[1]);
    assert_eq!((&network["what"], &runtime["what"]), (&"network".into(), &"runtime".into()));
    assert!(runtime["p50_ms"].as_f64().is_some_and(|p50| p50 > 0.0), "{runtime}");
    for figure in parts.as_array().into_iter().flatten().flat_map(|p| p["figures"].as_array()).flatten() {
        let of = |key: &str| figure[key].as_f64().unwrap_or_default();
        assert!(0.0 < of("min") && of("min") <= of("p50") && of("p50") <= of("max"), "{figure}");
        assert_eq!(figure["runs"], 2, "{figure}");
    }
    let beside = |figure: &Value| figure["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0);
    assert!(network["figures"].as_array().is_some_and(|all| all.len() == 4 && all.iter().all(beside)));
    home.ropewalk(&["bench", "networks"]).fails("invalid value 'networks'");
}
