//! Which services' rules change. Pure: rules in, changes out.

use cni::ServiceRule;
use std::collections::BTreeMap;

/// The services in the kernel, each with the number that its chains and sets are named by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub services: BTreeMap<String, (u32, ServiceRule)>,
    next: u32,
}

/// One service's change. Numbers are those of the chains and sets concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Remove {
        number: u32,
        old: ServiceRule,
    },
    Add {
        number: u32,
        new: ServiceRule,
    },
    /// Same affinity and protocol. Endpoints that stay keep their clients (`sessionAffinity:
    /// ClientIP`).
    Replace {
        number: u32,
        old: ServiceRule,
        new: ServiceRule,
    },
}

impl Change {
    /// Returns the rule that the change takes away.
    pub(crate) fn removed(&self) -> Option<&ServiceRule> {
        match self {
            Change::Remove { old, .. } | Change::Replace { old, .. } => Some(old),
            Change::Add { .. } => None,
        }
    }

    /// Returns the rule that the change puts in.
    pub(crate) fn added(&self) -> Option<&ServiceRule> {
        match self {
            Change::Add { new, .. } | Change::Replace { new, .. } => Some(new),
            Change::Remove { .. } => None,
        }
    }
}

impl Table {
    /// Returns the changes that lead from this table to one with the rules `wanted`, and the table
    /// afterwards. Removals come first and additions last, so that an address may move from one
    /// service to another. Of two rules with one key the later counts.
    ///
    /// The kernel has 0: `a` to 10.244.1.2 and 1: `b` to 10.244.1.3 (the script `golden/changes`):
    ///
    /// ```text
    /// nothing has changed                    no change, and no write
    /// a gets 10.244.1.4 as well              remove 0, add 2; b is not touched
    /// the same, with sessionAffinity on a    replace 0 by 0: clients stay with their endpoints
    /// ```
    ///
    /// A new rule has a new number, so that the old chains and the new ones may stand in one
    /// transaction: no packet finds the Service without a rule. What is written grows with what has
    /// changed, not with the cluster.
    pub(crate) fn change_to(&self, wanted: &[ServiceRule]) -> (Vec<Change>, Table) {
        let wanted: BTreeMap<&str, &ServiceRule> =
            wanted.iter().map(|rule| (rule.key.as_str(), rule)).collect();
        let mut after = self.clone();
        let (mut removed, mut replaced, mut added) = (Vec::new(), Vec::new(), Vec::new());
        for (key, (number, old)) in &self.services {
            let number = *number;
            match wanted.get(key.as_str()) {
                Some(new) if *new == old => {}
                Some(new)
                    if old.affinity_seconds.is_some()
                        && old.affinity_seconds == new.affinity_seconds
                        && old.protocol == new.protocol =>
                {
                    replaced.push(Change::Replace { number, old: old.clone(), new: (*new).clone() });
                    after.services.insert(key.clone(), (number, (*new).clone()));
                }
                _ => {
                    removed.push(Change::Remove { number, old: old.clone() });
                    after.services.remove(key);
                }
            }
        }
        for (key, new) in wanted {
            if !after.services.contains_key(key) {
                let number = after.next;
                after.next += 1;
                added.push(Change::Add { number, new: new.clone() });
                after.services.insert(key.to_string(), (number, new.clone()));
            }
        }
        removed.extend(replaced);
        removed.extend(added);
        (removed, after)
    }

    /// Returns the changes that lead to the rules `wanted` from an empty table, and the table
    /// afterwards: for a kernel table whose content is not known.
    pub(crate) fn rebuild(wanted: &[ServiceRule]) -> (Vec<Change>, Table) {
        Table::default().change_to(wanted)
    }
}

/// Rules that the kernel may have and that are remembered one by one, some 200 bytes each. They add
/// up where it refuses every write while Services come and go.
const RULES_MAX: usize = 10_000;

/// What is known of the kernel's rules.
pub(crate) enum Known {
    /// The kernel has these.
    Table(Table),
    /// A write began and has not ended: the call may fail half-way, or be dropped when a kube-proxy
    /// is killed. The kernel has rules of before or of after. By key, every rule that it may have;
    /// versions that differ in endpoints alone are kept once, and beyond [`RULES_MAX`] none, so
    /// that a kernel that refuses every write does not make this grow.
    Unsure {
        rules: BTreeMap<String, Vec<ServiceRule>>,
        /// There were more than [`RULES_MAX`]: the kernel may have any rule.
        any: bool,
    },
}

