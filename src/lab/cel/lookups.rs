//! Names that a pod looked up.

use super::facts::Facts;
use super::value::{self, at, int_field, str_field};
use cel::Value;
use tap::Component;

/// Returns what a pod asked the cluster's name server since the step began, oldest first: `at,
/// name, type, code, answers`. A pod is known by its addresses, so pods in the network of their
/// node are taken for each other.
pub(super) fn of_pod(facts: &Facts, pod: &Value) -> Vec<Value> {
    let mut addresses: Vec<&str> = vec![];
    if let Some(Value::String(address)) = at(pod, "status.podIP") {
        addresses.push(address);
    }
    if let Some(Value::List(all)) = at(pod, "status.podIPs") {
        addresses.extend(all.iter().map(|one| str_field(one, "ip")));
    }
    let is_lookup = |hop: &&Value| {
        str_field(hop, "component") == Component::Dns.name() && str_field(hop, "verb") == "lookup"
    };
    let lookup = |hop: &Value| {
        let detail = value::field(hop, "detail")?;
        let from = str_field(detail, "from");
        if from.is_empty() || !addresses.contains(&from) {
            return None;
        }
        Some(value::map([
            ("at", value::field(hop, "at").cloned().unwrap_or(Value::Null)),
            ("name", value::text(str_field(detail, "name"))),
            ("type", value::text(str_field(detail, "type"))),
            ("code", value::text(str_field(detail, "code"))),
            ("answers", Value::Int(int_field(detail, "answers"))),
        ]))
    };
    facts.trace.iter().filter(is_lookup).filter_map(lookup).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Use};
    use super::*;
    use crate::observe::recorder::Recorder;
    use std::sync::Arc;
    use tap::{Event, Lookup, Record};

    #[test]
    fn a_pod_s_look_ups_are_those_from_its_address() {
        let mut recorder = Recorder::default();
        for (from, name, code, answers) in [
            ("10.244.1.7", "web.defualt.svc.cluster.local", "NXDOMAIN", 0),
            ("10.244.1.8", "db.default.svc.cluster.local", "NOERROR", 1),
            ("10.244.1.7", "web.default.svc.cluster.local", "NOERROR", 1),
        ] {
            let (name, kind, code, from) = (name.into(), "A".into(), code.into(), from.into());
            let event = Event::Lookup(Lookup { name, kind, code, answers, from });
            recorder.take_record(&Record { component: Component::Dns, ..Record::new(event) }, Some(false));
        }
        let facts = Arc::new(Facts { trace: recorder.trace.clone(), ..Facts::default() });
        let holds = |source: &str| Expr::compile(source, Use::Check, &[]).unwrap().holds(&facts);
        let own = "lookups({'status': {'podIP': '10.244.1.7'}})";
        assert!(holds(&format!("size({own}) == 2 && {own}[0].code == 'NXDOMAIN'")));
        assert!(holds(&format!(
            "{own}.exists(l, l.name.startsWith('web.default.') && l.type == 'A' && l.answers == 1)"
        )));
        assert!(holds("size(lookups({'status': {'podIPs': [{'ip': '10.244.1.8'}]}})) == 1"));
        assert!(holds("lookups({}) == [] && lookups({'status': {}}) == []"));
    }
}
