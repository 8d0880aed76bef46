//! Published holes of other container programs, and the test that tries each here.

/// A published hole of runc, containerd or the kernel's container features, and why Ropewalk has or
/// has not the like.
pub(crate) struct Published {
    pub cve: &'static str,
    /// Whether Ropewalk has the mechanism at all.
    pub applies: bool,
    pub why: &'static str,
    /// The test of this program that tries it; empty where the mechanism is missing.
    pub test: &'static str,
}

const fn yes(cve: &'static str, why: &'static str, test: &'static str) -> Published {
    Published { cve, applies: true, why, test }
}

const fn no(cve: &'static str, why: &'static str) -> Published {
    Published { cve, applies: false, why, test: "" }
}

const REFUSED: &str = "attempts_to_escape_are_refused";
const PATHS: &str = "paths_of_a_pod_stay_inside_its_container";
const DESCRIPTORS: &str = "a_container_finds_no_descriptor_of_the_host";

pub(crate) const PUBLISHED: &[Published] = &[
    yes("CVE-2016-9962", "an exec'd process is visible before it runs its program", DESCRIPTORS),
    yes("CVE-2019-5736", "the zygote runs from a read-only copy and /proc/self/exe is no command", PATHS),
    yes("CVE-2019-16884", "no volume is mounted over or in /proc, which would hide its masks", PATHS),
    yes("CVE-2019-19921", "as CVE-2019-16884, through a link of the image or a volume", PATHS),
    yes("CVE-2020-15257", "containerd's shim listened on an abstract socket; nothing here does", REFUSED),
    yes("CVE-2021-30465", "mount points are descriptors before the root is changed", PATHS),
    yes("CVE-2022-0492", "no cgroup tree can be mounted, release_agent cannot be written", REFUSED),
    yes(
        "CVE-2022-0811",
        "a pod's sysctls are numbers in its own network; core_pattern is read-only",
        REFUSED,
    ),
    no(
        "CVE-2023-25809",
        "rootless runc left a cgroup tree writable; no cgroup tree is mounted in a container",
    ),
    yes("CVE-2024-21626", "workingDir through a leaked descriptor", PATHS),
    yes("CVE-2024-45310", "mountPath makes files and directories on the host", PATHS),
    yes(
        "CVE-2025-31133",
        "what covers masked files is the container's own /dev/null, opened before any volume",
        PATHS,
    ),
    no("CVE-2025-52565", "no console is bound; a terminal is opened only if it has the right device number"),
    no("CVE-2025-52881", "no LSM label and no sysctl is written through the container's /proc"),
];
