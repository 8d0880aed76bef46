//! The trial of the control groups.

use super::question::{Capability, Question};
use super::words::Word;
use crate::{cgroup, signal};

/// Tries the control groups. In a container that moves its processes aside for a moment, and nobody
/// would move them back after the doctor, so Ctrl-C waits until all is as it was.
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
    let outcome = match backend.create("probe", &limits) {
        _ if backend.lacks().is_some() => Err(backend.lacks().unwrap_or_default()),
        Ok(group) => {
            let _ = group.remove();
            Ok(mode.clone())
        }
        Err(e) => Err(e.line()),
    };
    let lacks_pids = backend.lacks().is_some_and(|why| why.contains("pids") || !mode.starts_with('v'));
    let pids = match lacks_pids {
        true => Err(q.say(Word::NoPidsCount)),
        false => Ok(q.say(Word::PidsOfPod)),
    };
    let swap = match backend.controls_swap() {
        true => Ok(q.say(Word::SwapHeld)),
        false => Err(q.say_of(Word::SwapUncounted, &[&mode])),
    };
    let mend = mend_of(&outcome);
    let mut found = vec![
        q.of(Word::Cgroups, outcome, Word::NoLimits, mend),
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

/// Returns what helps against the outcome. A group of one's own does not bring a controller that
/// the tree does not have.
fn mend_of(outcome: &Result<String, String>) -> Word {
    match outcome {
        Err(why) if why.ends_with(cgroup::NO_MEMORY) => Word::MendMemoryController,
        Err(why) if why.contains(cgroup::NOT_GIVEN) => Word::MendDelegation,
        _ => Word::MendCgroups,
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
        let found = findings(q, &cgroup::Nothing("no cgroup tree is mounted".into()));
        let said: Vec<(&str, bool)> = found.iter().map(|one| (one.name.as_str(), one.ok)).collect();
        assert_eq!(said, [("cgroups", false), ("pids limit", false), ("device control", true)]);
        assert_eq!(found[2].found, "no device cgroup (none): no container gets CAP_MKNOD");
    }

    #[test]
    fn a_controller_that_is_missing_has_an_advice_of_its_own() {
        let mend = |why: String| Lang::En.say(mend_of(&Err(why)), &[]);
        let without = mend(format!("the cgroup v2 tree at /sys/fs/cgroup {}", cgroup::NO_MEMORY));
        assert!(without.contains("cgroup_enable=memory"), "{without}");
        let undelegated = mend(format!("the cgroup /sys/fs/cgroup/a {} cpu: …", cgroup::NOT_GIVEN));
        assert!(undelegated.contains("Delegate=cpu memory pids"), "{undelegated}");
        assert!(mend("no cgroup tree is mounted".into()).contains("Delegate=yes"));
    }
}
