use super::*;

#[test]
fn what_was_agreed_to_is_not_what_more_would_be_lost() {
    let loss = |name: &str, removed| Loss { name: name.into(), removed, ..Loss::default() };
    let mut cost = Cost { lost: vec![loss("a", false)], plan: Value::Null };
    cost.add(vec![loss("a", false), loss("b", true)]);
    assert_eq!(cost.lost.len(), 2);
    assert_eq!(cost.beyond(&[loss("a", false), loss("b", true), loss("c", true)]), []);
    assert_eq!(cost.beyond(&[loss("a", true), loss("b", true)]), [loss("a", false)]);
    assert_eq!(cost.beyond(&[]).len(), 2);
}
