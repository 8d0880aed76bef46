//! What the trials say, in English and Korean. The kernel's own answers and commands stay as they
//! are: people search for those words.

use lang::texts;

texts! {
    /// A text that a trial shows (`ropewalk doctor`).
    pub enum Word {
    // -- names
    Kernel: "kernel", "커널";
    SystemCalls: "system calls", "시스템 호출";
    UserNamespaces: "user namespaces", "사용자 네임스페이스";
    SubordinateIds: "subordinate ids", "하위 ID(subuid, subgid)";
    PidAndMount: "pid and mount namespaces", "PID, 마운트 네임스페이스";
    OwnProc: "/proc of a namespace", "네임스페이스의 /proc";
    UtsIpcCgroup: "uts, ipc, cgroup namespaces", "UTS, IPC, cgroup 네임스페이스";
    Overlay: "overlay file system", "오버레이 파일 시스템";
    PivotRoot: "pivot_root", "pivot_root";
    VolumeMounts: "volume mounts", "볼륨 마운트";
    Seccomp: "seccomp filters", "seccomp 필터";
    NetworkNamespaces: "network namespaces", "네트워크 네임스페이스";
    PathResolver: "path resolver", "경로 해석(openat2)";
    Undumpable: "undumpable processes", "추적할 수 없는 프로세스";
    NoNewPrivs: "no_new_privs", "no_new_privs";
    Capabilities: "capabilities", "케이퍼빌리티";
    Groups: "supplementary groups", "보조 그룹";
    UsersOfPods: "user namespaces of pods", "파드의 사용자 네임스페이스";
    Cgroups: "cgroups", "cgroup";
    PidsLimit: "pids limit", "프로세스 수 제한";
    SwapLimit: "swap limit", "스왑 제한";
    DeviceControl: "device control", "장치 제어";
    OomOrder: "order of the OOM killer", "OOM 종료 순서";
    PacketRings: "packet socket rings", "패킷 소켓 링 버퍼";
    OpenFiles: "open files, core dumps", "열린 파일 수, 코어 덤프";
    Networks: "networks of nodes and pods", "노드와 파드의 네트워크";
    // -- what was found
    CanBeMade: "can be made", "만들 수 있습니다";
    CannotBeMade: "cannot be made: {}", "만들 수 없습니다: {}";
    CanBeMounted: "can be mounted", "마운트할 수 있습니다";
    FirstProcess: "the first process is {}", "첫 번째 프로세스는 {}번입니다";
    Attached: "are attached to descriptors, never to names", "이름이 아니라 파일 디스크립터에 마운트합니다";
    RootChanges: "can change the root", "루트를 바꿀 수 있습니다";
    FilterLoads: "an allow list of system calls can be loaded", "허용할 시스템 호출 목록을 적용할 수 있습니다";
    Configured: "can be made and configured", "만들고 설정할 수 있습니다";
    TooOld: "{}, and Ropewalk needs 5.14", "{}입니다. Ropewalk에는 5.14 이상이 필요합니다";
    NoVersion: "{} is no version", "{} 값은 버전이 아닙니다";
    NotNeeded: "not needed: this is root", "root로 실행 중이므로 필요 없습니다";
    Newuidmap: "newuidmap works", "newuidmap이 동작합니다";
    OneId: "one user id only", "사용자 ID가 하나뿐입니다";
    Openat2: "openat2 keeps paths of pods inside their root", "openat2로 파드의 경로가 루트 밖으로 나가지 못합니다";
    NotTraced: "processes that start a container cannot be traced by it", "컨테이너를 시작하는 프로세스를 그 컨테이너가 추적하지 못합니다";
    NoEffect: "the setting has no effect", "설정해도 효과가 없습니다";
    EscalationHolds: "allowPrivilegeEscalation: false holds", "allowPrivilegeEscalation: false가 지켜집니다";
    AllCapabilities: "all that the kernel knows", "커널이 아는 것을 모두 가지고 있습니다";
    Missing: "missing: {}", "없는 것: {}";
    NoGroups: "containers have none of this user's", "컨테이너는 이 사용자의 그룹을 물려받지 않습니다";
    GroupsStay: "{} groups of this user stay with its containers", "이 사용자의 그룹 {}개가 컨테이너에 남습니다";
    SharedUsers: "pods share Ropewalk's own user namespace: an ordinary user may not show the machine's files as another user's", "파드가 Ropewalk의 사용자 네임스페이스를 함께 씁니다. 일반 사용자는 이 컴퓨터의 파일을 다른 사용자의 것으로 보여 줄 수 없습니다";
    IdsMapped: "hostUsers: false holds: 65536 ids for each such pod; images on {}, volumes on {} ({})", "hostUsers: false가 지켜집니다. 파드마다 ID 65536개를 씁니다. 이미지는 {}, 볼륨은 {} ({})";
    NotMapped: "{} ({}): {}", "{} ({}): {}";
    NoPidsCount: "no writable cgroup counts processes", "프로세스 수를 세는 쓰기 가능한 cgroup이 없습니다";
    PidsOfPod: "at most 1024 processes a pod", "파드 하나에 프로세스 1024개까지입니다";
    SwapHeld: "a container with a memory limit has no swap beyond it", "메모리 제한이 있는 컨테이너는 제한을 넘어 스왑을 쓰지 못합니다";
    SwapUncounted: "this machine has swap, and cgroup {} does not count it", "이 컴퓨터에는 스왑이 있지만 cgroup {}에서는 세지 않습니다";
    DevicesListed: "the device list of cgroup {} allows null, zero, full, random and terminals only", "cgroup {}의 장치 목록에서 null, zero, full, random, 터미널만 허용합니다";
    NoDeviceCgroup: "no device cgroup ({}): no container gets CAP_MKNOD", "장치 cgroup이 없으므로({}) 어떤 컨테이너에도 CAP_MKNOD를 주지 않습니다";
    OomFinal: "containers are ended before Ropewalk: oom_score_adj is {} or more, and they cannot lower it", "컨테이너가 Ropewalk보다 먼저 종료됩니다. oom_score_adj는 {} 이상이고 컨테이너가 낮출 수 없습니다";
    OomReadOnly: "containers are ended before Ropewalk: oom_score_adj is {} or more, and their /proc is read-only (no CAP_SYS_RESOURCE)", "컨테이너가 Ropewalk보다 먼저 종료됩니다. oom_score_adj는 {} 이상이고 컨테이너의 /proc은 읽기 전용입니다(CAP_SYS_RESOURCE 없음)";
    RingsRefused: "refused: no cgroup counts their memory; tcpdump does not work in pods", "거부합니다. 어떤 cgroup도 그 메모리를 세지 않기 때문입니다. 파드에서 tcpdump는 동작하지 않습니다";
    FilesAndCores: "{} files for each process, no core dumps", "프로세스마다 파일 {}개, 코어 덤프 없음";
    FewFiles: "{} files for each process (containerd: {}), no core dumps", "프로세스마다 파일 {}개(containerd: {}개), 코어 덤프 없음";
    CoresLeave: "{} files for each process; the hard limit on core dumps is 0, and only 1 stops a program in core_pattern", "프로세스마다 파일 {}개. 코어 덤프의 하드 제한이 0인데, core_pattern에 지정된 프로그램은 1일 때만 실행되지 않습니다";
    // -- what is lost
    NoCluster: "no cluster can run", "클러스터를 실행할 수 없습니다";
    NoContainer: "no container can start", "컨테이너를 시작할 수 없습니다";
    NoClusterWithoutRoot: "without root no cluster can run", "root가 아니면 클러스터를 실행할 수 없습니다";
    Incomplete: "namespaces and cgroup.kill are incomplete", "네임스페이스와 cgroup.kill 기능이 완전하지 않습니다";
    EmptyProc: "containers have an empty /proc: ps and top show nothing there", "컨테이너의 /proc이 비어 있어 ps와 top에 아무것도 나오지 않습니다";
    UserZeroOnly: "containers can run as user 0 only: runAsUser, and images that change their user, fail", "컨테이너가 사용자 0으로만 실행됩니다. runAsUser를 쓰거나 사용자를 바꾸는 이미지는 실패합니다";
    PrivilegedLess: "privileged pods start without them, and an Event names them", "특권 파드가 이 권한 없이 시작되며, 무엇이 빠졌는지 이벤트에 나옵니다";
    GroupFiles: "a container that is given a socket or a file of such a group (docker, disk, adm) can use it", "이런 그룹(docker, disk, adm)의 소켓이나 파일을 받은 컨테이너가 그것을 쓸 수 있습니다";
    NoOwnUsers: "pods with hostUsers: false do not start; started by an ordinary user, they share one user namespace", "hostUsers: false인 파드가 시작되지 않습니다. 일반 사용자로 실행하면 모든 파드가 사용자 네임스페이스 하나를 함께 씁니다";
    NoLimits: "limits on memory and cpu do nothing (an Event of the pod says so); usage is counted from /proc", "메모리와 CPU 제한이 적용되지 않습니다(파드의 이벤트에 나옵니다). 사용량은 /proc에서 계산합니다";
    NoLimitsOf: "limits on {} do nothing; the others hold", "{} 제한이 적용되지 않습니다. 나머지 제한은 적용됩니다";
    AllPids: "one pod can take all process numbers of the machine", "파드 하나가 이 컴퓨터의 프로세스 번호를 모두 쓸 수 있습니다";
    SwapBeyond: "a container with a memory limit can use swap beyond it, and is ended later than it should be", "메모리 제한이 있는 컨테이너가 제한을 넘어 스왑을 쓸 수 있고, 예상보다 늦게 종료됩니다";
    UncountedRings: "a container can take memory of the kernel that no limit counts", "컨테이너가 어떤 제한에도 포함되지 않는 커널 메모리를 쓸 수 있습니다";
    FewerFiles: "programs in containers that open very many files fail earlier than on other clusters", "아주 많은 파일을 여는 컨테이너 프로그램이 다른 클러스터에서보다 먼저 실패합니다";
    CoreProgram: "when a container's program crashes, the kernel may run the program in core_pattern: on the host, as root, with the dump as its input", "컨테이너의 프로그램이 비정상 종료되면 커널이 core_pattern에 지정된 프로그램을 호스트에서 root로 실행하고 덤프를 입력으로 넘길 수 있습니다";
    // -- how to mend it
    NewerKernel: "a newer kernel", "더 새로운 커널을 쓰세요";
    MendCalls: "inside a container: docker run --privileged, or --security-opt seccomp=unconfined; else a newer kernel", "컨테이너 안이라면: docker run --privileged 또는 --security-opt seccomp=unconfined. 아니라면 더 새로운 커널을 쓰세요";
    MendPrivileged: "inside Docker: docker run --privileged", "Docker 안이라면: docker run --privileged";
    MendOneId: "start Ropewalk outside of this user namespace, which has one user id only", "사용자 ID가 하나뿐인 이 사용자 네임스페이스 밖에서 Ropewalk를 시작하세요";
    MendProc: "inside Docker: docker run --privileged, or --security-opt systempaths=unconfined", "Docker 안이라면: docker run --privileged 또는 --security-opt systempaths=unconfined";
    MendOverlay: "sudo modprobe overlay   # rootless needs Linux 5.11", "sudo modprobe overlay   # root가 아니면 Linux 5.11 이상";
    MendPivot: "inside a container: docker run --privileged; from an initramfs: switch_root to a real root first", "컨테이너 안이라면: docker run --privileged. initramfs라면 먼저 실제 루트로 switch_root 하세요";
    MendMounts: "Linux 5.14 or newer; inside a container: docker run --privileged", "Linux 5.14 이상. 컨테이너 안이라면: docker run --privileged";
    MendSeccomp: "a kernel with CONFIG_SECCOMP_FILTER", "CONFIG_SECCOMP_FILTER가 켜진 커널을 쓰세요";
    MendProtection: "Linux 5.14 or newer; inside a container: --security-opt seccomp=unconfined", "Linux 5.14 이상. 컨테이너 안이라면: --security-opt seccomp=unconfined";
    MendCapabilities: "inside Docker: docker run --privileged; else: start Ropewalk without dropping capabilities", "Docker 안이라면: docker run --privileged. 아니라면 케이퍼빌리티를 줄이지 말고 Ropewalk를 시작하세요";
    MendGroups: "give this user subordinate ids: see above", "위의 방법으로 이 사용자에게 하위 ID를 주세요";
    MendOwnUsers: "Linux 6.3 or newer, as root: sudo ropewalk; ROPEWALK_HOME on ext4, xfs, btrfs or tmpfs", "Linux 6.3 이상에서 root로 실행하세요: sudo ropewalk. ROPEWALK_HOME은 ext4, xfs, btrfs, tmpfs 중 하나에 두세요";
    MendCgroups: "start with: systemd-run --user --scope -p Delegate=yes ropewalk   # or as root", "이렇게 시작하세요: systemd-run --user --scope -p Delegate=yes ropewalk   # 또는 root로";
    MendTrees: "start as root; or boot with systemd.unified_cgroup_hierarchy=1, because cgroup v1 is not delegated to users, and start with: systemd-run --user --scope -p Delegate=yes ropewalk; inside Docker: docker run --privileged", "root로 시작하세요. 또는 cgroup v1은 사용자에게 위임되지 않으므로 systemd.unified_cgroup_hierarchy=1로 부팅한 뒤 이렇게 시작하세요: systemd-run --user --scope -p Delegate=yes ropewalk. Docker 안이라면: docker run --privileged";
    MendMemoryController: "boot with cgroup_enable=memory cgroup_memory=1, and without cgroup_disable=memory; inside a container or unit: delegate it too (Delegate=yes)", "커널 명령줄에서 cgroup_disable=memory를 빼고 cgroup_enable=memory cgroup_memory=1을 넣어 부팅하세요. 컨테이너나 systemd 유닛 안이라면 memory 컨트롤러도 위임하세요(Delegate=yes)";
    MendDelegation: "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload   # then log in again and start with: systemd-run --user --scope -p Delegate=yes ropewalk; inside a container or unit: delegate it there", "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload   # 다시 로그인한 뒤 이렇게 시작하세요: systemd-run --user --scope -p Delegate=yes ropewalk. 컨테이너나 systemd 유닛 안이라면 거기에도 위임하세요";
    MendPids: "as for cgroups", "cgroup과 같은 방법으로 해결하세요";
    MendSwap: "boot with swapaccount=1, or: swapoff -a", "swapaccount=1로 부팅하거나 실행하세요: swapoff -a";
    MendFiles: "sudo prlimit --pid $$ --nofile=1048576   # then start Ropewalk from this shell", "sudo prlimit --pid $$ --nofile=1048576   # 그다음 이 셸에서 Ropewalk를 시작하세요";
    MendCores: "sudo prlimit --pid $$ --core=1   # then start Ropewalk from this shell", "sudo prlimit --pid $$ --core=1   # 그다음 이 셸에서 Ropewalk를 시작하세요";
    SeeAbove: "see above", "위를 보세요";
    }
}
