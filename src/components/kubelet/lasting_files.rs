//! Files that stay on the node when a pod is evicted: those in a `hostPath` or a PersistentVolume.
//! They count for the node's share of the disk, but evicting a pod frees none of them, and evicting
//! one pod after another for them would end all of them for nothing. What an eviction does is end a
//! pod that still writes there. So a pod answers for what came since the disk was found low, and
//! not for what was there before. Pure.

use super::walk::Amount;

/// The look from which growth is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// The last look: the disk is not low.
    Last,
    /// The look that found the disk low, or the one after an eviction.
    Before,
    /// This look: a pod was evicted, and what it wrote is there for good.
    Now,
}

/// How much a directory, or a whole node, grew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Growth(Option<Amount>);

impl Growth {
    /// Notes what is there now. Returns how much of it is new; `None` at the first look.
    ///
    /// ```text
    /// disk not low: 5 GiB, 6 GiB -> 1 GiB new    disk low: 8 GiB -> 2 GiB new
    /// a pod is evicted: 8 GiB -> 0 new           8 GiB -> 0 new
    /// ```
    pub(crate) fn note(&mut self, now: Amount, since: Since) -> Option<Amount> {
        let before = self.0.replace(now);
        match (since, before) {
            (Since::Now, _) => Some(Amount::default()),
            (Since::Last, before) => before.map(|before| now.minus(before)),
            (Since::Before, before) => {
                self.0 = before.or(self.0);
                before.map(|before| now.minus(before))
            }
        }
    }
}

/// Returns how much a pod answers for of the files on the node that it may write to. `own`: how
/// much its directories grew, if they were looked at before; no pod wrote more than the whole node
/// grew, which is all that is known of one whose files cannot be counted, or were not looked at
/// before.
pub(crate) fn wrote(now: Amount, own: Option<Amount>, node: Amount) -> Amount {
    let own = if now == Amount::BEYOND { now } else { own.unwrap_or(now) };
    own.min(node)
}

/// Returns the message of the condition DiskPressure for `tenths` of a GiB of such files, which lie
/// in this directory of the machine.
pub(crate) fn message(tenths: u64, dir: &std::path::Path) -> String {
    format!(
        "kubelet has disk pressure; {}.{}Gi are files of hostPath and PersistentVolume volumes, which no eviction frees: delete PersistentVolumeClaims \
         that are not needed, or files below {}",
        tenths / 10,
        tenths % 10,
        dir.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(mebi: u64) -> Amount {
        Amount { bytes: mebi << 20, files: mebi }
    }

    #[test]
    fn a_pod_answers_for_what_it_writes_while_the_disk_is_low_and_not_for_what_is_there() {
        let mut growth = Growth::default();
        assert_eq!(growth.note(amount(5000), Since::Last), None);
        assert_eq!(growth.note(amount(6000), Since::Last), Some(amount(1000)));
        // The disk is low from here on: what is written slowly adds up.
        assert_eq!(growth.note(amount(6010), Since::Before), Some(amount(10)));
        assert_eq!(growth.note(amount(6020), Since::Before), Some(amount(20)));
        // Its writer was evicted: others that mount the directory do not answer for it.
        assert_eq!(growth.note(amount(6020), Since::Now), Some(amount(0)));
        assert_eq!(growth.note(amount(6020), Since::Before), Some(amount(0)));
        assert_eq!(growth.note(amount(6050), Since::Before), Some(amount(30)), "another one writes");
        assert_eq!(growth.note(amount(10), Since::Before), Some(amount(0)));
    }

    #[test]
    fn no_pod_wrote_more_than_the_node_grew() {
        assert_eq!(wrote(amount(900), Some(amount(100)), amount(50)), amount(50));
        assert_eq!(wrote(amount(900), Some(amount(100)), amount(500)), amount(100));
        assert_eq!(wrote(amount(900), None, amount(500)), amount(500), "it is new here");
        assert_eq!(wrote(Amount::BEYOND, Some(Amount::BEYOND), amount(7)), amount(7));
        assert_eq!(wrote(Amount::BEYOND, None, amount(0)), amount(0), "what cannot be counted does not grow");
    }

    #[test]
    fn the_condition_names_what_stays_and_where() {
        let text = message(95, std::path::Path::new("/clusters/c/n1/host"));
        assert!(text.contains("9.5Gi") && text.contains("below /clusters/c/n1/host"), "{text}");
    }
}
