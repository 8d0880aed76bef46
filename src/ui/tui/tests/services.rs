//! Services with several ports, without an address of their own, and without endpoints.

use super::*;
use crate::tui::layout::Pane;
use crate::tui::model::View;

fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": "900"}, "spec": spec})
}

/// A view at the end of the command, with this Service and no other.
fn beside(view: View, (columns, rows): (u16, u16), service: Value) -> Model {
    let mut model = model(columns, rows, Lang::En, Look { colour: true, ..Look::default() });
    (model.view, model.chosen) = (view, true);
    model.traffic.finish();
    all(&mut model, "services", vec![service]);
    model
}

/// The target port of `a` is a name that no container port has: its connections are refused, and
/// those of `b` are not.
#[test]
fn each_port_of_a_service_is_followed_by_itself() {
    let ports = json!([{"name": "a", "port": 80, "targetPort": "web"},
        {"name": "b", "port": 81, "targetPort": 81}]);
    let spec =
        json!({"type": "ClusterIP", "clusterIP": "10.98.0.7", "selector": {"app": "web"}, "ports": ports});
    let mut model = beside(View::Network, (120, 36), service("two", spec));
    let slice = |ports: Value| {
        json!({"metadata": {"name": "two-1", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "two"}}, "ports": ports,
            "endpoints": [{"addresses": ["10.244.1.5"], "nodeName": "ropewalk-worker",
                "targetRef": {"kind": "Pod", "name": "web-1"}, "conditions": {"ready": true}}]})
    };
    all(&mut model, "endpointslices", vec![slice(json!([{"name": "b", "port": 81}]))]);
    let shown = text(&screen(&model));
    let below = |port: &str| shown.lines().skip_while(|line| !line.contains(port)).nth(1).unwrap_or_default();
    assert!(below("targetPort web").contains("✗ no endpoint has this port"), "{shown}");
    assert_eq!(shown.matches("refused").count(), 1, "{shown}");
    assert!(shown.contains("10.244.1.5:81 ") && shown.contains("gets connections"), "{shown}");
    for (number, told) in [(80, "10.244.1.5:81,80 "), (8080, "10.244.1.5:81 +1 ")] {
        let ports = json!([{"name": "b", "port": 81}, {"name": "a", "port": number}]);
        all(&mut model, "endpointslices", vec![slice(ports)]);
        let shown = text(&screen(&model));
        assert!(shown.contains(told) && !shown.contains("refused"), "{shown}");
    }
}

#[test]
fn a_service_that_is_an_alias_lacks_nothing() {
    let spec = json!({"type": "ExternalName", "externalName": "example.com",
        "ports": [{"port": 443, "targetPort": 443}]});
    for (size, focus) in [((120, 36), Pane::Shell), ((80, 24), Pane::Shell), ((60, 20), Pane::Map)] {
        let mut model = beside(View::Network, size, service("ext", spec.clone()));
        model.focus = focus;
        let shown = text(&screen(&model));
        for part in ["ext.default ──▶ example.com", "An alias for a DNS name"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("0 of 0") && !shown.contains("443"), "{shown}");
    }
    let shown = text(&screen(&beside(View::Cluster, (120, 36), service("ext", spec))));
    assert!(shown.contains("ext  ExternalName ──▶ example.com") && !shown.contains("✗ 0"), "{shown}");
}

#[test]
fn a_headless_service_is_reached_by_its_name() {
    let spec = json!({"type": "ClusterIP", "clusterIP": "None", "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 80}]});
    let shown = text(&screen(&beside(View::Cluster, (120, 36), service("db", spec))));
    assert!(shown.contains("db  ClusterIP ──▶ db.default:80 ──▶") && !shown.contains("None"), "{shown}");
}

/// Its addresses alone would fill the pane.
#[test]
fn five_node_ports_leave_room_for_the_endpoints_in_a_small_view() {
    for count in [5, 12] {
        let port = |at: usize| json!({"name": format!("p{at}"), "port": 80 + at, "targetPort": 8080, "nodePort": 31000 + at});
        let ports: Vec<Value> = (0..count).map(port).collect();
        let selector = json!({"app": "web"});
        let spec =
            json!({"type": "NodePort", "clusterIP": "10.98.0.7", "selector": selector, "ports": ports});
        let mut model = beside(View::Network, (110, 24), service("many", spec));
        let slice = json!({"metadata": {"name": "many-1", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "many"}}, "ports": [{"name": "p0", "port": 8080}],
            "endpoints": [{"addresses": ["10.244.1.5"], "nodeName": "ropewalk-worker",
                "targetRef": {"kind": "Pod", "name": "web-1"}, "conditions": {"ready": true}}]});
        all(&mut model, "endpointslices", vec![slice]);
        let shown = text(&screen(&model));
        for part in
            ["31000 ──▶ 10.98.0.7:80 ──▶ 8080", "selects app=web", "1 of 1 endpoints ready", "● 10.244.1.5"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let drawn = shown.matches("localhost:31").count();
        let told = if drawn < count { format!("+{}", count - drawn) } else { String::new() };
        assert!(shown.contains(&told), "{told}: {shown}");
    }
}
