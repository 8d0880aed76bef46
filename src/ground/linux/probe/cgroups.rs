//! The trial of the control groups.

use super::question::{Capability, Question};
use super::words::Word;
use crate::cgroup::{self, Missing};
use crate::signal;

/// Tries the control groups. In a container that moves its processes aside for a moment, and no
/// process would move them back after the doctor, so Ctrl-C waits until all is as it was.
pub(super) fn trials(q: Question<'_>) -> Vec<Capability> {
    signal::while_held(|| try_out(q))
}

fn try_out(q: Question<'_>) -> Vec<Capability> {
    let backend = cgroup::open(&format!("ropewalk-probe-{}", std::process::id()), None);
    let found = findings(q, backend.as_ref());
    backend.destroy();
    found
}

fn findings(q: Question<'_>, backend: &dyn cgroup::Backend) -> Vec<Capability> {
    let limits = cgroup::Limits {
        memory: Some(64 << 20),
        pids: Some(100),
        cpu_milli: Some(500),
        cpu_shares: 102,
        harmless_devices: true,
        of_groups: false,
    };
    let mode = backend.describe();
    let missing = backend.lacks().map(|lack| lack.missing);
    let outcome = match (backend.lacks(), backend.create("probe", &limits)) {
        (Some(lack), _) => Err(lack.why),
        (None, Ok(group)) => {
            let _ = group.remove();
            Ok(mode.clone())
        }
        (None, Err(e)) => Err(e.line()),
    };
    let pids = match missing.as_ref().is_some_and(lacks_pids) {
        true => Err(q.say(Word::NoPidsCount)),
        false => Ok(q.say(Word::PidsOfPod)),
    };
    let swap = match backend.controls_swap() {
        true => Ok(q.say(Word::SwapHeld)),
        false => Err(q.say_of(Word::SwapUncounted, &[&mode])),
    };
    let mend = q.say(mend_of(missing.as_ref()));
    let mut found = vec![
        Capability::of(q.say(Word::Cgroups), outcome, lost_without(q, missing.as_ref()), mend),
        q.of(Word::PidsLimit, pids, Word::AllPids, Word::MendPids),
    ];
    // Without limits on memory there is nothing that swap could go beyond, as the first line says.
    let limits_memory = backend.memory().is_some();
    found.extend(limits_memory.then(|| q.of(Word::SwapLimit, swap, Word::SwapBeyond, Word::MendSwap)));
    // Both hold. Without a device cgroup it is the missing capability that does, and nodev on every
    // volume.
    let devices = if backend.controls_devices() { Word::DevicesListed } else { Word::NoDeviceCgroup };
    let kind = mode.split([':', ' ']).next().unwrap_or_default(); // `v1`, `v2` or `none`
    found.push(Capability::of(q.say(Word::DeviceControl), Ok(q.say_of(devices, &[kind])), "", ""));
    found
}

/// Returns whether the processes of a pod are not counted.
fn lacks_pids(missing: &Missing) -> bool {
    missing.controllers().contains(&"pids")
}

/// Returns what does not hold: all limits, or those by some controllers.
fn lost_without(q: Question<'_>, missing: Option<&Missing>) -> String {
    match missing.map(Missing::controllers) {
        Some(some) if !(some.contains(&"memory") && some.contains(&"cpu")) => {
            q.say_of(Word::NoLimitsOf, &[&some.join(", ")])
        }
        _ => q.say(Word::NoLimits),
    }
}

/// Returns what brings what is missing. A group of one's own does not bring a controller that the
/// tree does not have.
fn mend_of(missing: Option<&Missing>) -> Word {
    match missing {
        Some(Missing::MemoryController(_)) => Word::MendMemoryController,
        Some(Missing::Delegation(_)) => Word::MendDelegation,
        // systemd delegates no tree of v1 to a user, also where it is asked to
        // (systemd.resource-control(5)).
        Some(Missing::Trees(_)) => Word::MendTrees,
        Some(Missing::Group) | None => Word::MendCgroups,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lang::Lang;
    use std::path::Path;

    #[test]
    fn where_no_memory_is_limited_nothing_is_said_of_swap() {
        let q = Question { lang: Lang::En, home: Path::new("/") };
        let lack = cgroup::Lack { missing: Missing::Group, why: "no cgroup tree is mounted".into() };
        let found = findings(q, &cgroup::Nothing(lack));
        let names: Vec<(&str, bool)> = found.iter().map(|one| (one.name.as_str(), one.ok)).collect();
        assert_eq!(names, [("cgroups", false), ("pids limit", false), ("device control", true)]);
        assert_eq!(found[2].found, "no device cgroup (none): no container gets CAP_MKNOD");
    }

    #[test]
    fn a_controller_that_is_missing_has_an_advice_of_its_own() {
        let mend = |missing| Lang::En.say(mend_of(Some(&missing)), &[]);
        let without = mend(Missing::MemoryController(vec!["memory"]));
        assert!(without.contains("cgroup_enable=memory"), "{without}");
        let undelegated = mend(Missing::Delegation(vec!["cpu"]));
        assert!(undelegated.contains("Delegate=cpu memory pids"), "{undelegated}");
        assert!(mend(Missing::Group).contains("Delegate=yes"));
        let of_v1 = mend(Missing::Trees(vec!["memory", "cpu"]));
        assert!(
            of_v1.starts_with("start as root; or boot with systemd.unified_cgroup_hierarchy=1"),
            "{of_v1}"
        );
    }

    #[test]
    fn pids_are_counted_where_only_other_trees_are_missing() {
        let of = |names: &[&'static str]| lacks_pids(&Missing::Trees(names.to_vec()));
        assert_eq!([of(&["memory", "cpu"]), of(&["cpu", "pids"])], [false, true]);
        assert!(lacks_pids(&Missing::Group) && !lacks_pids(&Missing::Delegation(vec!["cpu"])));
    }

    /// As for a user of systemd before 252.
    #[test]
    fn where_one_controller_is_missing_the_others_are_not_said_to_do_nothing() {
        let q = Question { lang: Lang::En, home: Path::new("/") };
        let lost = |missing: Missing| lost_without(q, Some(&missing));
        assert!(lost(Missing::Delegation(vec!["cpu"])).starts_with("limits on cpu do nothing"));
        assert!(
            lost(Missing::Trees(vec!["memory", "pids"])).starts_with("limits on memory, pids do nothing")
        );
        assert!(lost(Missing::Group).starts_with("limits on memory and cpu do nothing"));
    }
}