/// A write that is to be made.
pub(crate) struct Write {
    pub changes: Vec<Change>,
    /// What the kernel has afterwards.
    pub after: Table,
    /// `changes` start from an empty table, which is to be made first.
    pub anew: bool,
    /// Rules that the kernel may have and that `changes` do not remove one by one, because
    /// everything is made anew. Flows may lead by them.
    pub replaced: Vec<ServiceRule>,
    /// `replaced` is not all of them: there were more than are remembered.
    pub replaces_any: bool,
}

impl Default for Known {
    /// The table is empty.
    fn default() -> Known {
        Known::Table(Table::default())
    }
}

impl Known {
    /// Begins a write, unless the kernel has the wanted rules.
    ///
    /// A kube-proxy is killed in the middle of a write. The next one begins in the state `Unsure`
    /// and gets a write that makes the table anew (`anew`), with every rule that may have been
    /// there as `replaced`: UDP flows that such a rule has led are forgotten too.
    pub(crate) fn begin(&mut self, wanted: &[ServiceRule]) -> Option<Write> {
        let write = match self {
            Known::Unsure { rules, any } => {
                let (changes, after) = Table::rebuild(wanted);
                let replaced = rules.values().flatten().cloned().collect();
                Write { changes, after, anew: true, replaced, replaces_any: *any }
            }
            Known::Table(table) => {
                let (changes, after) = table.change_to(wanted);
                if changes.is_empty() {
                    return None;
                }
                let before = std::mem::take(table).services;
                let rules = before.into_iter().map(|(key, (_, rule))| (key, vec![rule])).collect();
                *self = Known::Unsure { rules, any: false };
                Write { changes, after, anew: false, replaced: Vec::new(), replaces_any: false }
            }
        };
        if let Known::Unsure { rules, any } = self {
            for new in write.changes.iter().filter_map(Change::added) {
                let versions = rules.entry(new.key.clone()).or_default();
                if !versions.iter().any(|old| is_reached_alike(old, new)) {
                    versions.push(new.clone());
                }
            }
            if rules.values().map(Vec::len).sum::<usize>() > RULES_MAX {
                rules.clear();
                *any = true;
            }
        }
        Some(write)
    }

    /// The rule of each Service by the number that its chains and sets are named by; empty while it
    /// is not known which rules the kernel has.
    pub(crate) fn services(&self) -> BTreeMap<u32, &ServiceRule> {
        match self {
            Known::Table(table) => table.services.values().map(|(number, rule)| (*number, rule)).collect(),
            Known::Unsure { .. } => BTreeMap::new(),
        }
    }

    /// Ends a write: the kernel has these rules.
    pub(crate) fn end(&mut self, after: Table) {
        *self = Known::Table(after);
    }
}

