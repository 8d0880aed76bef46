//! Which services' rules change. Pure: rules in, changes out.

use crate::cni::ServiceRule;
use std::collections::BTreeMap;

/// The services in the kernel, each with the number that its chains and sets are named by.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub services: BTreeMap<String, (u32, ServiceRule)>,
    next: u32,
}

/// One service's change. Numbers are those of the chains and sets concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Remove {
        number: u32,
        old: ServiceRule,
    },
    Add {
        number: u32,
        new: ServiceRule,
    },
    /// Same affinity and protocol. Endpoints that stay keep their clients (`sessionAffinity: ClientIP`).
    Replace {
        number: u32,
        old: ServiceRule,
        new: ServiceRule,
    },
}

impl Change {
    /// Returns the rule that the change takes away.
    pub fn removed(&self) -> Option<&ServiceRule> {
        match self {
            Change::Remove { old, .. } | Change::Replace { old, .. } => Some(old),
            Change::Add { .. } => None,
        }
    }

    /// Returns the rule that the change puts in.
    pub fn added(&self) -> Option<&ServiceRule> {
        match self {
            Change::Add { new, .. } | Change::Replace { new, .. } => Some(new),
            Change::Remove { .. } => None,
        }
    }
}

impl Table {
    /// What makes this table say `wanted`, and the table it will be then. Removals come first and additions last, so that an address may move
    /// from one service to another. Of two rules with one key the later counts.
    pub fn change_to(&self, wanted: &[ServiceRule]) -> (Vec<Change>, Table) {
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

    /// Everything anew, for a kernel table that is not what we think it is.
    pub fn rebuild(wanted: &[ServiceRule]) -> (Vec<Change>, Table) {
        Table::default().change_to(wanted)
    }
}

/// What is known of the kernel's rules: nothing from the beginning of a write to its end. The call that writes may fail half-way, or be
/// dropped when a kube-proxy is killed; then the kernel has the rules of before or of after.
pub struct Known(Option<Table>);

/// A write that is to be made.
pub struct Write {
    pub changes: Vec<Change>,
    /// What the kernel has afterwards.
    pub after: Table,
    /// `changes` start from an empty table, which is to be made first.
    pub anew: bool,
}

impl Default for Known {
    /// The table is empty.
    fn default() -> Known {
        Known(Some(Table::default()))
    }
}

impl Known {
    /// Begins a write, unless the kernel has the wanted rules.
    pub fn begin(&mut self, wanted: &[ServiceRule]) -> Option<Write> {
        let Some(table) = self.0.take() else {
            let (changes, after) = Table::rebuild(wanted);
            return Some(Write { changes, after, anew: true });
        };
        let (changes, after) = table.change_to(wanted);
        if changes.is_empty() {
            self.0 = Some(table);
            return None;
        }
        Some(Write { changes, after, anew: false })
    }

    /// Ends a write: the kernel has these rules.
    pub fn end(&mut self, after: Table) {
        self.0 = Some(after);
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cni::Protocol;
    use std::net::Ipv4Addr;

    pub fn rule(key: &str, endpoints: &[(Ipv4Addr, u16)]) -> ServiceRule {
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
        // The kernel may have the second rules by now, and nobody says so.
        drop(known.begin(&second).unwrap());
        for wanted in [first.as_slice(), &[]] {
            let write = known.begin(wanted).unwrap();
            assert!(write.anew);
            assert_eq!(write.changes.len(), wanted.len());
        }
        let write = known.begin(&first).unwrap();
        known.end(write.after);
        assert!(known.begin(&first).is_none());
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
