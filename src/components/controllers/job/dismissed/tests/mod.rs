mod successors;

use super::*;
use serde_json::json;

#[test]
fn pods_are_remembered_until_they_are_gone() {
    let pod = |uid: &str| -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({"metadata": {"uid": uid}})).unwrap())
    };
    let (job, other) = (Key::new("d", "j"), Key::new("d", "k"));
    let dismissed = Dismissed::default();
    dismissed.add(&job, &[pod("a"), pod("b")]);
    dismissed.add(&other, &[]);
    let among =
        |job: &Key, pods: &[Arc<Pod>]| -> Vec<String> { dismissed.among(job, pods).into_iter().collect() };
    assert_eq!(among(&job, &[pod("a"), pod("b"), pod("c")]), ["a", "b"]);
    assert_eq!(among(&other, &[pod("a")]), [""; 0]);
    assert_eq!(among(&job, &[pod("b"), pod("c")]), ["b"]);
    assert_eq!(among(&job, &[pod("a"), pod("b")]), ["b"], "a was gone");
    assert_eq!(among(&job, &[]), [""; 0]);
    assert!(dismissed.0.lock().is_empty());
    dismissed.add(&job, &[pod("a")]);
    dismissed.forget(&job);
    assert!(dismissed.0.lock().is_empty());
}