/// Returns whether clients reach two versions of a service at the same addresses and ports, and are
/// served by both or by none.
///
/// With one endpoint more: alike. Without any endpoint, or at another port: not alike.
fn is_reached_alike(one: &ServiceRule, other: &ServiceRule) -> bool {
    let parts = |rule: &ServiceRule| (rule.protocol, rule.port, rule.node_port, rule.everywhere().is_empty());
    parts(one) == parts(other) && one.addresses == other.addresses
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cni::Protocol;
    use std::net::Ipv4Addr;

    pub(crate) fn rule(key: &str, endpoints: &[(Ipv4Addr, u16)]) -> ServiceRule {
        ServiceRule {
            key: key.into(),
            protocol: Protocol::Tcp,
            addresses: vec![Ipv4Addr::new(10, 96, 0, 10)],
            port: 80,
            node_port: None,
            endpoints: endpoints.to_vec(),
            all_endpoints: None,
            local_endpoints: None,
            affinity_seconds: None,
            draining: Vec::new(),
        }
    }

    #[test]
    fn equal_rules_need_no_work_and_changes_are_minimal() {
        let (a, b) = ((Ipv4Addr::new(10, 244, 1, 2), 80), (Ipv4Addr::new(10, 244, 1, 3), 80));
        let (first, table) = Table::default().change_to(&[rule("x", &[a]), rule("y", &[a])]);
        assert_eq!(first.len(), 2);
        assert_eq!(table.change_to(&[rule("y", &[a]), rule("x", &[a])]).0, []);
        let (changes, table) = table.change_to(&[rule("x", &[a, b]), rule("y", &[a])]);
        assert_eq!(
            changes,
            [
                Change::Remove { number: 0, old: rule("x", &[a]) },
                Change::Add { number: 2, new: rule("x", &[a, b]) }
            ]
        );
        let (changes, table) = table.change_to(&[]);
        assert_eq!(changes.len(), 2);
        assert!(table.services.is_empty());
    }

    #[test]
    fn after_a_write_that_did_not_end_the_table_is_made_anew() {
        let a = (Ipv4Addr::new(10, 244, 1, 2), 80);
        let (first, second) = ([rule("x", &[a])], [rule("y", &[a])]);
        let mut known = Known::default();
        assert!(known.begin(&[]).is_none(), "a new table is empty");
        let write = known.begin(&first).unwrap();
        assert!(!write.anew);
        known.end(write.after);
        assert!(known.begin(&first).is_none());
        // The kernel may have the second rules by now: this write gets no answer.
        drop(known.begin(&second).unwrap());
        for wanted in [first.as_slice(), &[]] {
            let write = known.begin(wanted).unwrap();
            assert!(write.anew);
            assert_eq!(write.changes.len(), wanted.len());
            assert_eq!(write.replaced, [first[0].clone(), second[0].clone()], "the kernel may have either");
        }
        let write = known.begin(&first).unwrap();
        known.end(write.after);
        assert!(known.begin(&first).is_none());
    }

    /// A kernel that refuses every write, while endpoints come and go.
    #[test]
    fn rules_that_differ_in_endpoints_alone_are_kept_once() {
        let mut known = Known::default();
        let new =
            |host: u8, port: u16| ServiceRule { port, ..rule("x", &[(Ipv4Addr::new(10, 244, 1, host), 80)]) };
        for host in 2..100 {
            drop(known.begin(&[new(host, 80)]));
        }
        drop(known.begin(&[new(2, 81)]));
        let replaced = known.begin(&[rule("x", &[])]).unwrap().replaced;
        assert_eq!(replaced, [new(2, 80), new(2, 81)], "a port that was changed is a version of its own");
        assert_eq!(known.begin(&[]).unwrap().replaced.len(), 3, "one without endpoints, too");
    }

    /// A kernel that refuses every write, while Services come and go.
    #[test]
    fn rules_of_ever_new_services_are_bounded() {
        let mut known = Known::default();
        let thousand = |round: u32| -> Vec<ServiceRule> {
            (0..1000).map(|n| rule(&format!("{round}-{n}"), &[])).collect()
        };
        for round in 0..12 {
            let write = known.begin(&thousand(round)).unwrap();
            assert!(write.replaced.len() <= RULES_MAX, "{}", write.replaced.len());
            assert_eq!(write.replaces_any, round > 10, "the eleventh thousand was too many: {round}");
        }
        let write = known.begin(&[]).unwrap();
        assert_eq!((write.replaced.len(), write.replaces_any), (1000, true), "any rule may be there");
        known.end(write.after);
        drop(known.begin(&thousand(0)).unwrap());
        assert!(!known.begin(&[]).unwrap().replaces_any, "the kernel took a write meanwhile");
    }

    #[test]
    fn a_service_with_affinity_keeps_its_number() {
        let (a, b) = ((Ipv4Addr::new(10, 244, 1, 2), 80), (Ipv4Addr::new(10, 244, 1, 3), 80));
        let sticky = |endpoints: &[_]| ServiceRule { affinity_seconds: Some(10800), ..rule("x", endpoints) };
        let (_, table) = Table::default().change_to(&[sticky(&[a])]);
        let (changes, _) = table.change_to(&[sticky(&[a, b])]);
        assert_eq!(changes, [Change::Replace { number: 0, old: sticky(&[a]), new: sticky(&[a, b]) }]);
        // The rules of its endpoints name the protocol.
        let udp = ServiceRule { protocol: Protocol::Udp, ..sticky(&[a]) };
        let (changes, _) = table.change_to(std::slice::from_ref(&udp));
        assert_eq!(
            changes,
            [Change::Remove { number: 0, old: sticky(&[a]) }, Change::Add { number: 1, new: udp }]
        );
    }
}
